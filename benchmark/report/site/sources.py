"""What a method's source says about it, read as text: nothing of it is imported."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

from ...core import plugins

PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class Option:
    """One option of a method.

    Attributes:
        kind: its type, as written in the source.
    """

    name: str
    kind: str
    default: str
    about: str


@dataclass(frozen=True)
class Method:
    """A method as its source describes it.

    Attributes:
        about: the module's docstring; empty where its source is not here.
        paper: what to cite.
    """

    about: str = ""
    paper: str = ""
    options: tuple[Option, ...] = ()


def describe(name: str) -> Method:
    """The method called `name`; an empty description where it is not installed here."""
    known = plugins.methods()
    if name not in known:
        return Method()
    where = known[name]
    if isinstance(where, EntryPoint):
        return Method(plugins.summary(where))
    tree = _tree(where / "__init__.py" if where.is_dir() else where)
    about = ast.get_docstring(tree) or ""
    for found in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        options = _class(found.body, "Options")
        paper = _constant(found.body, "paper")
        if options is not None or paper:
            fields = _fields(options, tree) if options is not None else {}
            return Method(about, paper, tuple(fields.values()))
    return Method(about)


def _fields(found: ast.ClassDef, tree: ast.Module) -> dict[str, Option]:
    """The fields of a dataclass and of those it inherits from."""
    fields: dict[str, Option] = {}
    for base in found.bases:
        if (inherited := _base(base, tree)) is not None:
            fields |= _fields(*inherited)
    about = _about(ast.get_docstring(found) or "")
    fields = {n: Option(n, o.kind, o.default, about.get(n, o.about)) for n, o in fields.items()}
    for node in found.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            default = ast.unparse(node.value) if node.value is not None else ""
            fields[name] = Option(name, ast.unparse(node.annotation), default, about.get(name, ""))
    return fields


def _base(base: ast.expr, tree: ast.Module) -> tuple[ast.ClassDef, ast.Module] | None:
    """The class of this package that an expression like `ImageLabels.Options` names."""
    first, *rest = ast.unparse(base).split(".")
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and any(n.name == first for n in node.names):
            path = PACKAGE.joinpath(*(node.module or "").split(".")[1:]).with_suffix(".py")
            if not path.is_file():
                return None
            tree = _tree(path)
    found = _class(tree.body, first)
    for name in rest:
        found = _class(found.body, name) if found is not None else None
    return (found, tree) if found is not None else None


def _class(body: list[ast.stmt], name: str) -> ast.ClassDef | None:
    return next((n for n in body if isinstance(n, ast.ClassDef) and n.name == name), None)


def _constant(body: list[ast.stmt], name: str) -> str:
    for node in body:
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [name]:
            return str(ast.literal_eval(node.value))
    return ""


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


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
