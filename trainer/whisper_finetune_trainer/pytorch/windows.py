"""Which window a clip is trained in. Pure. Word error rates are always measured in the model's full window."""

#: Window lengths in seconds; each clip gets the shortest that holds it, and keeps it: the encoder attends to the
#: silence after the speech too, so its output depends on the window.
_WINDOWS = (5, 10, 20, 30)


def window_for(clip_seconds: float, model_window_seconds: int) -> int:
    """Return the window in seconds for a clip that is not longer than the model's own window."""
    fitting = [window for window in _WINDOWS if clip_seconds <= window < model_window_seconds]
    return min(fitting, default=model_window_seconds)
