"""python -m whisper_finetune_operator: run until told to stop. Where it cannot start, one line says why."""

import asyncio
import gc
import os
import sys
from collections.abc import Mapping, Sequence

from whisper_finetune_api.causes import EXIT_ACCESS, EXIT_CONFIG
from whisper_finetune_operator.api import connection
from whisper_finetune_operator.api.connection import Access, AccessError, Connection
from whisper_finetune_operator.api.leader_election import LeaseLostError
from whisper_finetune_operator.api.preflight import StartError
from whisper_finetune_operator.assembly import Operator
from whisper_finetune_operator.observability import logs
from whisper_finetune_operator.planning import runtimes
from whisper_finetune_operator.planning.runtimes import Runtimes, RuntimesError
from whisper_finetune_operator.settings import Settings, SettingsError, read_settings
from whisper_finetune_operator.watching.resync import RestoredError

EXIT_LEASE_LOST = 1
#: The process ends with it, begins anew, and reads everything again.
EXIT_RESTORED = 1
#: Connections beside the workers': for Events, the lists of the resync, and the first lists of watches.
SPARE_CONNECTIONS = 10
#: One for a request that hangs, and one for the next try.
LEASE_CONNECTIONS = 2
#: Of the garbage collector: new objects before it inspects them, and so many inspections before each of older ones.
COLLECTION_THRESHOLDS = (10_000, 50, 10)


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run the operator and return its exit code."""
    try:
        settings = read_settings(arguments, environment)
        logs.write_json_lines(settings.log_level)
        offered = runtimes.load_runtimes(settings.runtimes)
        access = connection.find_access(settings.kubeconfig)
        collect_garbage_rarely()
        asyncio.run(_run(settings, offered, access))
    except (SettingsError, RuntimesError) as problem:
        return _complain(problem, EXIT_CONFIG)
    except AccessError as problem:
        return _complain(problem, EXIT_ACCESS)
    except StartError as problem:
        return _complain(problem, problem.exit_code)
    except LeaseLostError as problem:
        return _complain(problem, EXIT_LEASE_LOST)
    except RestoredError as problem:
        return _complain(problem, EXIT_RESTORED)
    return 0


def collect_garbage_rarely() -> None:
    """Let the garbage collector take less of the processor, and none for what was imported.

    In a burst of runs Python's own thresholds cost a seventh of the operator's processor time. The objects of a burst
    are cached and hold no cycles, so inspecting them again and again finds nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTION_THRESHOLDS)


async def _run(settings: Settings, offered: Runtimes, access: Access) -> None:
    connections = settings.workers + SPARE_CONNECTIONS
    async with (
        Connection(access, connections=connections, timeout_seconds=settings.request_timeout_seconds) as way,
        Connection(access, connections=LEASE_CONNECTIONS, timeout_seconds=settings.lease_seconds / 3) as lease_way,
    ):
        await Operator(settings, offered, way, lease_way).run()


def _complain(problem: Exception, exit_code: int) -> int:
    print(logs.escaped(f"error: {problem}"), file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
