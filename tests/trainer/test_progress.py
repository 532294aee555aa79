"""What the operator and Prometheus read from a running trainer."""

from __future__ import annotations

import errno
import itertools
import json
import logging
import queue
import socket
import sys
import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from trainer_configs import UID
from whisper_finetune_api.run import ReportedCheckpoint, TrainerReport
from whisper_finetune_api.v1alpha1 import DataSummary, WordErrorRate
from whisper_finetune_trainer.progress import progress_display, progress_server
from whisper_finetune_trainer.progress.progress import Reporter, Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

RUN = {"name": "demo", "namespace": "speech", "uid": UID}


def get(port: int, path: str) -> tuple[str, str]:
    """Return content type and text of an answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


@pytest.fixture
def reporter() -> Reporter:
    """Return a reporter of a run that is at step 50 of 200."""
    made = Reporter()
    made.tell(data=DataSummary(train_clips=80, eval_clips=20, dropped_clips=1, split="Fraction"))
    made.enter("Training")
    made.resume_at(49, 200)
    made.step_done(50, 200, loss=1.23456, learning_rate=2e-5, seconds=0.5)
    return made


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Let threads change places as often as can be, so that what is read and replaced in two steps loses something."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_progress_is_the_report_with_the_uid(reporter: Reporter) -> None:
    port = progress_server.serve_progress(RUN, 0, reporter, host="127.0.0.1")
    content_type, text = get(port, "/progress")
    answer = json.loads(text)
    assert content_type == "application/json"
    assert answer["progress"].pop("updateTime").endswith("Z")
    assert answer == {
        "uid": UID,
        "stage": "Training",
        "progress": {"step": 50, "totalSteps": 200, "percent": 25, "loss": "1.2346", "etaSeconds": 75},
        "data": {"trainClips": 80, "evalClips": 20, "droppedClips": 1, "split": "Fraction"},
        "checkpoints": [],
    }
    assert TrainerReport.model_validate_json(text).uid == UID


def test_metrics_are_the_newest_values(reporter: Reporter) -> None:
    port = progress_server.serve_progress(RUN, 0, reporter, host="127.0.0.1")
    _, text = get(port, "/metrics")
    lines = text.splitlines()
    assert 'whisper_finetune_trainer_run_info{name="demo",namespace="speech",uid="' + UID + '"} 1.0' in lines
    assert "whisper_finetune_trainer_step 50.0" in lines
    assert "whisper_finetune_trainer_loss 1.2346" in lines
    assert "whisper_finetune_trainer_learning_rate 2e-05" in lines
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
    reporter.step_done(51, 200, loss=1.0, learning_rate=2e-5, seconds=0.5)
    reporter.enter("Evaluating", clips_to_evaluate=20)
    reporter.clips_done(7)
    evaluating = get(port, "/metrics")[1].splitlines()
    assert "whisper_finetune_trainer_evaluated_clips 7.0" in evaluating
    assert "whisper_finetune_trainer_clips_to_evaluate 20.0" in evaluating
    assert "whisper_finetune_trainer_step 51.0" in get(port, "/metrics")[1].splitlines()


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        pytest.param("[::1]", marks=pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")),
    ],
)
def test_pods_of_either_address_family_are_answered(reporter: Reporter, host: str) -> None:
    port = progress_server.serve_progress(RUN, 0, reporter)
    with urllib.request.urlopen(f"http://{host}:{port}/progress", timeout=10) as answer:
        assert TrainerReport.model_validate_json(answer.read()).uid == UID


def test_a_node_without_ipv6_answers_by_ipv4(reporter: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    made = socket.socket.__init__

    def without_ipv6(self: socket.socket, family: int = -1, *arguments: Any, **keywords: Any) -> None:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        made(self, family, *arguments, **keywords)

    monkeypatch.setattr(socket.socket, "__init__", without_ipv6)
    port = progress_server.serve_progress(RUN, 0, reporter)
    assert get(port, "/progress")


def test_a_port_in_use_is_not_sought_by_the_other_family(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104 (what a pod's neighbour on its host would have)
        port = taken.getsockname()[1]
        assert progress_server.serve_progress(RUN, port, Reporter()) == 0
    assert f"cannot listen on port {port}:" in caplog.text


def test_other_paths_are_not_found_and_say_which_there_are(reporter: Reporter) -> None:
    port = progress_server.serve_progress(RUN, 0, reporter, host="127.0.0.1")
    with pytest.raises(urllib.error.HTTPError) as raised:
        get(port, "/")
    assert raised.value.code == 404
    assert raised.value.read() == b"ask for /progress or /metrics\n"


def test_a_port_in_use_costs_the_progress_but_not_the_run(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert progress_server.serve_progress(RUN, port, Reporter(), host="127.0.0.1") == 0
    assert f"cannot listen on port {port}:" in caplog.text


def test_a_client_that_sends_nothing_holds_nobody_up(reporter: Reporter) -> None:
    port = progress_server.serve_progress(RUN, 0, reporter, host="127.0.0.1")
    with socket.create_connection(("127.0.0.1", port)):
        assert get(port, "/progress")


def test_the_report_is_whole_whenever_another_thread_reads_it() -> None:
    reporter = Reporter()
    done = threading.Event()
    torn: list[Any] = []

    def read() -> None:
        while not done.is_set():
            snapshot = reporter.snapshot()
            progress = snapshot.report.progress
            if progress is not None and snapshot.learning_rate != progress.step:
                torn.append(snapshot)

    reader = threading.Thread(target=read)
    reader.start()
    for step in range(1, 500):
        reporter.step_done(step, 500, loss=1, learning_rate=step, seconds=0.1)
    done.set()
    reader.join()
    assert torn == []


@pytest.mark.usefixtures("frequent_switches")
def test_what_one_thread_tells_is_not_lost_to_another() -> None:
    reporter = Reporter()
    taken: queue.SimpleQueue[int] = queue.SimpleQueue()
    done = threading.Event()

    def train() -> None:
        for step in itertools.takewhile(lambda _: not done.is_set(), itertools.count(1)):
            reporter.step_done(step, 10**9, loss=1, learning_rate=1, seconds=0.1)
            taken.put(step)

    training = threading.Thread(target=train)
    training.start()
    lost = []
    for number in range(300):
        saved = (ReportedCheckpoint(step=number, path=f"resume/checkpoint-{number}"),)
        reporter.tell(checkpoints=saved)
        # The step that was under way is told too by then.
        for _ in range(taken.qsize() + 1):
            taken.get()
        if reporter.report().checkpoints != saved:
            lost.append(number)
    done.set()
    training.join()
    assert lost == []


@pytest.mark.usefixtures("frequent_switches")
def test_listeners_hear_of_every_change_in_order() -> None:
    reporter = Reporter()
    heard: list[int] = []
    reporter.listen(lambda snapshot: heard.append(round(snapshot.training_seconds)))
    writers = [threading.Thread(target=_take_steps, args=(reporter, 200)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert heard == list(range(1, 801))


def _take_steps(reporter: Reporter, steps: int) -> None:
    for step in range(1, steps + 1):
        reporter.step_done(step, steps, loss=1, learning_rate=1, seconds=1)


def test_speed_is_that_of_the_newest_steps() -> None:
    reporter = Reporter()
    reporter.step_done(1, 1000, loss=1, learning_rate=1, seconds=1000)
    for step in range(2, 52):
        reporter.step_done(step, 1000, loss=1, learning_rate=1, seconds=2)
    progress = reporter.report().progress
    assert progress is not None
    assert progress.eta_seconds == 2 * (1000 - 51)
    assert reporter.snapshot().training_seconds == 1100


@pytest.mark.parametrize(("loss", "text"), [(0.0, "0.0000"), (3.14159, "3.1416"), (1e300, "100000000.0000")])
def test_every_finite_loss_fits_the_report(loss: float, text: str) -> None:
    reporter = Reporter()
    reporter.step_done(1, 2, loss=loss, learning_rate=1, seconds=1)
    progress = reporter.report().progress
    assert progress is not None
    assert progress.loss == text


def test_a_run_that_patience_ended_is_at_100_percent() -> None:
    reporter = Reporter()
    reporter.step_done(40, 100, loss=0.5, learning_rate=1, seconds=1)
    reporter.finish(40, 100)
    progress = reporter.report().progress
    assert progress is not None
    assert (progress.step, progress.total_steps, progress.percent, progress.loss) == (40, 100, 100, "0.5000")


def test_a_malformed_figure_never_gets_into_the_report() -> None:
    reporter = Reporter()
    with pytest.raises(ValueError, match="baseline"):
        reporter.tell(baseline={"wer": "nan", "normalizedWer": "1.00"})
    assert reporter.report().baseline is None


def test_the_log_has_a_line_every_few_seconds_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    reporter = Reporter()
    reporter.listen(progress_display.ProgressLog())
    reporter.enter("Training")
    for step in range(1, 100):
        reporter.step_done(step, 100, loss=1, learning_rate=1, seconds=60)
    assert [record.message for record in caplog.records] == [
        "step 1 of 100, loss 1.0000, 60.00 s per step, 1 h 39 min left"
    ]


def test_what_is_shown_of_an_evaluation() -> None:
    reporter = Reporter()
    reporter.enter("Evaluating", clips_to_evaluate=20)
    reporter.clips_done(7)
    assert progress_display.describe_progress(reporter.snapshot()) == "evaluated 7 of 20 clips"
    assert progress_display.describe_progress(Snapshot()) == ""


def test_how_far_an_evaluation_is_can_be_read_by_the_operator(reporter: Reporter) -> None:
    reporter.enter("Evaluating", clips_to_evaluate=20)
    reporter.clips_done(7)
    progress = reporter.report().progress
    assert progress is not None
    assert (progress.step, progress.evaluated_clips, progress.clips_to_evaluate) == (50, 7, 20)
    reporter.enter("Training")
    progress = reporter.report().progress
    assert progress is not None
    assert (progress.step, progress.evaluated_clips, progress.clips_to_evaluate) == (50, None, None)


def test_nothing_is_evaluated_any_more_once_its_figures_are_told(reporter: Reporter) -> None:
    reporter.enter("Evaluating", clips_to_evaluate=20)
    reporter.clips_done(20)
    reporter.evaluated(50, WordErrorRate(wer="30.00", normalized_wer="20.00"))
    progress = reporter.report().progress
    assert progress is not None
    assert (progress.step, progress.evaluated_clips, progress.clips_to_evaluate) == (50, None, None)
    assert reporter.snapshot().clips_to_evaluate == 0


def test_the_bar_is_of_clips_while_they_are_evaluated_and_then_of_steps(
    capsys: pytest.CaptureFixture[str], reporter: Reporter
) -> None:
    bar = progress_display.ProgressBar(200)
    reporter.listen(bar)
    reporter.enter("Evaluating", clips_to_evaluate=20)
    for clips in (5, 20):
        reporter.clips_done(clips)
    reporter.enter("Training")
    reporter.step_done(200, 200, loss=1.23456, learning_rate=2e-5, seconds=0.5)
    bar.close()
    shown = capsys.readouterr().err
    assert "Evaluating: 100%" in shown
    assert "20/20" in shown
    assert "clip/s" in shown
    assert "Training: 100%" in shown
    assert "200/200" in shown


def test_the_bar_shows_step_and_loss(capsys: pytest.CaptureFixture[str], reporter: Reporter) -> None:
    bar = progress_display.ProgressBar(200)
    bar(reporter.snapshot())
    bar.close()
    shown = capsys.readouterr().err
    assert "Training:  25%" in shown
    assert "50/200" in shown
    assert "loss 1.2346" in shown


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (3570, "1 h 0 min"), (12000, "3 h 20 min")]
)
def test_durations_are_written_as_people_read_them(seconds: int, text: str) -> None:
    assert progress_display.rough_duration(seconds) == text
