"""How long a run stays out of the queue after it gave back a partition that it could not use."""

from whisper_finetune_operator.deciding import partition_steps


def test_the_wait_grows_to_an_hour() -> None:
    waits = [partition_steps.partition_back_off(times).total_seconds() / 60 for times in (1, 2, 3, 4, 5, 1000)]
    assert waits == [5, 10, 20, 40, 60, 60]
