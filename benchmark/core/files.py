"""Files: digests of what they hold, and writing them whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from .errors import UserError

T = TypeVar("T")


def digest(value: Any) -> str:
    """SHA-256 (hex) of any JSON value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_digest(path: Path) -> str:
    """SHA-256 (hex) of a file, or of all files in a folder with their names."""
    if path.is_file():
        return file_digest(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    return digest([(str(p.relative_to(path)), file_digest(p)) for p in files])


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old bytes or the new ones, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value of any type that `read_json` takes, whole or not at all."""
    write_atomic(path, TypeAdapter(type(value)).dump_json(value))


def read_json(path: Path, kind: type[T]) -> T:
    """A file that `write_json` wrote, its types checked.

    Raises:
        pydantic.ValidationError: it holds something else.
    """
    return TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)


def finish_folder(partial: Path, final: Path) -> None:
    """Sync every file of `partial` to disk, then give the folder its final name."""
    for path in [*partial.rglob("*"), partial]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    final.parent.mkdir(parents=True, exist_ok=True)
    partial.rename(final)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A partial folder that gets its name when all went well, and vanishes otherwise.

    Raises:
        UserError: the folder exists already.
    """
    if folder.exists():
        raise UserError(f"{str(folder)!r} exists already; name a new folder.")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        finish_folder(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def hold(path: Path) -> None:
    """Take the room on disk that a sparse file only promises.

    Writing to a memory map that the disk has no room for would kill the process without a word.

    Raises:
        OSError: there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, path.stat().st_size))


def disk_is_full(error: BaseException) -> bool:
    """Whether an error, however a library wrapped it, says that there is no room left."""
    no_room = {errno.ENOSPC, errno.EDQUOT}
    if getattr(error, "errno", None) in no_room or "No space left" in str(error):
        return True
    inner = error.__cause__ or error.__context__
    return inner is not None and disk_is_full(inner)
