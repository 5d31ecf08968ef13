"""What there is to choose from: methods, datasets and image sources, found by their files.

Methods also come from an entry point of the group `labelbench.methods`, or from a file named
with `--plugin`. Listing reads docstrings as text; a module is imported when it is used.
"""

import ast
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from .code_digest import digest_of_files
from .errors import UserError, unknown

if TYPE_CHECKING:
    from ..labels.contract import LabelSource

ENTRY_POINTS = "labelbench.methods"
NOT_DATASETS = {"distilled"}
_plugins: dict[str, Path] = {}


def methods() -> dict[str, Path | EntryPoint]:
    """Every known method: our files, installed entry points, loaded plugins.

    Raises:
        UserError: an installed plugin has the name of a built-in method, or of another one.
    """
    return {**_modules("benchmark.methods"), **_installed(), **_plugins}


def datasets() -> dict[str, Path]:
    """Every dataset; `parquet` takes a path after a colon."""
    found = _modules("benchmark.datasets")
    return {name: path for name, path in found.items() if name not in NOT_DATASETS}


def image_sources() -> dict[str, Path]:
    """Every way to make distilled images; `path` takes a path after a colon."""
    return _modules("benchmark.datasets.distilled")


def add_plugin(path: Path) -> str:
    """Make the method in a Python file known under the file's stem; returns that name.

    Raises:
        UserError: no such file, or the name is one of ours.
    """
    if path.suffix != ".py" or not path.is_file():
        raise UserError(f"--plugin takes a Python file; {str(path)!r} is none.")
    if path.stem in _modules("benchmark.methods"):
        raise UserError(
            f"The plugin {str(path)!r} has the name of a built-in method, {path.stem!r}: "
            "rename the file."
        )
    if path.stem in _installed():
        raise UserError(
            f"The plugin {str(path)!r} has the name of an installed method, {path.stem!r}: "
            "rename the file."
        )
    if _plugins.get(path.stem, path.resolve()) != path.resolve():
        raise UserError(
            f"Two plugins are called {path.stem!r}: {str(_plugins[path.stem])!r} and "
            f"{str(path)!r}; rename one."
        )
    _plugins[path.stem] = path.resolve()
    return path.stem


def plugin_paths() -> list[Path]:
    """What was added with `add_plugin`."""
    return list(_plugins.values())


def use_plugins(paths: Iterable[Path]) -> None:
    """Know these plugins and no others, all imported; for a process that works for another."""
    _plugins.clear()
    for path in paths:
        method(add_plugin(path))


def module_of(name: str) -> str:
    """The module that defines a method, by its dotted name."""
    return method(name).__module__


def method(name: str) -> "type[LabelSource]":
    """The label source called `name`.

    Raises:
        UserError: there is none, its file cannot be imported, or does not define exactly one
            `LabelSource`.
    """
    from ..labels.contract import LabelSource

    known = methods()
    if name not in known:
        raise unknown("method", name, known)
    where = known[name]
    if isinstance(where, EntryPoint):
        loaded = where.load()
        if not (inspect.isclass(loaded) and issubclass(loaded, LabelSource)):
            raise UserError(f"The entry point {where.value!r} is not a LabelSource.")
        loaded.name = name
        return loaded
    if name in _plugins:
        module = _import_file(name, where)
    else:
        module = importlib.import_module(f"benchmark.methods.{name}")
    own = [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, LabelSource)
        and value.__module__ == module.__name__
    ]
    if len(own) != 1:
        raise UserError(
            f"{where} must define exactly one subclass of benchmark.LabelSource; it defines "
            f"{len(own)}{': ' + ', '.join(c.__name__ for c in own) if own else ''}."
        )
    own[0].name = name
    return own[0]


def dataset(name: str) -> ModuleType:
    """The module of a dataset, by name without the part after a colon."""
    if name not in datasets():
        raise unknown("dataset", name, datasets())
    return importlib.import_module(f"benchmark.datasets.{name}")


def image_source(name: str) -> ModuleType:
    """The module of an image source, by name without the part after a colon."""
    if name not in image_sources():
        raise unknown("image source", name, image_sources())
    return importlib.import_module(f"benchmark.datasets.distilled.{name}")


def summary(where: Path | EntryPoint) -> str:
    """The first line of a module's docstring, read without importing it."""
    if isinstance(where, EntryPoint):
        return f"installed plugin ({where.value})"
    path = where / "__init__.py" if where.is_dir() else where
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def sources_of(name: str) -> list[Path]:
    """The files whose code a method's results depend on."""
    where = methods()[name]
    if isinstance(where, EntryPoint):
        spec = importlib.util.find_spec(where.module)
        where = Path(spec.origin) if spec and spec.origin else Path(__file__)
    return sorted(where.rglob("*.py")) if where.is_dir() else [where]


@cache
def _installed() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in _modules("benchmark.methods"):
            raise UserError(
                f"The installed plugin {point.value!r} calls itself {point.name!r}, which is a "
                "built-in method: uninstall it, or have its author rename the entry point."
            )
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise UserError(
                f"Two installed plugins are called {point.name!r}: {other.value!r} and "
                f"{point.value!r}; uninstall one."
            )
    return found


@cache
def _modules(package: str) -> dict[str, Path]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{package} is not installed: run `pip install -e .` in the project.")
    root = Path(next(iter(spec.submodule_search_locations)))
    found = {p.stem: p for p in root.glob("*.py") if not p.name.startswith("_")}
    found |= {p.parent.name: p.parent for p in root.glob("*/__init__.py")}
    return dict(sorted(found.items()))


def _import_file(name: str, path: Path) -> ModuleType:
    try:
        # Named by what it says, so that a file that was changed is another module.
        module_name = f"labelbench_plugin_{name}_{digest_of_files([path])[:12]}"
        if module_name in sys.modules:
            return sys.modules[module_name]
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    except Exception as error:
        raise UserError(
            f"The plugin {str(path)!r} cannot be imported: {type(error).__name__}: {error}."
        ) from error
    return module
