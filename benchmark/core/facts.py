"""Facts: small values that are long to find, kept beside stages and never evicted.

A fact is a JSON value in a file of its own, named by its kind and the digest of what it follows
from. A damaged one is found anew.
"""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .cache import Cache
from .files import digest, file_digest, write_atomic

T = TypeVar("T")
FOLDER = "facts"
SETTLED = 2.0  # seconds after which a change of a file would show in its times


def fact(cache: Cache, kind: str, follows: Any, find: Callable[[], T]) -> T | None:
    """A value that `find` finds, the first time.

    Args:
        follows: JSON value that decides it.

    Returns:
        The value; None if it is not known and `cache` is only looked at.
    """
    file = cache.root / FOLDER / f"{kind}-{digest(follows)[:20]}.json"
    known = _read(file)
    if known:
        return known[0]
    if cache.look_only:
        return None
    value = find()
    write_atomic(file, json.dumps({"value": value, "digest": digest(value)}).encode())
    return value


def file_digests(
    cache: Cache, files: Sequence[Path], work: Iterable[Path] | None = None
) -> list[str]:
    """SHA-256 (hex) of files, read again only where their sizes or times have changed.

    Args:
        work: the same files, as they are to be gone through, such as behind a progress bar.

    Returns:
        The digests; of files that were never read, where `cache` is only looked at, their sizes.
    """
    seen = [(str(file.absolute()), *_times(file)) for file in files]

    def find() -> list[str]:
        return [file_digest(file) for file in work or files]

    if not cache.look_only and max((max(each[2:]) for each in seen), default=0) > _settled():
        return find()  # a change just now might not show
    found = fact(cache, "files", seen, find)
    return found or [f"unread, {size} bytes" for _, size, *_ in seen]


def _times(file: Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _settled() -> int:
    return time.time_ns() - int(SETTLED * 1e9)


def _read(file: Path) -> list[Any]:
    """The value in a file, in a list; an empty one if there is none."""
    try:
        document = json.loads(file.read_bytes())
        return [document["value"]] if document["digest"] == digest(document["value"]) else []
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
