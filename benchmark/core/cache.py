"""Stages: folders on disk keyed by the content of their inputs, made once and kept.

A stage is built under a partial name and renamed when whole, so a reader sees all of it or
none. A lock on the stage's name lets several runs share one work folder: the second waits and
finds the stage done. A killed build leaves its partial folder; the next one is given it again,
so that a long stage can go on from its own checkpoints.

A finished stage is sealed: `seal.json` holds the sizes and SHA-256 of all its files. The seal is
checked whenever the stage is used, once a process byte by byte and afterwards by the files' sizes
and times; a damaged stage is made again. `key.json` says what the stage was made from, and
`made.json` how long that took, and on what.
"""

import json
import math
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from .errors import UserError
from .files import digest, file_digest, finish_folder, write_atomic
from .progress import say, stage

SEAL, KEY, MADE = "seal.json", "key.json", "made.json"


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


class NotMade(UserError):
    """A stage is asked for that is not there, where nothing may be made."""


class Cache:
    """The finished and half-finished stages under one folder.

    Args:
        look_only: make and write nothing; stages are trusted if their files have the right sizes.
        machine: what stages are made on, as JSON values; written beside the seconds it took.
    """

    def __init__(
        self, root: Path, look_only: bool = False, machine: Mapping[str, Any] | None = None
    ) -> None:
        self.root = root
        self.look_only = look_only
        self.machine = dict(machine or {})
        self.most: float = math.inf  # bytes that it may hold

    def folder(self, kind: str, key: Mapping[str, Any]) -> Path:
        """Where the stage of this `key` lies, or will lie."""
        return self.root / f"{kind}-{digest(key)[:20]}"

    def done(self, kind: str, key: Mapping[str, Any]) -> bool:
        """Whether the stage is there, whole and undamaged."""
        folder = self.folder(kind, key)
        if self.look_only:
            return folder.is_dir() and _has_its_sizes(folder)
        return folder.is_dir() and damage(folder) is None

    def make(
        self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None], about: str = ""
    ) -> Path:
        """The stage's folder, built by `build(partial_folder)` if it is not there, undamaged.

        Args:
            about: what the stage is of, for people; where it is empty, only a live view shows it.

        Raises:
            NotMade: it is not there, and this cache is only looked at.
        """
        final = self.folder(kind, key)
        if self.done(kind, key):
            return final
        if self.look_only:
            raise NotMade(f"The stage {final.name} has not been made yet.")
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{final}.lock"):
            if final.is_dir():
                wrong = damage(final)
                if wrong is None:
                    return final
                say(f"{final.name} is damaged ({wrong}): it is made again")
                remove(final)
            partial = final.with_name(final.name + ".partial")
            partial.mkdir(exist_ok=True)
            for rest in partial.rglob(".*.partial"):  # of a file whose writing was killed
                if rest.is_file():
                    rest.unlink()
            resumed = any(partial.iterdir())  # the time before is not known
            try:
                with _timed() as took, stage(kind.replace("-", " "), about, bool(about)):
                    build(partial)
                if not resumed:
                    made = {"seconds": took(), **self.machine}
                    write_atomic(partial / MADE, json.dumps(made).encode())
                write_atomic(partial / KEY, json.dumps(key, indent=1, sort_keys=True).encode())
                seal(partial)
            except Exception:
                # Errors leave nothing behind; only a kill or Ctrl-C keeps the checkpoints.
                shutil.rmtree(partial, ignore_errors=True)
                raise
            finish_folder(partial, final)
        return final


_stages_within = threading.local()


@contextmanager
def _timed() -> Iterator[Callable[[], float]]:
    """Time a build; what it is given tells the seconds, without those of stages made within."""
    outer: list[float] | None = getattr(_stages_within, "seconds", None)
    _stages_within.seconds = within = [0.0]
    started = time.perf_counter()
    whole = 0.0
    try:
        yield lambda: whole - within[0]
    finally:
        whole = time.perf_counter() - started
        _stages_within.seconds = outer
        if outer is not None:
            outer[0] += whole


def _has_its_sizes(folder: Path) -> bool:
    """Whether a sealed folder's files are there in their sizes, whatever they hold."""
    try:
        files = json.loads((folder / SEAL).read_bytes())["files"]
        sizes = {name: size for name, (size, _) in _listing(folder).items() if name != SEAL}
        return sizes == {name: told["bytes"] for name, told in files.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False


def remove(folder: Path) -> None:
    """Take a folder's name away at once, so that nobody finds a part of it, then its files."""
    doomed = folder.with_name(f"{folder.name}.damaged")
    shutil.rmtree(doomed, ignore_errors=True)
    folder.rename(doomed)
    shutil.rmtree(doomed)
