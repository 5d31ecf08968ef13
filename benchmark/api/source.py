"""A class of a notebook or script as a module of its own, with all of the session that it uses.

What runs is what was written down: the functions, classes and constants that the class names in
its session stand in the module, what was imported is imported, and nothing else is there. So the
source decides what is measured, and other processes can have it.
"""

import ast
import inspect
import linecache
import re
import symtable
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from ..core.code_digest import comes_with_a_version
from ..core.errors import UserError

CELLS = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
FUTURE = 0x1000000  # of a function's flags: annotations are texts, by `from __future__`
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class NoSource(UserError):
    """The source of something cannot be had, or it cannot stand in a module of its own."""


def module_of(cls: type[Any], without: Callable[..., Any], base: type[Any]) -> str:
    """The text of a module that defines a class.

    Args:
        without: a decorator that is left out.
        base: what plugins derive from; other classes that do get a name with an underscore, as a
            plugin's module has but one.

    Raises:
        NoSource: see there.
    """
    gathered = _Gathered(cls, without, base)
    gathered.define(cls)
    about = inspect.cleandoc(cls.__doc__ or f"{cls.__name__}, as a session defined it.")
    future = ["from __future__ import annotations\n"] if gathered.future else []
    imports = "\n".join(dict.fromkeys(gathered.imports))
    return "\n\n".join([repr(about), *future, imports, *gathered.parts]) + "\n"


@dataclass(frozen=True)
class _Written:
    """A definition as it was written."""

    node: Definition
    lines: list[str]

    def text(self, kept: list[ast.expr], name: str) -> str:
        """With these decorators alone, and under this name."""
        node = self.node
        body = textwrap.dedent("".join(self.lines[node.lineno - 1 : node.end_lineno]))
        body = re.sub(rf"\b{node.name}\b", name, body, count=1)
        return "\n".join([*(f"@{ast.unparse(each)}" for each in kept), body.rstrip()])


class _Gathered:
    """What a class needs, in the order in which a module has to define it."""

    def __init__(self, root: type[Any], without: Callable[..., Any], base: type[Any]) -> None:
        self.root, self.without, self.base = root, without, base
        self.imports: list[str] = []
        self.parts: list[str] = []
        self.future = False
        self.meant: dict[str, Any] = {root.__name__: root}

    def define(self, thing: Any) -> None:
        """Write a class or function down, after what it uses."""
        name: str = thing.__name__
        if thing.__qualname__ != name:
            raise NoSource(
                f"{thing.__qualname__} is defined inside something else: define it at the top "
                "level of a cell or file."
            )
        if self.meant.setdefault(name, thing) is not thing:
            raise self._two(name)
        space = _space(thing)
        written = _written(thing, space)
        self.future |= any(code.co_flags & FUTURE for code in _codes(thing))
        kept = [each for each in written.node.decorator_list if not self._left_out(each, space)]
        other = isinstance(thing, type) and thing is not self.root and issubclass(thing, self.base)
        shown = f"_{name}" if other and name[0] != "_" else name
        text = written.text(kept, shown)
        for used in _names(text):
            # A class that is defined anew does not mean its former self.
            if used not in (name, self.root.__name__) and used in space:
                self._need(used, space[used], name)
        self.imports += _submodules(text, space)
        self.parts.append(text)
        if shown != name:
            self.parts.append(f"{name} = {shown}")

    def _need(self, name: str, value: Any, user: str) -> None:
        """Have a name of the session mean in the module what it means there."""
        if name in self.meant:
            meant = self.meant[name]
            if meant is not value and not (_is_literal(value) and meant == value):
                raise self._two(name)
            return
        self.meant[name] = value
        if isinstance(value, ModuleType):
            self._import(name, value, user)
        elif (home := _home(value, name)) is not None:
            module, there = home
            self.imports.append(f"from {module} import {there}{_as(there, name)}")
        elif isinstance(value, type) or isinstance(inspect.unwrap(value), FunctionType):
            self.define(value)
            if value.__name__ != name:
                self.parts.append(f"{name} = {value.__name__}")
        elif _is_literal(value):
            self.parts.append(f"{name} = {value!r}")
        else:
            raise NoSource(
                f"{user} uses {name!r} of its session, a {type(value).__name__}, which no source "
                "tells: make it in the class or in a function, or have it as an option."
            )

    def _two(self, name: str) -> NoSource:
        return NoSource(f"{name!r} means two things in what {self.root.__name__} uses: rename one.")

    def _import(self, name: str, module: ModuleType, user: str) -> None:
        if not _lasts(module.__name__):
            raise NoSource(
                f"{user} uses {name!r}, a module of no installed package, whose changes would not "
                f"be noticed: write `from {module.__name__} import NAME`, or give the method's "
                "file with --plugin, beside which modules are found."
            )
        self.imports.append(f"import {module.__name__}{_as(module.__name__, name)}")

    def _left_out(self, decorator: ast.expr, space: Mapping[str, Any]) -> bool:
        value = decorator
        names: list[str] = []
        while isinstance(value, ast.Attribute):
            names.insert(0, value.attr)
            value = value.value
        found = space.get(value.id) if isinstance(value, ast.Name) else None
        for name in names:
            found = getattr(found, name, None)
        return found is self.without


