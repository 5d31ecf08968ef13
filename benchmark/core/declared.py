"""What a plugin's source says about it, read as text: nothing of it is imported.

So lists, tables and sites are made without torch. Only literals count: a docstring, constants in
the class's body, the fields of its options.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from .code_digest import locate
from .face import is_for_checkers
from .syntax import tree_of


@dataclass(frozen=True)
class Option:
    """One option of a plugin.

    Attributes:
        kind: its type, as written in the source; the choices where it is one of several.
    """

    name: str
    kind: str
    default: str
    about: str


@dataclass(frozen=True)
class Description:
    """A plugin as its source describes it.

    Attributes:
        about: the module's docstring; empty where its source is not here.
        paper: what to cite.
        title: what tables for readers call it; empty where its class is not here.
        rules: what values of options must be, as the class of options refuses others.
    """

    about: str = ""
    paper: str = ""
    options: tuple[Option, ...] = ()
    title: str = ""
    rules: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The first line of what it says."""
        return self.about.partition("\n")[0]


def describe(path: Path, contract: str, name: str = "") -> Description:
    """The plugin in a file or package folder.

    Args:
        contract: the class that it derives from.
        name: its own class, where the source may define several.
    """
    return _describe(_Source.of(path), contract, name)


@cache
def _describe(source: "_Source", contract: str, name: str) -> Description:
    about = ast.get_docstring(source.tree) or ""
    found = _plugin_class(source, contract, name)
    if found is None:
        return Description(about)
    options = _options(found)
    fields = _fields(options) if options is not None else {}
    rules = _rules(options) if options is not None else ()
    title = str(literal(found, "title", "")) or found.node.name
    paper = str(literal(found, "paper", ""))
    return Description(about, paper, tuple(fields.values()), title, rules)


def options_in(path: Path, name: str) -> tuple[Option, ...]:
    """The fields of the dataclass of this name in a file; of a nested one, its own as `a.b`."""
    found = _definition(name, path)
    made: list[Option] = []
    for field in _fields(found).values() if found is not None else ():
        nested = _definition(field.kind, path) if field.kind.isidentifier() else None
        if nested is None:
            made.append(field)
        else:
            inner = options_in(nested.file, nested.node.name)
            made += [replace(each, name=f"{field.name}.{each.name}") for each in inner]
    return tuple(made)


@dataclass(frozen=True)
class Class:
    """A class definition, and the file where it stands."""

    node: ast.ClassDef
    file: Path


def plugin_class(path: Path, contract: str, name: str = "") -> Class | None:
    """The class in a file or package that derives from `contract`; None if there is none."""
    return _plugin_class(_Source.of(path), contract, name)


@cache
def _plugin_class(source: "_Source", contract: str, name: str) -> Class | None:
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef) and (node.name == name or not name):
            found = Class(node, source.file)
            if node.name[0] != "_" and contract in {c.node.name for c in [*_lineage(found)][1:]}:
                return found
    return _definition(name, source.file) if name else None


def literal(found: Class, name: str, default: Any) -> Any:
    """A constant of a class's body, or of those that it derives from."""
    value = _constants(found).get(name)
    try:
        return default if value is None else ast.literal_eval(value)
    except ValueError:
        return default


@cache
def _constants(found: Class) -> dict[str, ast.expr]:
    constants: dict[str, ast.expr] = {}
    for each in _lineage(found):
        for node in each.node.body:
            if isinstance(node, ast.Assign):
                targets, value = node.targets, node.value
            elif isinstance(node, ast.AnnAssign) and node.value is not None:
                targets, value = [node.target], node.value
            else:
                continue
            if len(targets) == 1:
                constants.setdefault(ast.unparse(targets[0]), value)
    return constants


@dataclass(frozen=True)
class _Source:
    file: Path
    tree: ast.Module

    @classmethod
    def of(cls, path: Path) -> "_Source":
        file = path / "__init__.py" if path.is_dir() else path
        return cls(file, tree_of(file))


def _lineage(found: Class) -> Iterator[Class]:
    """A class, and what it derives from, as far as sources are here."""
    yield found
    for base in found.node.bases:
        name = ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
        above = _definition(name, found.file)
        if above is not None:
            yield from _lineage(above)


def _definition(name: str, file: Path) -> Class | None:
    """The class that a file calls `name`, wherever it was imported from."""
    first, *rest = name.split(".")
    found = None
    for node in _statements(_Source.of(file).tree.body):
        if isinstance(node, ast.ClassDef) and node.name == first:
            found = Class(node, file)
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
            if ast.unparse(node.targets[0]) == first != node.value.id:
                found = _definition(node.value.id, file)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == first:
                    home = _file_of(node.level, node.module or "", file)
                    found = _definition(alias.name, home) if home is not None else None
    for part in rest:
        if found is not None:
            inner = [n for n in found.node.body if isinstance(n, ast.ClassDef) and n.name == part]
            found = Class(inner[0], found.file) if inner else None
    return found


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        if isinstance(node, ast.If) and is_for_checkers(node.test):
            yield from node.body
        else:
            yield node


