"""The code that makes something, as a digest: what it says, and which libraries it uses.

The code of a module is its import closure: itself, and every module of this project, or of its
own package, that import statements lead to from there. Comments, docstrings and layout do not
count, nor do imports for type checkers. What a module imports by a name made at run time (one
method of many, one network) does not count here: whoever uses it names it as a root of its own.

A package's `__init__` that only shows what its modules hold is a face: `from package import name`
leads through it to the module behind the name, not to all that the face shows; see `face`.
"""

import ast
import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.metadata import Distribution, distributions
from pathlib import Path

from .face import is_for_checkers, shown_late
from .syntax import passing_tree_of

# Finding a plugin decides nothing of what it does; whoever uses one names it as a root. Nor does
# fetching a file decide what it holds; whoever uses one keys its content.
FINDERS = {f"{__package__}.plugins", f"{__package__}.hub"}


@dataclass(frozen=True)
class Code:
    """What some modules' results depend on.

    Attributes:
        digest: SHA-256 (hex) over the syntax of the closure's modules.
        libraries: major and minor version of each library that it imports, `torch: 2.11`.
        modules: the closure's modules, by dotted name.
    """

    digest: str
    libraries: dict[str, str]
    modules: tuple[str, ...]


def code_of(*roots: str) -> Code:
    """The code of modules, by their dotted names.

    A root outside this project, such as a plugin, counts with its whole package, and with what it
    imports from other packages of its distribution.
    """
    modules = closure(roots)
    sha = hashlib.sha256()
    outside: set[str] = set()
    for name, file in sorted(modules.items()):
        parsed = _parse(file)
        sha.update(f"{name} {parsed.meaning}\n".encode())
        outside |= {a.split(".")[0] for a, _ in _names_imported(name, file)}
    own = {name.split(".")[0] for name in modules}
    return Code(sha.hexdigest(), _minor_versions(outside - own), tuple(sorted(modules)))


def closure(roots: Iterable[str]) -> dict[str, Path]:
    """The modules that code depends on, and their files.

    Raises:
        ModuleNotFoundError: a root is no module.
    """
    found: dict[str, Path] = {}
    waiting: list[str] = []
    tops = {__name__.split(".")[0]}
    for root in roots:
        if locate(root) is None:
            raise ModuleNotFoundError(f"no module {root!r}", name=root)
        waiting += [root] if _is_ours(root) else _whole_package(root)
        tops |= _tops_beside(root)
    below = frozenset(tops)
    while waiting:
        name = waiting.pop()
        file = None if name in found or name in FINDERS else locate(name)
        if file is None:
            continue
        found[name] = file
        waiting += _led_to(name, file, below)
    return found


def locate(module: str) -> Path | None:
    """The file of a module or package, found without importing it; None if it has none."""
    loaded = sys.modules.get(module)
    if loaded is not None and getattr(loaded, "__file__", None):
        return Path(str(loaded.__file__))
    parent, _, name = module.rpartition(".")
    if parent and (above := locate(parent)) is not None and above.name == "__init__.py":
        for file in (above.parent / name / "__init__.py", above.parent / f"{name}.py"):
            if file.is_file():
                return file
    # The top of a package, or one that the installation puts elsewhere (`benchmark.methods`).
    if module.count(".") > 1:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def comes_with_a_version(top: str) -> bool:
    """Whether a top-level module is of this project, or of an installed distribution."""
    return _is_ours(top) or bool(_brought_by(top))


def digest_of_files(files: Iterable[Path]) -> str:
    """SHA-256 (hex) over the syntax of files, in their order."""
    sha = hashlib.sha256()
    for file in files:
        sha.update(_parse(file).meaning.encode())
    return sha.hexdigest()


@dataclass(frozen=True)
class _Parsed:
    meaning: str
    imports: tuple[tuple[int, str, tuple[str, ...]], ...]  # level, module, names
    shown: dict[str, tuple[int, str, str]]  # a face's names: level, module, name there


def _parse(file: Path) -> _Parsed:
    status = file.stat()
    return _parse_once(file, status.st_mtime_ns, status.st_size)


@cache
def _parse_once(file: Path, changed: int, size: int) -> _Parsed:
    tree = passing_tree_of(file)
    meaning = hashlib.sha256(_meaning(tree).encode()).hexdigest()
    return _Parsed(meaning, tuple(_imports(tree)), _shown(tree))


def _imports(node: ast.AST) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """The import statements at any depth, but for those under `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield 0, alias.name, ()
        elif isinstance(child, ast.ImportFrom):
            yield child.level, child.module or "", tuple(alias.name for alias in child.names)
        elif isinstance(child, ast.If) and is_for_checkers(child.test):
            for other in child.orelse:
                yield from _imports(ast.Module([other], []))
        elif isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield from _imports(child)


def _shown(tree: ast.Module) -> dict[str, tuple[int, str, str]]:
    """The names that a module has from elsewhere, at its top level or late."""
    shown = shown_late(tree)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                shown[alias.asname or alias.name] = node.level, node.module or "", alias.name
    return shown


def _led_to(module: str, file: Path, tops: frozenset[str]) -> Iterable[str]:
    """The modules that a module's import statements lead to, among those below some tops."""
    if not _is_ours(module):
        return _find_led_to(module, file, tops)
    status = file.stat()
    return _led_to_once(module, file, status.st_mtime_ns, status.st_size, tops)


