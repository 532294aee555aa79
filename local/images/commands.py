"""The local cluster's images, built without a registry."""

import argparse
from collections.abc import Iterator, Sequence

from cluster.faults import ClusterError
from cluster.narration import say
from images import archives, poplar_stand_in, recipes


def run(arguments: Sequence[str] | None = None) -> int | str:
    """Run the command line. Return the exit status, or one line that says what is wrong."""
    options = parser().parse_args(arguments)
    try:
        match options.command:
            case "build":
                for recipe in buildable(options):
                    print(archives.build(recipe), flush=True)
            case "key":
                for recipe in recipes.chosen(options.image, options.torch):
                    print(recipe.key())
            case "clean":
                archives.clean()
    except ClusterError as problem:
        return f"error: {problem}"
    return 0


def buildable(options: argparse.Namespace) -> Iterator[recipes.Recipe]:
    """Yield the images to build. Where all are asked for, those that need a missing Python 3.8 are left out."""
    for recipe in recipes.chosen(options.image, options.torch):
        if options.image == "all" and recipe.emulated and not poplar_stand_in.is_possible():
            say(f"{recipe.image}: left out, as there is no .venv38 with Python 3.8 (`make environment` says why)")
        else:
            yield recipe


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python3 local/images", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    image = argparse.ArgumentParser(add_help=False)
    image.add_argument("image", choices=[*(recipes.Recipe(target).name for target in recipes.TARGETS), "all"])
    image.add_argument(
        "--torch", choices=recipes.TORCH_SOURCES, default="stub", help="the trainer's torch (stub: for tests only)"
    )
    commands.add_parser("build", parents=[image], help="build what changed; print the path of each image's archive")
    commands.add_parser("key", parents=[image], help="print what changes exactly when an image does")
    commands.add_parser("clean", help="remove all that was built, downloaded packages too")
    return top
