"""What can be added: methods, datasets, image sources, networks and recipes, all found alike.

A plugin is one class that keeps the contract of its kind, in a file or package of its own: in the
kind's folder, behind an entry point of the kind's group, or added by its path (`--plugin`). It is
called by its file's name, or its entry point's. Listing reads sources as text; a plugin is
imported when it is used.
"""

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from . import declared
from .code_digest import closure, code_of, digest_of_files, locate
from .declared import Description
from .errors import UserError, unknown


@dataclass(frozen=True)
class Kind:
    """One of the kinds of plugins.

    Attributes:
        name: in messages; `plural` is its heading in lists.
        option: of `run`, by which users choose.
        package: whose modules are the built-in ones.
        group: of entry points.
        contract: the class that plugins derive from, `module:Class`.
        hyphens: whether underscores in the names of files stand for hyphens.
    """

    name: str
    plural: str
    option: str
    package: str
    group: str
    contract: str
    hyphens: bool = False

    @property
    def base(self) -> str:
        """The name of the class that plugins derive from."""
        return self.contract.partition(":")[2]

    def spelled(self, stem: str) -> str:
        """What a file of this name is called by."""
        return stem.replace("_", "-") if self.hyphens else stem


@dataclass(frozen=True)
class Plugin:
    """Where a plugin lies; nothing of it is imported yet.

    Attributes:
        where: its file, or the folder of its package; None if an entry point's module has none.
        point: its entry point, if it was found by one.
        builtin: whether it is one of this project's own.
    """

    kind: Kind
    name: str
    where: Path | None
    point: EntryPoint | None = None
    builtin: bool = False

    @property
    def description(self) -> Description:
        """What its source says about it, read as text."""
        if self.where is None:
            return Description(f"installed plugin ({self.point.value})" if self.point else "")
        return declared.describe(self.where, self.kind.base, self.point.attr if self.point else "")

    def literal(self, name: str, default: Any) -> Any:
        """A constant in the body of its class, read as text."""
        attr = self.point.attr if self.point else ""
        found = self.where and declared.plugin_class(self.where, self.kind.base, attr)
        return declared.literal(found, name, default) if found else default


@dataclass(frozen=True)
class Identity:
    """Which plugin a result was measured with.

    Attributes:
        kind: of plugin, as in messages.
        version: of its distribution, or the module's `__version__`; empty where it has none.
        digest: SHA-256 (hex) of its code, with all of it that it imports.
    """

    kind: str
    name: str
    version: str
    digest: str


METHODS = Kind(
    "method",
    "methods",
    "--methods",
    "benchmark.methods",
    "labelbench.methods",
    "benchmark.labels.contract:LabelSource",
)
DATASETS = Kind(
    "dataset",
    "datasets",
    "--dataset",
    "benchmark.datasets",
    "labelbench.datasets",
    "benchmark.data.dataset_source:DatasetSource",
)
IMAGES = Kind(
    "image source",
    "image sources",
    "--images",
    "benchmark.datasets.distilled",
    "labelbench.images",
    "benchmark.models.image_source:ImageSource",
)
NETWORKS = Kind(
    "network family",
    "students and teachers",
    "--students, --teacher",
    "benchmark.models.networks",
    "labelbench.networks",
    "benchmark.models.network_family:NetworkFamily",
)
RECIPES = Kind(
    "recipe",
    "recipes",
    "--recipe",
    "benchmark.data.recipes",
    "labelbench.recipes",
    "benchmark.data.recipe_source:RecipeSource",
    hyphens=True,
)
KINDS = (METHODS, DATASETS, IMAGES, NETWORKS, RECIPES)

_added: dict[Path, Plugin] = {}


def found(kind: Kind) -> dict[str, Plugin]:
    """Every plugin of a kind by its name: built-in, installed, added.

    Raises:
        UserError: an installed plugin has the name of a built-in one, or of another one.
    """
    added = {plugin.name: plugin for plugin in _added.values() if plugin.kind == kind}
    return {**_built_in(kind), **_installed(kind), **added}


