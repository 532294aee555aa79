"""How the scratch space is divided."""

import pytest

from whisper_finetune_trainer.machine import scratch_space
from whisper_finetune_trainer.machine.scratch_space import OutputNeed, ScratchShares
from whisper_finetune_trainer.messages.errors import TrainerError

BUCKET = OutputNeed(folder_bytes=100, least_folders=1, most_folders=2)
HUB = OutputNeed(folder_bytes=33, least_folders=4, most_folders=4)
VOLUME = OutputNeed(folder_bytes=100, least_folders=0, most_folders=0)


@pytest.mark.parametrize(
    ("limit_bytes", "need", "resumed_bytes", "shares"),
    [
        (1001, BUCKET, 0, ScratchShares(2, 200, sounds_bytes=400, encoder_outputs_bytes=401)),
        (1001, BUCKET, 100, ScratchShares(2, 200, sounds_bytes=350, encoder_outputs_bytes=351)),
        (200, BUCKET, 0, ScratchShares(2, 200, sounds_bytes=0, encoder_outputs_bytes=0)),
        (199, BUCKET, 0, ScratchShares(1, 100, sounds_bytes=49, encoder_outputs_bytes=50)),
        (199, BUCKET, 100, ScratchShares(1, 100, sounds_bytes=0, encoder_outputs_bytes=0)),
        (100, BUCKET, 0, ScratchShares(1, 100, sounds_bytes=0, encoder_outputs_bytes=0)),
        (232, HUB, 0, ScratchShares(4, 132, sounds_bytes=50, encoder_outputs_bytes=50)),
        (50, VOLUME, 0, ScratchShares(0, 0, sounds_bytes=25, encoder_outputs_bytes=25)),
    ],
)
def test_the_output_comes_first(limit_bytes: int, need: OutputNeed, resumed_bytes: int, shares: ScratchShares) -> None:
    assert scratch_space.divide_scratch(limit_bytes, need, resumed_bytes, "s3://models/it") == shares
    assert shares.output_bytes + shares.sounds_bytes + shares.encoder_outputs_bytes <= limit_bytes


@pytest.mark.parametrize("need", [BUCKET, HUB])
def test_an_output_that_does_not_fit_is_refused_with_the_numbers(need: OutputNeed) -> None:
    large = OutputNeed(need.folder_bytes * 10**8, need.least_folders, need.most_folders)
    with pytest.raises(TrainerError, match=r"s3://models/it .* GB of scratch space, and there are 5.0 GB") as ended:
        scratch_space.divide_scratch(5 * 10**9, large, 0, "s3://models/it")
    assert ended.value.reason == "ConfigInvalid"
