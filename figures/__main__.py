"""Print the figures of this code base, and fail where one is worse than its bound.

make figures                          # or, with the modules and the names that count against a figure:
.venv/bin/python figures --list
"""

import argparse
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

FOLDERS = ("crds", "operator", "trainer", "local", "tests", "tests/operator")
sys.path[1:1] = [str(Path(__file__).resolve().parent.parent / folder) for folder in FOLDERS]

import clip_figures  # noqa: E402 -- the line above finds what these import
import decision_figures  # noqa: E402
import shape_figures  # noqa: E402
from figure_bounds import FIGURES, MOST_FUNCTION_LINES, House, broken, table  # noqa: E402
from source_modules import PACKAGES, read_modules  # noqa: E402


def main() -> int:
    """Print the size of each package, then the figures that have a bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="name what counts against a figure")
    listed = parser.parse_args().list
    house = House(
        packages={name: read_modules(folder) for name, folder in PACKAGES.items()},
        passes=tuple(decision_figures.passes()),
        clip=clip_figures.modules_of_one_clip(),
    )
    values = {figure: figure.count(house) for figure in FIGURES}
    print(sizes(house), table(values), *lists(house) if listed else (), sep="\n\n")
    for figure in broken(values):
        print(f"error: {figure.name}: {values[figure]:g}, and figures/figure_bounds.py allows {figure.allowed:g}")
    return 1 if broken(values) else 0


def sizes(house: House) -> str:
    """Return the number of modules and functions of each package, and their lengths."""
    rows = [("", "modules", "lines", "median", "9 of 10", "functions", "lines", "median", "9 of 10")]
    for name, modules in house.packages.items():
        lengths = [module.lines for module in modules], shape_figures.function_lines(modules)
        cells = [(len(each), sum(each), statistics.median(each), shape_figures.nine_of_ten(each)) for each in lengths]
        rows.append((name, *(f"{cell:g}" for group in cells for cell in group)))
    return "\n".join(f"{name:9}" + "".join(f"{cell:>10}" for cell in cells) for name, *cells in rows)


def lists(house: House) -> Iterable[str]:
    """Yield, under a title per figure, the names of what counts against it."""
    title = f"Functions of more than {MOST_FUNCTION_LINES} lines"
    yield _titled(title, shape_figures.long_functions(house.modules, MOST_FUNCTION_LINES))
    middle = sorted(house.passes, key=lambda each: len(each.modules))[len(house.passes) // 2]
    yield f"The largest folder: {shape_figures.largest_folder(house.modules)[0]}"
    yield _titled("Imported by one sibling alone", shape_figures.imported_by_one_sibling(house.modules))
    for package, modules in house.packages.items():
        shared = shape_figures.shared_names(modules).items()
        yield _titled(f"Public functions of one name in {package}", (f"{name} ({count})" for name, count in shared))
    yield _titled(f"Entered by a decision at the median ({middle.story})", sorted(middle.modules))
    yield _titled("Entered by one clip", sorted(house.clip))


def _titled(title: str, names: Iterable[str]) -> str:
    return "\n  ".join((f"{title}:", *names))


if __name__ == "__main__":
    sys.exit(main())