def is_builtin(kind: Kind, name: str) -> bool:
    """Whether there is a plugin of this name that is this project's own."""
    return name in _built_in(kind)


def load(kind: Kind, name: str) -> type[Any]:
    """The class of a plugin; its room has a function that knows its type.

    Raises:
        UserError: there is none of this name, it cannot be imported, or is no such class.
    """
    known = found(kind)
    if name not in known:
        raise unknown(kind.name, name, known)
    plugin = known[name]
    contract = _contract(kind)
    if plugin.point is not None:
        try:
            loaded: Any = plugin.point.load()
        except Exception as error:
            raise _not_imported(plugin.point.value, error) from error
        if not (inspect.isclass(loaded) and issubclass(loaded, contract)):
            raise UserError(
                f"The entry point {plugin.point.value!r} is no class derived from "
                f"benchmark.{kind.base}."
            )
    elif plugin.builtin:
        loaded = _built_in_class(plugin)
    else:
        assert plugin.where is not None
        loaded = _only(_import_path(plugin.where), {kind: contract}, str(plugin.where))[1]
    cls: Any = loaded
    cls.name = name  # of an entry point it need not be the module's
    return cls


def module_of(kind: Kind, name: str) -> str:
    """The dotted name of the module that defines a plugin; its code counts in keys."""
    return load(kind, name).__module__


def identity(kind: Kind, name: str) -> Identity | None:
    """Which version of which code a plugin is; None for a built-in one."""
    plugin = found(kind).get(name)
    if plugin is None or plugin.builtin:
        return None
    module = module_of(kind, name)
    if plugin.point is not None and plugin.point.dist is not None:
        version = plugin.point.dist.version
    else:
        top = sys.modules[module.partition(".")[0]]
        version = str(getattr(top, "__version__", ""))
    return Identity(kind.name, name, version, code_of(module).digest)


def sources_of(kind: Kind, name: str) -> list[Path]:
    """The files of a plugin."""
    where = found(kind)[name].where
    if where is None:
        return []
    return sorted(where.rglob("*.py")) if where.is_dir() else [where]


def add(path: Path) -> Plugin:
    """Make the plugin in a Python file, or in the folder of a package, known.

    Modules beside it are found, as for a script.

    Raises:
        UserError: there is no such file, it cannot be imported, defines none or several plugins,
            has the name of another one, or has something beside it whose name is taken.
    """
    given, path = path, path.resolve()
    if path in _added:
        return _added[path]
    if not (path.suffix == ".py" and path.is_file()) and not (path / "__init__.py").is_file():
        raise UserError(
            f"--plugin takes a Python file, or a folder with __init__.py; {str(given)!r} is none."
        )
    contracts = {kind: _contract(kind) for kind in KINDS}
    kind, _ = _only(_import_path(path), contracts, str(path))
    plugin = Plugin(kind, kind.spelled(path.stem), path)
    other = found(kind).get(plugin.name)
    if other is not None:
        what = "a built-in" if other.builtin else "an installed" if other.point else "another"
        raise UserError(
            f"The plugin {str(path)!r} has the name of {what} {kind.name}, {plugin.name!r}: "
            "rename it."
        )
    _added[path] = plugin
    return plugin


def drop(path: Path) -> None:
    """Forget a plugin that was added by this path."""
    del _added[path.resolve()]


def paths() -> list[Path]:
    """What was added with `add`."""
    return list(_added)


def imported(path: Path) -> str:
    """The dotted name of the module of a plugin that was added by this path."""
    return _import_path(path.resolve()).__name__


def use(paths: Iterable[Path]) -> None:
    """Know these added plugins and no others; for a process that works for another."""
    _added.clear()
    for path in paths:
        add(path)


