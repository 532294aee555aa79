"""The modules of the three packages, read from their files: lines, functions, names and imports."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "crds": ROOT / "crds" / "whisper_finetune_api",
    "operator": ROOT / "operator" / "whisper_finetune_operator",
    "trainer": ROOT / "trainer" / "whisper_finetune_trainer",
}
#: A package's own file of fewer lines only says what the folder is.
_LINES_OF_A_SIGN = 6


@dataclass(frozen=True)
class Module:
    """One file of Python."""

    #: The name by which it is imported.
    name: str
    path: Path
    lines: int
    #: How many lines each of its functions and methods has.
    functions: tuple[tuple[str, int], ...]
    #: The names of its public functions at top level.
    public_functions: tuple[str, ...]
    #: The names of the project's modules and packages that it imports.
    imports: frozenset[str]

    @property
    def folder(self) -> str:
        """The name of the package that the module is in."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]


def read_modules(package: Path) -> tuple[Module, ...]:
    """Return a package's modules. Files that only say what their folder is are left out."""
    found = (_read_module(path, package.parent) for path in sorted(package.rglob("*.py")))
    return tuple(each for each in found if each.path.name != "__init__.py" or each.lines >= _LINES_OF_A_SIGN)


def _read_module(path: Path, source_root: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    parts = path.relative_to(source_root).with_suffix("").parts
    return Module(
        name=".".join(parts).removesuffix(".__init__"),
        path=path,
        lines=len(text.splitlines()),
        functions=tuple(_functions(tree)),
        public_functions=tuple(_public_functions(tree)),
        imports=frozenset(_imports(tree)),
    )


def _functions(tree: ast.Module) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def _public_functions(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node.name


def _imports(tree: ast.Module) -> Iterator[str]:
    """Yield every name that could be a module. `from a import b` names `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(modules: Iterable[Module]) -> Mapping[str, frozenset[Module]]:
    """Return, by the name of each module, the modules that import it."""
    everything = tuple(modules)
    return {
        module.name: frozenset(other for other in everything if module.name in other.imports) for module in everything
    }
