"""The code version that matters: a digest of what code says, not of how it is laid out."""

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path


def of_modules(*names: str) -> str:
    """Digest of modules of this package by their short names, such as `views`."""
    return of_files(paths(*names))


def paths(*names: str) -> list[Path]:
    """The files of modules of this package."""
    here = Path(__file__).parent
    return [here / f"{name}.py" for name in names]


def of_files(paths: Iterable[Path]) -> str:
    """SHA-256 over the syntax of files; comments, docstrings and layout do not count."""
    sha = hashlib.sha256()
    for path in paths:
        sha.update(_of_file(path, path.stat().st_mtime_ns).encode())
    return sha.hexdigest()


@cache
def _of_file(path: Path, changed: int) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return hashlib.sha256(_meaning(tree).encode()).hexdigest()


def _meaning(node: object) -> str:
    """A node and all below it; empty fields are left out, as Python versions add such."""
    if isinstance(node, list):
        return "[" + ",".join(_meaning(item) for item in node) + "]"
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(value, list) and _is_text(value[0] if value else None):
            value = value[1:]
        if value not in (None, []):
            parts.append(f"{name}={_meaning(value)}")
    return f"{type(node).__name__}({','.join(parts)})"


def _is_text(node: object) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
