import pytest

from whisper_finetune_trainer.pytorch.train_steps import window_for


@pytest.mark.parametrize(
    ("clip_seconds", "model_window", "window"),
    [
        (0.1, 30, 5),
        (5.0, 30, 5),
        (5.01, 30, 10),
        (20.0, 30, 20),
        (20.1, 30, 30),
        (30.0, 30, 30),
        (0.1, 2, 2),
        (4.0, 5, 5),
        (6.0, 15, 10),
        (12.0, 15, 15),
    ],
)
def test_a_clip_gets_the_shortest_window_that_holds_it(clip_seconds: float, model_window: int, window: int) -> None:
    assert window_for(clip_seconds, model_window) == window
    assert window_for(clip_seconds, model_window, "Fitted") == window
    assert window_for(clip_seconds, model_window, "Full") == model_window
