"""A process of its own for an engine: what crashes there, or takes memory, ends with it.

Engines are libraries of C++. A crash in one must not end a run whose model is whole, and a signal to stop must not wait
for one.
"""

import importlib
import multiprocessing
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Optional, Tuple, Type

from typing_extensions import Self

from whisper_finetune_trainer.exports.engines import Engine, ExportKind, Hear, HearingSettings, Samples
from whisper_finetune_trainer.machine import pod_limits
from whisper_finetune_trainer.messages import errors
from whisper_finetune_trainer.model.generation import Transcript


class EngineError(Exception):
    """An engine could not make or hear an export. The text says why."""


class EngineProcess:
    """The process of the engine of one kind of export. It is ended with the context."""

    def __init__(self, kind: ExportKind) -> None:
        """The process starts with the context, and loads the engine with the first request."""
        # Not forked: threads of PyTorch do not live on in a copy of this process.
        context = multiprocessing.get_context("spawn")
        self._ours, self._theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._theirs, kind), daemon=True)

    def __enter__(self) -> Self:
        """Start the process."""
        self._process.start()
        # Only the process itself has the other end, so that its death is seen.
        self._theirs.close()
        return self

    def __exit__(
        self, _kind: Optional[Type[BaseException]], _error: Optional[BaseException], _trace: Optional[TracebackType]
    ) -> None:
        """Kill the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._ours.close()

    def convert(self, model: Path, target: Path) -> None:
        """Write the export of the model's folder into an existing folder. Raises EngineError."""
        self._ask(("convert", model, target))

    def open(self, target: Path, settings: HearingSettings) -> None:
        """Load an export, to hear with it. Raises EngineError."""
        self._ask(("open", target, settings))

    def hear(self, samples: Samples, seconds: float) -> Transcript:
        """Return what the export heard. Raises EngineError."""
        heard: Transcript = self._ask(("hear", samples, seconds))
        return heard

    def _ask(self, request: Tuple[Any, ...]) -> Any:
        try:
            self._ours.send(request)
            answer, refusal = self._ours.recv()
        except (EOFError, ConnectionError):
            self._process.join()
            raise EngineError(f"its engine died (exit code {self._process.exitcode})") from None
        if refusal is not None:
            raise EngineError(refusal)
        return answer


def _serve(connection: Connection, kind: ExportKind) -> None:
    # Ctrl-C goes to all processes of a terminal. The trainer ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    served = _Served(kind)
    while True:
        try:
            request, *arguments = connection.recv()
        except EOFError:
            return
        try:
            connection.send((getattr(served, request)(*arguments), None))
        except Exception as error:  # noqa: BLE001 -- whatever an engine raises, the trainer is told in words
            connection.send((None, f"{type(error).__name__}: {errors.words_of(error)}"))


class _Served:
    """What the process does."""

    def __init__(self, kind: ExportKind) -> None:
        self._kind = kind
        self._hear: Optional[Hear] = None

    def convert(self, model: Path, target: Path) -> None:
        self._engine().convert(model, target, self._kind.weights)

    def open(self, target: Path, settings: HearingSettings) -> None:
        self._hear = self._engine().open(target, settings, pod_limits.available_cpus())

    def hear(self, samples: Samples, seconds: float) -> Transcript:
        if self._hear is None:
            raise ValueError("no export is open")
        return self._hear(samples, seconds)

    def _engine(self) -> Engine:
        # Only now, so that the trainer is told why an engine cannot be loaded.
        engine: Engine = importlib.import_module(self._kind.module).ENGINE
        return engine
