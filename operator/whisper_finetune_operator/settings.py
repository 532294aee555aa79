"""What the installer chooses: the command line and the OPERATOR_* environment, as one frozen object."""

import argparse
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

PREFIX = "OPERATOR_"


class SettingsError(Exception):
    """A setting cannot be used. The text is one line for the installer."""


@dataclass(frozen=True)
class Settings:
    """Everything but the runtimes. Each number can be set as OPERATOR_NAME_IN_CAPITALS."""

    runtimes: Path
    #: The only namespace to watch. None: the whole cluster.
    namespace: str | None = None
    #: Where the Leases of partitions lie. None: with the operator's own. Installations that share a pool share it.
    partition_namespace: str | None = None
    #: NAMESPACE/LEASE of installations that are gone and whose runs this one takes over.
    take_over: Sequence[str] = ()
    #: Follow the runs of this class alone. None: those without a class.
    operator_class: str | None = None
    leader_election: bool = True
    #: None: use the pod's service account, else KUBECONFIG or ~/.kube/config.
    kubeconfig: Path | None = None

    #: Where the operator's own Lease lies (None: the service account's or kubeconfig's namespace), and who takes it.
    lease_namespace: str | None = None
    identity: str = "operator"
    lease_name: str = "whisper-finetune-operator"
    #: Another replica takes over after this time without a renewal. This one ends after two thirds of it.
    lease_seconds: float = 15.0

    #: How many runs are reconciled at once. Each has one request under way at a time. Other work has a few more.
    workers: int = 20
    request_timeout_seconds: float = 20.0
    #: Further requests wait. Those for the Lease do not, and watches are not counted.
    requests_per_second: float = 400.0

    #: Each watch is opened anew after this time, which shows that it lives.
    watch_seconds: int = 60
    watch_stale_seconds: float = 150.0
    #: Where runs wait and no pass has ended for so long, the workers are stuck.
    stuck_seconds: float = 300.0
    #: How often every run is reconciled although nothing changed.
    resync_seconds: float = 300.0

    #: How often the runtimes file is read again.
    runtimes_seconds: float = 10.0

    progress_seconds: float = 15.0
    progress_timeout_seconds: float = 5.0
    progress_parallel: int = 16

    health_port: int = 8080
    log_level: str = "INFO"


def read_settings(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Return what the command line and the environment say. SettingsError names a value that does not fit."""
    chosen = Settings(
        **vars(_parser().parse_args(arguments)),
        lease_namespace=environment.get("POD_NAMESPACE"),
        identity=environment.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
    )
    return replace(chosen, **_from_environment(environment))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m whisper_finetune_operator", description="The WhisperFineTune operator."
    )
    parser.add_argument(
        "--runtimes", type=Path, required=True, metavar="FILE", help="what the cluster offers to trainers"
    )
    parser.add_argument("--namespace", metavar="NAMESPACE", help="watch this namespace alone (default: all)")
    parser.add_argument(
        "--partition-namespace",
        metavar="NAMESPACE",
        help="where the Leases of V-IPU partitions lie: one for all installations that share a pool (default: its own)",
    )
    parser.add_argument(
        "--take-over",
        metavar="NAMESPACE/NAME",
        action="append",
        default=[],
        help="go on with the runs of this installation, which is gone; its name is its Lease's (may be given again)",
    )
    parser.add_argument(
        "--operator-class",
        metavar="NAME",
        help="follow the runs whose spec.operatorClass is NAME, and no others (default: the runs without one)",
    )
    parser.add_argument(
        "--no-leader-election", dest="leader_election", action="store_false", help="act at once: for a single replica"
    )
    parser.add_argument(
        "--kubeconfig", type=Path, metavar="FILE", help="default: the pod's service account, KUBECONFIG"
    )
    return parser


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    by_variable = {PREFIX + field.name.upper(): field for field in fields(Settings)}
    return {
        by_variable[variable].name: _value(variable, text, type(by_variable[variable].default))
        for variable, text in environment.items()
        if variable in by_variable and type(by_variable[variable].default) in (int, float, str)
    }


def _value(variable: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    try:
        value = kind(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise SettingsError(
            f"{variable} is {text!r}: it must be {'a' if kind is float else 'a whole'} number above zero"
        )
    return value
