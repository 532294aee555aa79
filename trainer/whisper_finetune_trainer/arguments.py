"""The command line: a pod gives nothing, a workstation `run` or `plan` with an object."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn, Sequence, Tuple

from whisper_finetune_api import causes
from whisper_finetune_api.run import CONFIG_ENV, TERMINATION_LOG

_DESCRIPTION = f"""\
Fine-tune one Whisper model and measure the word error rate before and after.
Without a command the configuration is read from ${CONFIG_ENV}, as the operator sets it in a pod.
Exit codes: 0 done, 64 bad configuration, 65 bad data, 66 not found, 69 accelerator unavailable,
73 output cannot be written, 75 stopped with a checkpoint saved, 77 access denied.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one line, with the exit code of any bad configuration."""
        sys.stderr.write(f"{self.prog}: {message}; see {self.prog} --help\n")
        sys.exit(causes.EXIT_CONFIG)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the arguments; ends the process with 64 where they are wrong."""
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
    for command in (run, plan):
        command.add_argument("spec", type=Path, help="YAML file with one WhisperFineTune object")
        command.add_argument(
            "--volume",
            type=_volume,
            action="append",
            default=[],
            metavar="CLAIM=FOLDER",
            help="the folder that stands for pvc://CLAIM; may be given several times",
        )
        command.add_argument("--accelerator", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    run.add_argument("--scratch", type=Path, help="folder for caches; default: a temporary one")
    return parser.parse_args(arguments)


def _volume(text: str) -> Tuple[str, str]:
    claim, equals, folder = text.partition("=")
    if not (claim and equals and folder):
        raise argparse.ArgumentTypeError(f"{text!r} is not CLAIM=FOLDER")
    if not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"folder {folder!r} of claim {claim!r} does not exist; make it first")
    return claim, str(Path(folder).resolve())
