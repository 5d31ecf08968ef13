"""A cache that all work folders of a user share, and that stays below a size.

What was used longest ago goes first, and nothing that a live process uses: each process holds a
shared lock on what it has used until it ends. Where the system has no such locks, nothing goes.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .cache import Cache, remove
from .errors import UserError
from .progress import say

try:
    import fcntl
except ModuleNotFoundError:  # not a POSIX system
    fcntl = None

FOLDER, MOST = "LABELBENCH_CACHE", "LABELBENCH_CACHE_GB"  # in the environment
GIGABYTES = 10.0  # by default
USE = ".use"
_in_use: dict[Path, int] = {}  # descriptors, open until the process ends


def shared_folder() -> Path:
    """LABELBENCH_CACHE, or else the user's own folder of caches, as XDG has it."""
    if told := os.environ.get(FOLDER):
        return Path(told)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "labelbench"


def most_bytes() -> int:
    """LABELBENCH_CACHE_GB in bytes, or else 10 GB.

    Raises:
        UserError: it is no positive number.
    """
    told = os.environ.get(MOST, "")
    try:
        size = float(told or GIGABYTES)
    except ValueError:
        size = 0.0
    if not 0 < size < 1e9:
        raise UserError(f"{MOST} must be a positive number of gigabytes, got {told!r}.")
    return int(size * 1e9)


class BoundedCache(Cache):
    """The stages under a folder that others use too.

    Args:
        most: bytes of stages that are kept, but for those in use.
    """

    def __init__(
        self,
        root: Path,
        most: int,
        look_only: bool = False,
        machine: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(root, look_only, machine)
        self.most: float = most

    @classmethod
    def of_user(cls, look_only: bool = False) -> "BoundedCache":
        """The one that all work folders share."""
        return cls(shared_folder(), most_bytes(), look_only)

    def make(
        self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None], about: str = ""
    ) -> Path:
        """The stage's folder, in use until this process ends; a new one may make others go."""
        if self.look_only:
            return super().make(kind, key, build, about)
        folder = self.folder(kind, key)
        use(folder)
        there = self.done(kind, key)
        made = super().make(kind, key, build, about)
        if not there:
            self.evict()
        return made

    def sizes(self) -> dict[Path, int]:
        """The bytes of each stage that is there, those used longest ago first."""
        stages = [folder for folder in self.root.glob("*-*") if folder.is_dir()]
        whole = [folder for folder in stages if not folder.suffix]
        return {folder: _bytes(folder) for folder in sorted(whole, key=_last_use)}

    def evict(self) -> None:
        """Remove what was used longest ago and is not in use, down to the most there may be."""
        sizes = self.sizes()
        total = sum(sizes.values())
        for folder, size in sizes.items():
            if total <= self.most:
                return
            if self.may_go(folder) and discard(folder):
                say(f"{folder.name} leaves the cache, {size / 1e9:.2f} GB")
                total -= size

    def may_go(self, folder: Path) -> bool:
        """Whether a stage that nobody uses can be had again."""
        return True


def discard(folder: Path) -> bool:
    """Remove a stage of a shared cache; returns whether it was in no live process's use."""
    if fcntl is None:
        return False
    use = folder.with_name(folder.name + USE)
    handle = os.open(use, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        remove(folder)
        use.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def idle(folder: Path) -> bool:
    """Whether no live process holds what lies there, or will; nothing is written.

    Where the system has no such locks, that is not known: False where it was ever held.
    """
    use = folder.with_name(folder.name + USE)
    if not use.exists():
        return True
    if fcntl is None:
        return False
    handle = os.open(use, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Use what lies there, or will, for a while; others may use it too."""
    handle = _shared_lock(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def use(folder: Path) -> None:
    """Use a stage until this process ends."""
    if folder not in _in_use:
        handle = _shared_lock(folder)
        if handle is None:
            return
        _in_use[folder] = handle
    os.utime(folder.with_name(folder.name + USE))


def _shared_lock(folder: Path) -> int | None:
    """A descriptor that holds the lock while it is open; None where the system has none."""
    if fcntl is None:
        return None
    use = folder.with_name(folder.name + USE)
    folder.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(use, os.O_RDWR | os.O_CREAT)
        fcntl.flock(handle, fcntl.LOCK_SH)
        try:
            if os.path.samestat(os.fstat(handle), use.stat()):
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)  # it was discarded in between


def _last_use(folder: Path) -> float:
    use = folder.with_name(folder.name + USE)
    return (use if use.exists() else folder).stat().st_mtime


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