@cache
def _built_in(kind: Kind) -> dict[str, Plugin]:
    spec = importlib.util.find_spec(kind.package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{kind.package} is not installed: run `pip install -e .` in the project.")
    root = Path(next(iter(spec.submodule_search_locations)))
    files = [file for file in root.glob("*.py") if not file.name.startswith("_")]
    files += [file.parent for file in root.glob("*/__init__.py")]
    plugins = {
        kind.spelled(file.stem): Plugin(kind, kind.spelled(file.stem), file, builtin=True)
        for file in sorted(files)
        if declared.plugin_class(file, kind.base)
    }
    return dict(sorted(plugins.items()))


@cache
def _installed(kind: Kind) -> dict[str, Plugin]:
    plugins: dict[str, Plugin] = {}
    for point in entry_points(group=kind.group):
        if point.name in _built_in(kind):
            raise UserError(
                f"The installed plugin {point.value!r} calls itself {point.name!r}, which is a "
                f"built-in {kind.name}: uninstall it, or have its author rename the entry point."
            )
        file = locate(point.module)
        plugin = Plugin(kind, point.name, file, point)
        other = plugins.setdefault(point.name, plugin)
        assert other.point is not None
        if other.point.value != point.value:
            raise UserError(
                f"Two installed plugins are called {point.name!r}: {other.point.value!r} and "
                f"{point.value!r}; uninstall one."
            )
    return plugins


@cache
def _built_in_class(plugin: Plugin) -> type[Any]:
    assert plugin.where is not None
    kind = plugin.kind
    module = importlib.import_module(f"{kind.package}.{plugin.where.stem}")
    return _only(module, {kind: _contract(kind)}, str(plugin.where))[1]


@cache
def _contract(kind: Kind) -> type[Any]:
    return getattr(importlib.import_module(kind.contract.partition(":")[0]), kind.base)


def _only(module: ModuleType, contracts: dict[Kind, type[Any]], where: str) -> tuple[Kind, Any]:
    """The one class of a module, or of its package, that keeps one of these contracts."""
    classes = [value for value in vars(module).values() if inspect.isclass(value)]
    own = [
        (kind, value)
        for value in dict.fromkeys(classes)
        for kind, contract in contracts.items()
        if issubclass(value, contract)
        and not value.__name__.startswith("_")
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    ]
    if len(own) != 1:
        names = " or ".join(f"benchmark.{kind.base}" for kind in contracts)
        told = f": {', '.join(c.__name__ for _, c in own)}" if own else ""
        raise UserError(
            f"{where} must define exactly one class derived from {names}; it defines "
            f"{len(own)}{told}."
        )
    return own[0]


def _import_path(path: Path) -> ModuleType:
    """A file or package as a module, named by what it says: once changed, it is another one."""
    files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
    try:
        name = f"labelbench_plugin_{path.stem}_{digest_of_files(files)[:12]}"
        if name in sys.modules:
            return sys.modules[name]
        inside = [str(path)] if path.is_dir() else None
        spec = importlib.util.spec_from_file_location(
            name,
            path / "__init__.py" if inside else path,
            submodule_search_locations=inside,
        )
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        try:
            spec.loader.exec_module(module)
            _refuse_others(name, path)
        except BaseException:
            del sys.modules[name]
            raise
    except UserError:
        raise
    except Exception as error:
        raise _not_imported(str(path), error) from error
    return module


def _refuse_others(module: str, path: Path) -> None:
    """Raise a UserError where a plugin has, in place of a module beside it, one of elsewhere.

    Python knows one module of a name: that of another plugin's folder, or an installed one.
    """
    folder = path.parent
    beside = {file.stem: file for file in folder.glob("*.py")}
    beside |= {file.parent.name: file for file in folder.glob("*/__init__.py")}
    # It may lie in a clone of this project, which is installed elsewhere.
    beside.pop(__name__.partition(".")[0], None)
    for name, file in closure([module]).items():
        top = name.partition(".")[0]
        if top in beside and folder not in file.resolve().parents:
            raise UserError(
                f"The plugin {str(path)!r} imports {top!r}, which is {str(file)!r} and not the one "
                f"beside it, {str(beside[top])!r}: rename that one."
            )


def _not_imported(what: str, error: Exception) -> UserError:
    return UserError(f"The plugin {what!r} cannot be imported: {type(error).__name__}: {error}.")
