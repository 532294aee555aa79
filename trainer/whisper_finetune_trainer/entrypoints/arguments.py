"""The command line. In a pod there is no command. On a workstation it is `run`, `plan` or `compile` with an object."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn, Optional, Sequence, Tuple

from whisper_finetune_api import causes
from whisper_finetune_api.planning import ipu_layout
from whisper_finetune_api.run import CONFIG_ENV, TERMINATION_LOG

_DESCRIPTION = f"""\
Fine-tune one Whisper model and measure the word error rate before and after.
Without a command the configuration is read from ${CONFIG_ENV}, as the operator sets it in a pod.
Exit codes: 0 done, 64 bad configuration or too little memory on the accelerator, 65 bad data, 66 not found,
69 accelerator unavailable, 73 output cannot be written, 75 stopped with a checkpoint saved,
76 something to read is of another version, 77 access denied.
"""
_COMPILE = """\
Fill the executable cache that $POPLAR_EXECUTABLE_CACHE_DIR names with the training graph of an object, on a machine
with the Poplar SDK and without IPUs, so that a run of the same shapes need not compile it.
The two graphs of generation are left out: the library compiles them only when it has IPUs.
Nobody has yet shown on hardware that a run finds what was compiled without it.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Print what is wrong in one line, and exit with the code of a bad configuration (64)."""
        sys.stderr.write(f"{self.prog}: {message}; see {self.prog} --help\n")
        sys.exit(causes.EXIT_CONFIG)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments. If they are wrong, the process exits with code 64."""
    parser = _Parser(
        prog="whisper_finetune_trainer",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--termination-log", type=Path, default=Path(TERMINATION_LOG), help="in a pod: where the result goes"
    )
    commands = parser.add_subparsers(dest="command", parser_class=_Parser)
    run = commands.add_parser("run", help="train on this machine; the last line of stdout is the result as JSON")
    plan = commands.add_parser("plan", help="print as JSON what would be done, without doing it")
    compiled = commands.add_parser(
        "compile",
        help="compile the training graph for IPUs, without IPUs",
        description=_COMPILE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    compiled.set_defaults(accelerator="ipu")
    for command in (run, plan, compiled):
        _take_object(command)
    for command in (run, plan):
        command.add_argument(
            "--accelerator", choices=("cpu", "cuda", "ipu"), help="default: ipu for an object with ipus, else cpu"
        )
    for command in (run, compiled):
        command.add_argument("--scratch", type=Path, help="folder for caches; default: a temporary one")
    given = parser.parse_args(arguments)
    wrong = _contradiction(given)
    if wrong:
        commands.choices[given.command].error(wrong)
    return given


def _take_object(command: argparse.ArgumentParser) -> None:
    """Add the arguments for an object's file, its volumes and the size of a partition."""
    command.add_argument("spec", type=Path, help="YAML file with one WhisperFineTune object")
    command.add_argument(
        "--volume",
        type=_volume,
        action="append",
        default=[],
        metavar="CLAIM=FOLDER",
        help="the folder that stands for pvc://CLAIM; may be given several times",
    )
    command.add_argument(
        "--ipus",
        type=int,
        choices=ipu_layout.PARTITION_SIZES,
        help="size of the partition; default: spec.ipus, else the smallest that the model allows",
    )


def _contradiction(given: argparse.Namespace) -> Optional[str]:
    """Return how two arguments contradict each other, or None."""
    if given.command is None:
        return None
    if given.ipus and given.accelerator not in ("ipu", None):
        return f"--ipus {given.ipus} is for --accelerator ipu, not {given.accelerator}"
    claims = [claim for claim, _ in given.volume]
    twice = sorted({claim for claim in claims if claims.count(claim) > 1})
    return f"--volume: claim {twice[0]!r} is given {claims.count(twice[0])} folders" if twice else None


def _volume(text: str) -> Tuple[str, str]:
    claim, equals, folder = text.partition("=")
    if not (claim and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not CLAIM=FOLDER")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{folder!r} of claim {claim!r} is not a folder")
    if not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"folder {folder!r} of claim {claim!r} does not exist; make it first")
    return claim, str(Path(folder).resolve())
