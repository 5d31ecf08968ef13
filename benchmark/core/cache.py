"""Stages: folders on disk keyed by the content of their inputs, made once and kept.

A stage is built under a partial name and renamed when whole, so a reader sees all of it or
none. A lock on the stage's name lets several runs share one work folder: the second waits and
finds the stage done. A killed build leaves its partial folder; the next one is given it again,
so that a long stage can go on from its own checkpoints.

A finished stage is sealed: `seal.json` holds the sizes and SHA-256 of all its files. The seal is
checked whenever the stage is used, once a process byte by byte and afterwards by the files' sizes
and times; a damaged stage is made again. `key.json` says what the stage was made from.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from .files import digest, file_digest, finish_folder, write_atomic
from .progress import say

SEAL, KEY = "seal.json", "key.json"


def seal(folder: Path) -> None:
    """Write `seal.json`: the size and SHA-256 of every other file in `folder`."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
        for name in _listing(folder)
        if name != SEAL
    }
    write_atomic(folder / SEAL, json.dumps({"files": files, "seal": digest(files)}).encode())


def damage(folder: Path) -> str | None:
    """What is wrong with a sealed folder, in a few words; None if it is as it was sealed.

    Byte by byte the first time in a process, then by sizes and times of the files.
    """
    try:
        now = _listing(folder)
        if _checked.get(folder) == now:
            return None
        seen = dict(now)
        del now[SEAL]
        document = json.loads((folder / SEAL).read_bytes())
        files = document["files"]
        if document["seal"] != digest(files):
            return f"{SEAL} was changed"
        for name in sorted(files.keys() ^ now.keys()):
            return f"{name} is missing" if name in files else f"{name} was added"
        for name, (size, _) in now.items():
            if size != files[name]["bytes"]:
                return f"{name} has {size} bytes, not {files[name]['bytes']}"
            if file_digest(folder / name) != files[name]["sha256"]:
                return f"{name} was changed"
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f"{SEAL} cannot be read ({type(error).__name__})"
    _checked[folder] = seen
    return None


_checked: dict[Path, dict[str, tuple[int, int]]] = {}


def _listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file in a folder, by relative path."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not path.is_dir():
            status = path.lstat()
            found[name] = (status.st_size, status.st_mtime_ns)
    return found


class Cache:
    """The finished and half-finished stages under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Where the stage of this `key` lies, or will lie."""
        return self.root / f"{kind}-{digest(key)[:20]}"

    def done(self, kind: str, key: Mapping[str, Any]) -> bool:
        """Whether the stage is there, whole and undamaged."""
        folder = self.folder(kind, key)
        return folder.is_dir() and damage(folder) is None

    def make(self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
        """The stage's folder, built by `build(partial_folder)` if it is not there, undamaged."""
        final = self.folder(kind, key)
        if self.done(kind, key):
            return final
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{final}.lock"):
            if final.is_dir():
                wrong = damage(final)
                if wrong is None:
                    return final
                say(f"{final.name} is damaged ({wrong}): it is made again")
                _remove(final)
            partial = final.with_name(final.name + ".partial")
            partial.mkdir(exist_ok=True)
            try:
                build(partial)
                write_atomic(partial / KEY, json.dumps(key, indent=1, sort_keys=True).encode())
                seal(partial)
            except Exception:
                # Errors leave nothing behind; only a kill or Ctrl-C keeps the checkpoints.
                shutil.rmtree(partial, ignore_errors=True)
                raise
            finish_folder(partial, final)
        return final


def _remove(folder: Path) -> None:
    """Take a folder's name away at once, so that nobody finds a part of it, then its files."""
    doomed = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)