def _as(name: str, alias: str) -> str:
    return "" if name == alias else f" as {alias}"


def _lasts(module: str) -> bool:
    """Whether a module is of a package whose version keys hold, or of this one."""
    top = module.partition(".")[0]
    return top in sys.stdlib_module_names or comes_with_a_version(top)


def _home(value: Any, name: str) -> tuple[str, str] | None:
    """The module from which something can be imported, and what it is called there."""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str) or module not in sys.modules or not _lasts(module):
        return None
    for there in (getattr(value, "__name__", name), name):
        if getattr(sys.modules[module], there, None) is value:
            return module, there
    return None


def _is_literal(value: Any) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return False


def _space(thing: Any) -> Mapping[str, Any]:
    """The names that are known where something is defined."""
    function = inspect.unwrap(thing)
    if isinstance(function, FunctionType):
        return function.__globals__
    for each in _functions(thing):
        return each.__globals__
    return vars(sys.modules[thing.__module__])


def _functions(cls: Any) -> Iterator[FunctionType]:
    """The functions that stand in a class's body."""
    for value in vars(cls).values():
        inner = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        inner = inspect.unwrap(getattr(inner, "func", inner))
        # What a decorator, such as that of dataclasses, made stands nowhere.
        inside = f"{cls.__qualname__}."
        if isinstance(inner, FunctionType) and inner.__code__.co_qualname.startswith(inside):
            yield inner


def _codes(thing: Any) -> Iterator[CodeType]:
    function = inspect.unwrap(thing)
    functions = [function] if isinstance(function, FunctionType) else _functions(thing)
    for each in functions:
        yield each.__code__


def _written(thing: Any, space: Mapping[str, Any]) -> _Written:
    """The definition of a class or function; the source's file need not exist any more.

    Raises:
        NoSource: it is nowhere.
    """
    codes = [*_codes(thing)]
    found: list[_Written] = []
    for code in codes:
        lines = linecache.getlines(code.co_filename, dict(space))
        found += [each for each in _called(thing.__name__, lines) if _holds(each.node, code)]
    if not codes:  # a class without functions does not say where it was written
        for lines in _sources(thing, space):
            found += [each for each in _called(thing.__name__, lines) if _says(each.node, thing)]
        if len({ast.dump(each.node) for each in found}) > 1 and "In" not in space:
            raise NoSource(
                f"{thing.__name__!r} was defined in several ways, and it has no functions that "
                "tell which one it is: define it once."
            )
    if not found:
        raise NoSource(
            f"The source of {thing.__name__!r} cannot be had, and a method is known by its source: "
            "define it in a notebook's cell, in a script, or in a file given with --plugin."
        )
    return found[0]


def _sources(thing: Any, space: Mapping[str, Any]) -> Iterator[list[str]]:
    """The sources that may define a class, in lines; those of a notebook from its last cell."""
    if "In" in space and "get_ipython" in space:
        for cell in reversed(space["In"]):
            yield space["get_ipython"]().transform_cell(cell).splitlines(keepends=True)
        return
    file = getattr(sys.modules.get(thing.__module__), "__file__", None)
    if file is not None:
        yield linecache.getlines(file)
    for name in [*linecache.cache]:
        if name.startswith("<"):
            yield linecache.getlines(name)


def _called(name: str, lines: list[str]) -> Iterator[_Written]:
    """The definitions of a name in a source, but for those inside others."""
    try:
        tree: Any = compile("".join(lines), "<session>", "exec", CELLS)
    except (SyntaxError, ValueError):
        return
    waiting = [*tree.body]
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, Definition):
            if node.name == name:
                yield _Written(node, lines)
        elif isinstance(node, ast.stmt | ast.excepthandler | ast.match_case):
            waiting += ast.iter_child_nodes(node)


def _holds(node: Definition, code: CodeType) -> bool:
    first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return first <= code.co_firstlineno <= (node.end_lineno or first)


def _says(node: Definition, cls: type[Any]) -> bool:
    """Whether a class without functions has the fields, defaults and docstring of a definition."""
    fields = {}
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            fields[each.target.id] = each.value
    about = ast.get_docstring(node)
    if [*fields] != [*inspect.get_annotations(cls)] or about not in (None, inspect.getdoc(cls)):
        return False
    for name, value in fields.items():
        try:
            said = value is None or ast.literal_eval(value) == vars(cls).get(name)
        except ValueError:
            continue  # no literal, so it may be anything
        if not said:
            return False
    return True


def _names(text: str) -> list[str]:
    """The names of its session that a definition uses, in their order."""
    found: dict[str, None] = {}
    waiting = [symtable.symtable(text, "<session>", "exec")]
    while waiting:
        table = waiting.pop(0)
        waiting += table.get_children()
        found |= {s.get_name(): None for s in table.get_symbols() if s.is_global()}
    return sorted(found)


def _submodules(text: str, space: Mapping[str, Any]) -> Iterator[str]:
    """Imports of the modules that a definition reaches through others: `torch.nn.functional`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Attribute):
            path = ast.unparse(node).split(".")
            value = space.get(path[0])
            for name in path[1:]:
                inner = getattr(value, name, None) if isinstance(value, ModuleType) else None
                if isinstance(inner, ModuleType) and inner.__name__ in sys.modules:
                    yield f"import {inner.__name__}"
                value = inner
