"""Records: what one cell measured, with the world it was measured in. One JSON file each.

Leaderboards are pure functions of records; records of several machines merge by copying files.
"""

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np

from .errors import UserError
from .progress import say
from .stages import write_atomic

SCHEMA = 1
TABLES = "leaderboards.json"  # made of records, and often beside them
SHOWN = 3  # lines of a kind, where many records have the same to be said


class CellNames(TypedDict):
    """Which point of the grid."""

    dataset: str
    images: str
    ipc: int
    method: str
    student: str
    recipe: str
    teacher: str
    seed: int


class Result(TypedDict):
    """What the student reached after its last epoch, on the whole test set."""

    accuracy: float
    test_images: int
    correct: str  # one bit a test image, in test set order, packed, base64
    train_loss: list[float]  # mean of each epoch
    seconds_train: float
    seconds_fit: float
    fit: NotRequired[dict[str, Any]]  # what the method's fit had to tell


class Throughput(TypedDict):
    """Seconds of every repeat; the bare step and the method's take turns."""

    batch: int
    seconds_bare_step: list[float]
    seconds_step: list[float]
    seconds_targets: list[float]
    seconds_floor: NotRequired[list[float]]  # an online source's bare network
    hardware: str
    precision: str


class Record(TypedDict):
    """One cell's whole story."""

    schema: int
    key: str
    cell: CellNames
    on_protocol: bool
    recipe: dict[str, Any]  # whole, as used
    options: dict[str, Any]  # the method's, all of them
    inputs: dict[str, Any]  # digests and names of what went in
    storage: dict[str, int]  # the ledger; bytes of images and of full labels
    prior: str | None
    result: Result
    throughput: Throughput
    environment: dict[str, Any]


def write(folder: Path, record: Record) -> Path:
    """Write a record under its key, whole or not at all."""
    path = path_of(folder, record["key"])
    write_atomic(path, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
    return path


def path_of(folder: Path, key: str) -> Path:
    """Where the record of a key lies."""
    return folder / f"{key}.json"


def read(paths: Iterable[Path]) -> list[Record]:
    """All records in these files and folders; those of another schema are named and left out.

    Of a folder that holds folders called `records`, at any depth, only those are read. A key that
    several files hold counts once, and standard error says so: copies are counted, and of files
    that differ the first by path counts.

    Raises:
        UserError: a path does not exist, or a file is no record.
    """
    found: dict[str, Record] = {}
    first: dict[str, Path] = {}
    copies, conflicts, others = [], [], []
    for file in files(paths):
        record = parse(file)
        key, schema = record["key"], record["schema"]
        if schema != SCHEMA:
            others.append(f"left out {file}: schema {schema}, this labelbench reads {SCHEMA}")
        elif key not in found:
            found[key], first[key] = record, file
        elif record == found[key]:
            copies.append(f"{file} is a copy of {first[key]}")
        else:
            conflicts.append(f"conflict: {file} differs from {first[key]}, which counts")
    for lines in (others, copies, conflicts):
        for line in lines[:SHOWN]:
            say(line)
        if len(lines) > SHOWN:
            say(f"... and {len(lines) - SHOWN} more like this")
    return list(found.values())


def files(paths: Iterable[Path]) -> list[Path]:
    """The record files at these paths, each once, in their order.

    Raises:
        UserError: a path does not exist.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise UserError(f"There are no records at {str(path)!r}.")
        if path.is_file():
            inside = [path]
        else:
            inside = [*path.rglob("records/*.json")] or [*path.glob("*.json")]
            inside = [file for file in inside if file.name != TABLES]
        for file in inside:
            found.setdefault(file.resolve(), file)
    return sorted(found.values())


def parse(file: Path) -> Record:
    """A file as a record, of whatever schema.

    Raises:
        UserError: it is none.
    """
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        _ = record["schema"], hash(record["key"]), record["cell"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{str(file)!r} is no record: {error!r}.") from error
    return record


def pack_bits(correct: np.ndarray) -> str:
    """Booleans as base64 text, eight to a byte, first one in the highest bit."""
    return base64.b64encode(np.packbits(correct).tobytes()).decode()


def unpack_bits(text: str, count: int) -> np.ndarray:
    """The booleans again."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=count).astype(bool)
