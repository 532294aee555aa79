"""Figures of modules, counted in their files without running them."""

from collections import Counter
from collections.abc import Iterable, Sequence

from source_modules import Module, importers


def function_lines(modules: Iterable[Module]) -> list[int]:
    """Return how many lines each function and method has."""
    return [lines for module in modules for _, lines in module.functions]


def nine_of_ten(values: Iterable[int]) -> int:
    """Return the value that nine of ten values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * 9 // 10)]


def long_functions(modules: Iterable[Module], most_lines: int) -> list[str]:
    """Return the functions that have more lines, each with its module, its name and its number of lines."""
    found = ((module.name, *function) for module in modules for function in module.functions)
    return [f"{module}.{name} ({lines})" for module, name, lines in found if lines > most_lines]


def largest_folder(modules: Sequence[Module]) -> tuple[str, int]:
    """Return the folder with the most modules, and how many it has."""
    [found] = Counter(module.folder for module in modules).most_common(1)
    return found


def imported_by_one_sibling(modules: Sequence[Module]) -> list[str]:
    """Return the modules that only one other module imports, which is in the same folder."""
    by_name = importers(modules)
    folders = {module.name: module.folder for module in modules}
    return sorted(name for name, found in by_name.items() if [each.folder for each in found] == [folders[name]])


def shared_names(modules: Sequence[Module]) -> dict[str, int]:
    """Return the names of public functions that several modules of a package have, and how many modules have each."""
    counts = Counter(name for module in modules for name in module.public_functions)
    return {name: count for name, count in sorted(counts.items()) if count > 1}


def unique_percent(packages: Iterable[Sequence[Module]]) -> float:
    """Return the percentage of public functions whose name no other module of their package has."""
    shared = total = 0
    for modules in packages:
        shared += sum(shared_names(modules).values())
        total += sum(len(module.public_functions) for module in modules)
    return 100 * (total - shared) / total
