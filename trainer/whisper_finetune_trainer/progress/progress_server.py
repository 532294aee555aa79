"""Serve GET /progress for the operator and GET /metrics for Prometheus, in a thread of its own."""

import errno
import http.server
import json
import logging
import socket
import socketserver
import threading
from typing import Callable, Iterator, Mapping, Optional, Tuple

from prometheus_client import CollectorRegistry, ProcessCollector, exposition
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from whisper_finetune_api import contract
from whisper_finetune_api.run import METRICS_PATH, PROGRESS_PATH, TrainerReport
from whisper_finetune_trainer.progress.progress import Reporter, Snapshot

#: A client that sends nothing must not keep a thread for ever.
_CLIENT_TIMEOUT_SECONDS = 10
#: Error numbers of a node without IPv6.
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)
_PREFIX = "whisper_finetune_trainer"
logger = logging.getLogger(__name__)


def serve_progress(
    run: Mapping[str, str],
    port: int,
    reporter: Reporter,
    host: Optional[str] = None,
    operators: Optional[int] = None,
) -> int:
    """Answer requests from a daemon thread until the process ends. Return the port, or 0 where it is not free.

    `run` has name, namespace and UID, for the labels of the metrics. Port 0 stands for any free port. Without a host
    the server listens on all addresses of IPv6 and IPv4. `operators` is the number of the operator's contract.
    """
    registry = CollectorRegistry()
    registry.register(_TrainerCollector(run, reporter.snapshot))
    ProcessCollector(registry=registry)

    def answer() -> bytes:
        return progress_json(run["uid"], reporter.report(), operators)

    try:
        server = _listening(host, port, _handler(answer, registry))
    except OSError as error:
        # Training goes on without it. The result comes by the termination message.
        logger.warning("no progress over HTTP: cannot listen on port %d: %s", port, error)
        return 0
    threading.Thread(target=server.serve_forever, name="progress", daemon=True).start()
    return server.server_port


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind without looking up the host's name, which would wait for a DNS server that does not answer."""
        if self.address_family == socket.AF_INET6:
            # A pod may have addresses of both kinds, and the operator may know either.
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])


class _DualStackServer(_Server):
    address_family = socket.AF_INET6


def _listening(
    host: Optional[str], port: int, handler: Callable[..., http.server.BaseHTTPRequestHandler]
) -> http.server.ThreadingHTTPServer:
    if host is not None:
        return _Server((host, port), handler)
    try:
        return _DualStackServer(("::", port), handler)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return _Server(("0.0.0.0", port), handler)  # noqa: S104 (the operator asks the pod's address)


def progress_json(uid: str, report: TrainerReport, operators: Optional[int] = None) -> bytes:
    """Return the answer to GET /progress: the report with the run's UID, in the operator's contract."""
    return json.dumps({**contract.answer_for_operator(report, operators), "uid": uid}, ensure_ascii=False).encode()


def _handler(
    progress: Callable[[], bytes], registry: CollectorRegistry
) -> Callable[..., http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT_SECONDS

        def do_GET(self) -> None:
            if self.path == PROGRESS_PATH:
                self._answer(200, "application/json", progress())
            elif self.path == METRICS_PATH:
                self._answer(200, exposition.CONTENT_TYPE_LATEST, exposition.generate_latest(registry))
            else:
                self._answer(404, "text/plain", f"ask for {PROGRESS_PATH} or {METRICS_PATH}\n".encode())

        def _answer(self, status: int, content_type: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's own name)
            """Log nothing, because the operator asks every few seconds."""

    return Handler


class _TrainerCollector(Collector):
    """Makes the metrics from the newest snapshot, so nothing is counted twice."""

    def __init__(self, run: Mapping[str, str], snapshot: Callable[[], Snapshot]) -> None:
        self._run = dict(run)
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot()
        yield InfoMetricFamily(f"{_PREFIX}_run", "The run that this process trains.", self._run)
        for name, text, value in _gauges(snapshot):
            yield GaugeMetricFamily(f"{_PREFIX}_{name}", text, value)


def _gauges(snapshot: Snapshot) -> Iterator[Tuple[str, str, float]]:
    report = snapshot.report
    yield "training_seconds", "Seconds of this attempt's optimizer steps.", snapshot.training_seconds
    yield "evaluated_clips", "Clips done of the current evaluation.", snapshot.evaluated_clips
    yield "clips_to_evaluate", "Clips of the current evaluation, 0 where none is under way.", snapshot.clips_to_evaluate
    if report.progress:
        yield "step", "Optimizer steps done.", report.progress.step
        yield "total_steps", "Optimizer steps of the run.", report.progress.total_steps
    if report.progress and report.progress.loss:
        yield "loss", "Training loss of the newest step.", float(report.progress.loss)
    if snapshot.learning_rate is not None:
        yield "learning_rate", "Learning rate of the newest step.", snapshot.learning_rate
    if snapshot.seconds_per_step is not None:
        yield "seconds_per_step", "Seconds per step, as a mean over the newest steps.", snapshot.seconds_per_step
    if report.baseline:
        yield (
            "baseline_wer_percent",
            "Word error rate before training, of the texts as they are.",
            float(report.baseline.wer),
        )
    if report.baseline and report.baseline.score:
        yield "baseline_score_percent", "The metric's own figure before training.", float(report.baseline.score)
