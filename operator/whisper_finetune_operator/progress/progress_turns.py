"""Whom to ask for progress next: silent pods ever more seldom, and no namespace at the others' expense. Pure."""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

#: So many failures are those of a trainer that has only just started: its libraries take their time to load.
PATIENT_FAILURES = 3
#: A pod that stays silent is asked this seldom at last.
LAST_WAIT_SECONDS = 300.0
#: So many at once where reading the answer was work: it waits longest from the first time on.
MANY = 16


@dataclass(frozen=True)
class Trainer:
    """A running trainer's pod, and where it answers."""

    run_uid: str
    pod_uid: str
    pod_name: str
    namespace: str
    host: str
    port: int


@dataclass(frozen=True)
class _Asked:
    failures: int
    next_at: float


#: By namespace, then by the pod's UID; both in the order of their turns.
_Waiting = OrderedDict[str, OrderedDict[str, Trainer]]
_NEVER = _Asked(0, float("-inf"))


class ProgressTurns:
    """Those whose turn has come wait by namespace. Times are seconds of any one clock."""

    def __init__(self, *, every_seconds: float, parallel: int) -> None:
        self._every_seconds = every_seconds
        self._parallel = parallel
        #: One namespace alone leaves places free for the first of another.
        self._most_of_one = max(1, parallel - parallel // 4)
        self._asked: dict[str, _Asked] = {}
        self._waiting: _Waiting = OrderedDict()
        self._busy: dict[str, Trainer] = {}

    def note_running(self, trainers: Iterable[Trainer], now: float) -> None:
        """Let those wait whose time has come, and forget whom the list no longer has."""
        running = {trainer.pod_uid: trainer for trainer in trainers}
        self._asked = {uid: asked for uid, asked in self._asked.items() if uid in running}
        waiting: OrderedDict[str, OrderedDict[str, Trainer]] = OrderedDict(
            (name, OrderedDict()) for name in self._waiting
        )
        # Who waits already keeps its place.
        known = [uid for trainers_there in self._waiting.values() for uid in trainers_there if uid in running]
        due = (uid for uid in running if uid not in self._busy and self._asked.get(uid, _NEVER).next_at <= now)
        for uid in dict.fromkeys((*known, *due)):
            waiting.setdefault(running[uid].namespace, OrderedDict())[uid] = running[uid]
        self._waiting = OrderedDict((name, there) for name, there in waiting.items() if there)

    def take(self) -> Trainer | None:
        """Return who is asked next, of the namespace with the fewest that are being asked. None: nobody for now."""
        at_once = Counter(trainer.namespace for trainer in self._busy.values())
        open_to = [name for name in self._waiting if at_once[name] < self._most_of_one]
        if not open_to or len(self._busy) >= self._parallel:
            return None
        # The first of equals: each that was served goes behind the others.
        name = min(open_to, key=lambda each: at_once[each])
        there = self._waiting.pop(name)
        uid, trainer = there.popitem(last=False)
        if there:
            self._waiting[name] = there
        self._busy[uid] = trainer
        return trainer

    def done(self, trainer: Trainer, now: float, *, faults: int, fraction: float) -> None:
        """Note what came of asking: 0 for a good answer. `fraction` in [0, 1) spreads those that fail together."""
        del self._busy[trainer.pod_uid]
        before = self._asked.get(trainer.pod_uid, _NEVER)
        failures = before.failures + faults if faults else 0
        beyond = min(max(0, failures - PATIENT_FAILURES), MANY)
        wait = min(self._every_seconds * 2.0**beyond, LAST_WAIT_SECONDS) * (1 - fraction / 4) if beyond else 0.0
        self._asked[trainer.pod_uid] = _Asked(failures, now + wait)
