"""Sources as syntax trees, which several look at: each version of a file is parsed once."""

import ast
from pathlib import Path

_kept: dict[tuple[Path, int, int], ast.Module] = {}


def tree_of(file: Path) -> ast.Module:
    """The tree of a file as it is now, which is kept."""
    version = _version(file)
    if version not in _kept:
        _kept[version] = _parsed(file)
    return _kept[version]


def passing_tree_of(file: Path) -> ast.Module:
    """The same for one look: kept only where it was before."""
    return _kept.get(_version(file)) or _parsed(file)


def _version(file: Path) -> tuple[Path, int, int]:
    status = file.stat()
    return file, status.st_mtime_ns, status.st_size


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