def _file_of(level: int, module: str, file: Path) -> Path | None:
    """The file of the module that an import statement in `file` names."""
    if not level:
        return locate(module)
    folder = file.parents[level - 1].joinpath(*module.split(".") if module else ())
    for found in (folder.with_suffix(".py"), folder / "__init__.py"):
        if found.is_file():
            return found
    return None


def _options(found: Class) -> Class | None:
    """The dataclass of options that a class, or one that it derives from, is written for."""
    for each in _lineage(found):
        for base in each.node.bases:
            if isinstance(base, ast.Subscript):
                options = _definition(ast.unparse(base.slice), each.file)
                if options is not None:
                    return options
    return None


def _fields(found: Class) -> dict[str, Option]:
    """The fields of a dataclass and of those it derives from."""
    fields: dict[str, Option] = {}
    for each in reversed([*_lineage(found)]):
        about = _about(ast.get_docstring(each.node) or "")
        fields = {
            name: Option(name, field.kind, field.default, about.get(name, field.about))
            for name, field in fields.items()
        }
        for node in each.node.body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name = node.target.id
                default = _text(node.value, each.file) if node.value is not None else ""
                kind = ast.unparse(_alias(node.annotation, each.file))
                if not kind.startswith("ClassVar"):
                    fields[name] = Option(name, kind, default, about.get(name, ""))
    return fields


def _rules(found: Class) -> tuple[str, ...]:
    """What a dataclass demands of its values: its errors' messages, up to what was got."""
    rules: dict[str, None] = {}
    for each in reversed([*_lineage(found)]):
        for function in each.node.body:
            if isinstance(function, ast.FunctionDef) and function.name == "__post_init__":
                for node in ast.walk(function):
                    if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                        message = _message(node.exc.args, each.file)
                        rules |= {message: None} if message else {}
    return tuple(rules)


def _message(arguments: list[ast.expr], file: Path) -> str:
    """An error's text, up to what was got; empty where that is known only when it is raised."""
    message = ""
    for part in getattr(arguments[0], "values", arguments[:1]) if arguments else ():
        if isinstance(part, ast.Constant):
            message += str(part.value)
        elif isinstance(part, ast.FormattedValue):
            value = _text(part.value, file)
            message += value if _is_literal(value) else "\0"
        if found := re.search(r"[,;:]? got\b", message):
            message = message[: found.start()]
            break
    return "" if "\0" in message else message.rstrip(".")


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except ValueError:
        return False
    return True


def _text(value: ast.expr, file: Path) -> str:
    """An expression as written; a name of a constant of its file as that constant."""
    if isinstance(value, ast.Name):
        for node in _Source.of(file).tree.body:
            if isinstance(node, ast.Assign) and value.id in (given := _given(node)):
                return _text(given[value.id], file)
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    home = _file_of(node.level, node.module or "", file)
                    if (alias.asname or alias.name) == value.id and home is not None:
                        return _text(ast.Name(alias.name), home)
    return ast.unparse(value)


def _given(node: ast.Assign) -> dict[str, ast.expr]:
    """What an assignment gives each name, of several at once too."""
    target, value = node.targets[0], node.value
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        pairs = zip(target.elts, value.elts, strict=False)
        return {ast.unparse(name): each for name, each in pairs}
    return {ast.unparse(target): value}


def _alias(annotation: ast.expr, file: Path) -> ast.expr:
    """What a name for a choice of literals stands for; the annotation itself if it is none."""
    if isinstance(annotation, ast.Name):
        for node in _Source.of(file).tree.body:
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == annotation.id:
                return node.value
            if isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    home = _file_of(node.level, node.module or "", file)
                    if (alias.asname or alias.name) == annotation.id and home is not None:
                        return _alias(ast.Name(alias.name), home)
    return annotation


def _about(docstring: str) -> dict[str, str]:
    """What a docstring says of each attribute: `name, other: text`, also over several lines."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.splitlines():
        match = re.fullmatch(r"(?: {4})?([a-z_]+(?:, [a-z_]+)*): (.+)", line)
        if match is not None:
            names = match[1].split(", ")
            found |= dict.fromkeys(names, match[2])
        elif names and line.startswith(" " * 8):
            found |= dict.fromkeys(names, f"{found[names[0]]} {line.strip()}")
        else:
            names = []
    return found
