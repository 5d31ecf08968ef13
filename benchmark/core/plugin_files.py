"""Added plugins as they are sent to machines that may not have their files."""

import atexit
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import plugins
from .code_digest import closure
from .errors import UserError

MOST_BYTES = 32 * 2**20  # of one plugin


@dataclass(frozen=True)
class PluginFiles:
    """A plugin that was added by its path, with its files.

    Attributes:
        path: where it lies on the machine that sends it.
        files: their bytes, by their paths from the folder that it lies in: its own, and those of
            modules beside it that it imports.
    """

    path: Path
    files: tuple[tuple[str, bytes], ...]


def packed() -> list[PluginFiles]:
    """All plugins that were added in this process, those of notebooks among them.

    Raises:
        UserError: one is larger than what is sent.
    """
    return [_packed(path) for path in plugins.paths()]


def unpacked(sent: Sequence[PluginFiles]) -> list[Path]:
    """The paths of these plugins on this machine; written down where they do not lie there."""
    return [each.path if _lies_here(each) else _written(each) for each in sent]


def _packed(path: Path) -> PluginFiles:
    folder = path.parent
    own = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    module = plugins.imported(path)
    beside = [file.resolve() for file in closure([module]).values()]
    files = {file for file in (*own, *beside) if folder in file.parents}
    files = {file for file in files if "__pycache__" not in file.parts}
    size = sum(file.stat().st_size for file in files)
    if size > MOST_BYTES:
        raise UserError(
            f"The plugin {str(path)!r} has {size:,} bytes; up to {MOST_BYTES:,} are sent to other "
            "machines: install it there as a package instead."
        )
    named = sorted((file.relative_to(folder).as_posix(), file) for file in files)
    return PluginFiles(path, tuple((name, file.read_bytes()) for name, file in named))


def _lies_here(sent: PluginFiles) -> bool:
    try:
        return all((sent.path.parent / name).read_bytes() == data for name, data in sent.files)
    except OSError:
        return False


@cache
def _written(sent: PluginFiles) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="labelbench-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, data in sent.files:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return folder / sent.path.name
