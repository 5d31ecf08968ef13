"""What of a work folder, and of the shared cache, nothing refers to any more.

A stage stays if a record's labels, images or teacher are it, were made from it, or it was measured
of them; parts of images, and shards of labels, go once what is made of them is there. While
something is unfinished, a stage half made or a student half trained, all stages stay, as the same
command goes on from them. Records, failures, tables and sites always stay.
"""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core import facts
from ..core.bounded_cache import BoundedCache, discard, idle
from ..core.cache import KEY
from ..core.errors import UserError
from ..core.files import digest
from ..data.images import source_of
from ..labels import label_shards
from ..records import store
from ..records.record import Record
from .image_stages import PART
from .run_cell import CHECKPOINTS, LOCKS, RECORDS, RUN

DIGEST = re.compile("[0-9a-f]{64}")
SHOWN = 20  # digits of a digest in a stage's name
MADE = ("labels", "images", "teacher")  # kinds of stages that records refer to
PARTS = (label_shards.KIND, PART)  # kinds that one of these is put together from
PARTIAL, DAMAGED = ".partial", ".damaged"


@dataclass(frozen=True)
class Leftover:
    """What can go: a file or a folder, why, and its bytes.

    Attributes:
        shared: whether it lies in the cache that work folders share.
    """

    path: Path
    why: str
    bytes: int
    shared: bool = False


def leftovers(work: Path, unfinished: bool) -> list[Leftover]:
    """All that can go.

    Args:
        unfinished: count what interrupted runs would go on from as well.

    Raises:
        UserError: a run is at work there, or a record cannot be read, so that nobody knows what it
            refers to.
    """
    if not idle(work / LOCKS / RUN):
        raise UserError(f"A run is at work in {str(work)!r}: clean it when that has ended.")
    return [*_of_work(work, unfinished), *_of_cache(BoundedCache.of_user(look_only=True))]


def remove(found: Iterable[Leftover]) -> list[Leftover]:
    """Remove it; returns what was removed: not what a live process has begun to use."""
    gone = []
    for each in found:
        if each.shared:
            removed = discard(each.path)
        else:
            removed = True
            if each.path.is_dir():
                shutil.rmtree(each.path)
            else:
                each.path.unlink(missing_ok=True)
        gone += [each] if removed else []
    return gone


def _of_work(work: Path, unfinished: bool) -> Iterator[Leftover]:
    stages, checkpoints = work / "stages", sorted((work / CHECKPOINTS).glob("*.pt"))
    records = _records(work / RECORDS)
    begun = [file for file in checkpoints if not (work / RECORDS / f"{file.stem}.json").exists()]
    halves = [path for path in stages.glob(f"*{PARTIAL}") if not path.with_suffix("").exists()]
    for file in checkpoints:
        if unfinished or file not in begun:
            yield _leftover(file, "a checkpoint of a student that is recorded or given up")
    for path in [*stages.glob(f"*{PARTIAL}"), *stages.glob(f"*{DAMAGED}")]:
        if unfinished or path not in halves:
            yield _leftover(path, "a stage that was never finished, or damaged")
    if unfinished or not (begun or halves):
        keys = dict(_keys(stages))
        for folder in sorted(keys.keys() - kept(keys, records)):
            yield _leftover(folder, "a stage that no record refers to")
    locks = [*stages.glob("*.lock"), *(work / LOCKS).glob("*.lock")]
    for file in [*locks, *_half_written(work)]:
        yield _leftover(file, "a file of a process that has ended")


def _half_written(work: Path) -> Iterator[Path]:
    """Files that a process was writing when it was killed; stages are written as folders."""
    folders = [path for path in work.glob("*") if path.is_dir() and path.name != "stages"]
    for folder in [*folders, work / "stages" / facts.FOLDER]:
        yield from (path for path in folder.rglob(f"*{PARTIAL}") if path.is_file())


def kept(keys: dict[Path, Any], records: Iterable[Record]) -> set[Path]:
    """The stages that records refer to, what these were made from, and what was measured of them.

    Args:
        keys: of all stages, by their folders.
    """
    suffixes = {folder.name.rpartition("-")[2]: folder for folder in keys}
    known = set[str]()
    for record in records:
        told = record["inputs"]
        names = [told["labels"], told.get("images_stage", "")]
        known |= {name.rpartition("-")[2] for name in names}
        known |= {told[part][:SHOWN] for part in ("teacher", "train", "test")}
    waiting = [name for name in known if name in suffixes]
    while waiting:
        more = referred(keys[suffixes[waiting.pop()]]) - known
        known |= more
        waiting += [name for name in more if name in suffixes]
    found = {suffixes[name] for name in known if name in suffixes}
    beside = {f for f in keys if f.name.rpartition("-")[0] not in (*MADE, *PARTS)}
    return found | {folder for folder in beside if referred(keys[folder]) & known}


def referred(key: Any) -> set[str]:
    """The first digits of all digests in a key, and of all keys in it."""
    if isinstance(key, str):
        return {key[:SHOWN]} if DIGEST.fullmatch(key) else set()
    if isinstance(key, list):
        return set().union(*map(referred, key))
    if isinstance(key, dict):
        return {digest(key)[:SHOWN]}.union(*map(referred, key.values()))
    return set()


def _records(folder: Path) -> list[Record]:
    entries = list(store.entries([folder])) if folder.is_dir() else []
    for entry in entries:
        if entry.record is None:
            raise UserError(
                f"{entry.where} cannot be read ({entry.problem}), so nobody knows which stages it "
                "refers to: mend or remove it first."
            )
    return [entry.record for entry in entries if entry.record is not None]


def _keys(stages: Path) -> Iterator[tuple[Path, Any]]:
    """The key of every whole stage; of one without any, nothing."""
    for folder in stages.glob("*-*"):
        if folder.is_dir() and folder.suffix not in (PARTIAL, DAMAGED):
            try:
                yield folder, json.loads((folder / KEY).read_bytes())
            except (OSError, ValueError, RecursionError):
                yield folder, None


def _of_cache(cache: BoundedCache) -> Iterator[Leftover]:
    """Decoded pixels of files that are gone, and stages that were never finished."""
    for folder, size in cache.sizes().items():
        source = source_of(folder)
        if source is not None and not source.exists() and idle(folder):
            yield Leftover(folder, f"pixels of {source}, which is gone", size, shared=True)


def _leftover(path: Path, why: str) -> Leftover:
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return Leftover(path, why, sum(file.lstat().st_size for file in files if not file.is_dir()))
