"""Log lines are JSON that is safe to show in a terminal."""

import json
import logging

from whisper_finetune_operator.observability.logs import JsonLines


def test_a_line_steers_no_terminal_and_loses_nothing() -> None:
    message = "pod \x1b[2J \x9b2J \u202e \u2028 \x7f \U000e0041 \n perché 日本語"
    record = logging.LogRecord("whisper_finetune_operator.reconcile", logging.INFO, "", 1, message, None, None)
    line = JsonLines().format(record)
    assert line.isprintable()
    assert "perché 日本語" in line
    assert json.loads(line)["message"] == message
