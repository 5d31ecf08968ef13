"""Records on disk: a work folder holds one JSON file each, a collection one line each.

Leaderboards are pure functions of records; those of several machines merge by `collect`.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..core import bounded
from ..core.errors import UserError
from ..core.files import write_atomic
from ..core.progress import say
from . import measurements
from .record import ADAPTER, SCHEMA, Record, contradictions, world_digest
from .upgrade import upgrade

MOST_BYTES = 2**25  # of one record: a test set of millions, a curve of a million epochs
TABLES = "leaderboards.json"  # made of records, and often beside them
SHOWN = 3  # lines of a kind, where many records have the same to be said

Identity = tuple[str, str]  # what was measured, and in which world


@dataclass(frozen=True)
class Entry:
    """What stands at one place where a record should be.

    Attributes:
        where: `FILE`, or `FILE:LINE` in a collection.
        record: None where it is damaged.
        problem: what is wrong with it, else empty.
    """

    file: Path
    where: str
    record: Record | None
    problem: str = ""


def identity(record: Record) -> Identity:
    """By which two records are the same measurement."""
    return record["key"], world_digest(record["world"])


def path_of(folder: Path, key: str, world: str) -> Path:
    """Where the record of a key lies that is measured in the world of this digest."""
    return folder / f"{key}-{world}.json"


def write(folder: Path, record: Record) -> Path:
    """Write a record under its key and world, whole or not at all.

    Raises:
        UserError: no reader would take it.
    """
    text = json.dumps(record, indent=1, sort_keys=True)
    path = path_of(folder, *identity(record))
    try:
        parse(text.encode())
    except UserError as error:
        raise UserError(f"The record {path.name} cannot be written: {error}") from error
    write_atomic(path, (text + "\n").encode())
    return path


def parse(raw: bytes) -> Record:
    """A record of this schema or an older one, checked field by field and against itself.

    Raises:
        UserError: it is none, with all that is wrong.
    """
    value = bounded.loads(raw)
    if isinstance(value, dict) and "kind" in value:
        raise UserError(f"a measurement, which only {', '.join(measurements.FILES)} hold")
    if not isinstance(value, dict) or "schema" not in value:
        raise UserError("no record")
    schema = value["schema"]
    if type(schema) is not int or not 1 <= schema <= SCHEMA:
        raise UserError(f"schema {bounded.shown(schema)}, this labelbench reads 1 to {SCHEMA}")
    if schema < SCHEMA:
        value = upgrade(value)
    record = bounded.parse(ADAPTER, value)
    wrong = [*contradictions(record)]
    if wrong:
        raise UserError("; ".join(wrong))
    return record


def read(paths: Iterable[Path]) -> list[Record]:
    """All records in these files and folders; damaged ones are named and left out.

    Records of one key and world count once, and standard error says so: copies are counted, and
    of those that differ the first by path counts.

    Raises:
        UserError: a path does not exist.
    """
    found: dict[Identity, Entry] = {}
    damaged, copies, conflicts = [], [], []
    for entry in entries(paths):
        if entry.record is None:
            damaged.append(f"left out {entry.where}: {entry.problem}")
            continue
        first = found.setdefault(identity(entry.record), entry)
        if first is entry:
            continue
        if first.record == entry.record:
            copies.append(f"{entry.where} is a copy of {first.where}")
        else:
            conflicts.append(f"conflict: {entry.where} differs from {first.where}, which counts")
    for lines in (damaged, copies, conflicts):
        say_some(lines)
    return [entry.record for entry in found.values() if entry.record is not None]


def say_some(lines: Iterable[str]) -> None:
    """Say the first lines of a kind, and how many more there are."""
    found = list(lines)
    for line in found[:SHOWN]:
        say(line)
    if len(found) > SHOWN:
        say(f"... and {len(found) - SHOWN} more like this")


def entries(paths: Iterable[Path]) -> Iterator[Entry]:
    """Whatever stands at these paths in place of records, damaged or not, in their order.

    Raises:
        UserError: a path does not exist.
    """
    for file in files(paths):
        try:
            if file.suffix == ".jsonl":
                yield from _lines(file)
            else:
                with file.open("rb") as opened:
                    yield _entry(file, str(file), opened.read(MOST_BYTES + 1))
        except OSError as error:
            yield Entry(file, str(file), None, f"it cannot be read: {error.strerror}")


def damage(path: Path) -> str | None:
    """What is wrong with the record of a work folder at this path; None if it is whole.

    A whole one is also the record that its name says.
    """
    found = path.stat()
    return _damage(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=2**14)  # a run asks several times, and a grid has thousands
def _damage(path: Path, modified: int, size: int) -> str | None:
    (entry,) = entries([path])
    if entry.record is None:
        return entry.problem
    named = path_of(path.parent, *identity(entry.record)).name
    return None if named == path.name else f"it is {named}"


def files(paths: Iterable[Path]) -> list[Path]:
    """The files of records at these paths, each once, in their order.

    Of a folder these are its collections (`*.jsonl`) and the files of folders called `records`
    in it, at any depth; where it has neither, its own JSON files. Files of speed records hold none.

    Raises:
        UserError: a path does not exist.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"There are no records at {str(path)!r}.")
        if path.is_file():
            inside = [path] if path.name not in measurements.FILES else []
        else:
            collections = [
                file for file in path.glob("*.jsonl") if file.name not in measurements.FILES
            ]
            inside = [*collections, *path.rglob("records/*.json")]
            inside = inside or [file for file in path.glob("*.json") if file.name != TABLES]
        for file in inside:
            found.setdefault(file.resolve(), file)
    return sorted(found.values())


def _lines(file: Path) -> Iterator[Entry]:
    with file.open("rb") as opened:
        for number, raw in enumerate(iter(lambda: opened.readline(MOST_BYTES + 1), b""), 1):
            yield _entry(file, f"{file}:{number}", raw)
            if len(raw) > MOST_BYTES:
                return  # where the next line starts is anyone's guess


def _entry(file: Path, where: str, raw: bytes) -> Entry:
    if len(raw) > MOST_BYTES:
        return Entry(file, where, None, f"larger than {MOST_BYTES:,} bytes, so no record")
    try:
        return Entry(file, where, parse(raw))
    except UserError as error:
        return Entry(file, where, None, str(error))