@cache
def _led_to_once(
    module: str, file: Path, changed: int, size: int, tops: frozenset[str]
) -> tuple[str, ...]:
    """Of this project's own, which many closures hold, and beside which no file comes or goes."""
    return tuple(_find_led_to(module, file, tops))


def _find_led_to(module: str, file: Path, tops: frozenset[str]) -> Iterator[str]:
    for name, attribute in _names_imported(module, file):
        if name.split(".")[0] in tops:
            yield from _behind(name, attribute)


def _names_imported(module: str, file: Path) -> Iterator[tuple[str, str]]:
    """What a module's import statements name: modules, each with an attribute or none."""
    for level, name, attributes in _parse(file).imports:
        source = _absolute(module, file, level, name)
        for attribute in attributes or ("",):
            yield source, attribute


def _absolute(module: str, file: Path, level: int, name: str) -> str:
    if not level:
        return name
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for _ in range(level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{name}" if name else package


def _behind(module: str, attribute: str) -> list[str]:
    """The modules that `from module import attribute` needs, or `import module` without one."""
    if not attribute:
        return [module]
    if locate(inside := f"{module}.{attribute}") is not None:
        return [inside]
    file = locate(module)
    if file is None or file.name != "__init__.py":
        return [module]
    shown = _parse(file).shown.get(attribute)
    if shown is None:
        return [module]
    level, source, name = shown
    return _behind(_absolute(module, file, level, source), name)


def _is_ours(module: str) -> bool:
    return module.split(".")[0] == __name__.split(".")[0]


def _tops_beside(root: str) -> set[str]:
    """The top-level modules that came with that of `root`.

    They are from the same distribution; of a plugin that is none, from the same folder.
    """
    top = root.split(".")[0]
    own = _brought_by(top)
    if own or _is_ours(root):
        return {top}.union(*(_installed()[each] for each in own))
    file = locate(top)
    if file is None:
        return {top}
    folder = file.parent.parent if file.name == "__init__.py" else file.parent
    beside = [*folder.glob("*.py"), *(path.parent for path in folder.glob("*/__init__.py"))]
    return {top} | {path.stem for path in beside}


def _whole_package(root: str) -> list[str]:
    """All modules of the top package of `root`, or `root` alone where it is in none."""
    top = root.split(".")[0]
    file = locate(top)
    if file is None or file.name != "__init__.py":
        return [root]
    names = []
    for path in sorted(file.parent.rglob("*.py")):
        parts = path.relative_to(file.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        names.append(".".join((top, *parts)))
    return names


def _minor_versions(imported: Iterable[str]) -> dict[str, str]:
    named = [_names_of(top) for top in sorted(set(imported) - sys.stdlib_module_names)]
    return {name: ".".join(version(name).split(".")[:2]) for names in named for name in names}


version = cache(metadata.version)  # it parses all that a distribution says of itself


@cache
def _names_of(top: str) -> list[str]:
    return [each.name for each in _brought_by(top)]


@cache
def _brought_by(top: str) -> list[Distribution]:
    """The distributions that a top-level module came with, those found first in front."""
    return [each for each, tops in _installed().items() if top in tops]


@cache
def _installed() -> dict[Distribution, set[str]]:
    """All distributions, each with its top-level modules.

    `importlib.metadata.packages_distributions` also parses the metadata of all, and makes a path
    of every file: most of a second.
    """
    return {each: _tops_of(each) for each in distributions()}


def _tops_of(distribution: Distribution) -> set[str]:
    declared = (distribution.read_text("top_level.txt") or "").split()
    if declared:
        return set(declared)
    record = distribution.read_text("RECORD")
    lines = map(str, distribution.files or ()) if record is None else record.splitlines()
    files = [line.partition(",")[0] for line in lines]
    return {file.removesuffix(".py").partition("/")[0] for file in files if file.endswith(".py")}


def _meaning(node: ast.AST) -> str:
    """A node and all below it; empty fields are left out, as Python versions add such.

    Most of what a digest takes is spent here, a call a node.
    """
    parts = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            if name == "body" and value and _is_text(value[0]):
                value = value[1:]
            if value:
                inside = [_meaning(v) if isinstance(v, ast.AST) else repr(v) for v in value]
                parts.append(f"{name}=[{','.join(inside)}]")
        elif isinstance(value, ast.AST):
            parts.append(f"{name}={_meaning(value)}")
        elif value is not None:
            parts.append(f"{name}={value!r}")
    return f"{type(node).__name__}({','.join(parts)})"


def _is_text(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
