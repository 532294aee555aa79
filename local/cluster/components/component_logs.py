"""Show the logs of a cluster's programs."""

from pathlib import Path

from cluster.faults import ClusterError

LINES = 200
LINES_OF_EACH = 3


def show_logs(folder: Path, component: str) -> None:
    """Print the end of one component's log. Without a component, print the last lines of every log."""
    logs = {log.stem: log for log in sorted(folder.glob("*.log"))}
    if not logs:
        raise ClusterError(
            f"no logs in {folder}: the cluster was not started yet, or is kind's (`kind export logs`) or somebody's"
        )
    if component and component not in logs:
        raise ClusterError(f"no component {component!r}: there are {', '.join(logs)}")
    for name, log in logs.items():
        if not component:
            print(f"==> {name} ({log})")
        if component in {"", name}:
            print("\n".join(last_lines(log, LINES if component else LINES_OF_EACH)))


def last_lines(log: Path, count: int) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-count:]
