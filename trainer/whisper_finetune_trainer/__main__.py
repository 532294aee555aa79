"""python -m whisper_finetune_trainer [run SPEC.yaml | plan SPEC.yaml]; see arguments.py."""

import faulthandler
import sys

from whisper_finetune_trainer import arguments, logs, pod, workstation


def main() -> int:
    """Do what the command line says; return the exit code."""
    given = arguments.parse(sys.argv[1:])
    logs.start()
    # A crash inside a library leaves at least where it was in the log.
    faulthandler.enable()
    if given.command == "run":
        return workstation.run(given)
    if given.command == "plan":
        return workstation.plan(given)
    return pod.run(given.termination_log)


if __name__ == "__main__":
    sys.exit(main())
