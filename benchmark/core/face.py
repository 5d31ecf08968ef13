"""A room's face: the names it shows, each imported when it is first used.

A face is the `if TYPE_CHECKING:` block of a package's `__init__`, whose import statements are
read as text: type checkers see all names at once, and the command line starts without torch.
"""

import ast
from collections.abc import Callable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any


def shown_late(tree: ast.Module) -> dict[str, tuple[int, str, str]]:
    """The names in a module's `if TYPE_CHECKING:` blocks: level, module and name there."""
    shown = {}
    for block in tree.body:
        if isinstance(block, ast.If) and is_for_checkers(block.test):
            for node in block.body:
                if isinstance(node, ast.ImportFrom):
                    for alias in node.names:
                        home = node.level, node.module or "", alias.name
                        shown[alias.asname or alias.name] = home
    return shown


def is_for_checkers(test: ast.expr) -> bool:
    """Whether the test of an `if` is `TYPE_CHECKING`."""
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


def lazy(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` for the package whose `__init__` is `file`."""

    @cache
    def homes() -> dict[str, tuple[int, str, str]]:
        return shown_late(ast.parse(Path(file).read_text(encoding="utf-8")))

    def get(name: str) -> Any:
        if name.startswith("__") or name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        level, module, there = homes()[name]
        if not module:
            return import_module(f".{there}", package)
        return getattr(import_module("." * level + module, package), there)

    return get, lambda: sorted(homes())
