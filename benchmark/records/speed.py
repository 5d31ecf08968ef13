"""Speed records: where the time of a student's step goes, and named ratios of two times.

A file of them is called `speed.jsonl`, or `profile.jsonl` in a work folder, and holds no cells'
records; a line's `kind` says which of the two it is.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from ..core import bounded
from ..core.errors import UserError, unknown
from ..core.files import digest, write_atomic
from ..core.progress import say
from .record import Environment, Name, Repeats, Seconds, Size, Text, World

SCHEMA = 1
PUBLISHED, OF_WORK = "speed.jsonl", "profile.jsonl"
FILES = (PUBLISHED, OF_WORK)
MOST_BYTES = 2**20  # of one line

Schema = Annotated[int, Field(ge=SCHEMA, le=SCHEMA)]
Copied = Literal["host", "device", "host to device"]
MemoryFormat = Literal["contiguous", "channels last"]
_whole = with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))


@_whole
class ProfiledNames(TypedDict):
    """What was profiled: a cell without its seed."""

    dataset: Name
    images: Name
    ipc: Annotated[int, Field(ge=1, le=10**9)]
    method: Name
    student: Name
    recipe: Name
    teacher: Name


@_whole
class StepSeconds(TypedDict):
    """Seconds of every repeat; all of them take turns.

    `forward_backward` has `forward` inside, and `bare_step` has both, and the optimiser.
    `learning_step` is a bare step with the source's loss, on resident pixels and targets.
    """

    forward: Repeats
    forward_backward: Repeats
    bare_step: Repeats
    learning_step: Repeats
    views: Repeats  # a batch's, sampled or read, and moved to the device
    rendering: Repeats
    targets: Repeats
    step: Repeats  # the whole one


@_whole
class Timed(TypedDict):
    """How often `size` was gone through (test images, bytes), in seconds of every repeat."""

    size: Size
    seconds: Repeats


@_whole
class LabelBytes(TypedDict):
    """Bytes of a step's labels, a mean over all steps: as stored, and as float32 targets."""

    stored: Annotated[float, Field(ge=0, le=2**53)]
    targets: Size


@_whole
class Memory(TypedDict):
    """The peak: resident set of the whole process so far, or allocated on the device for steps."""

    bytes: Size
    of: Literal["process", "device"]


@_whole
class ProfileRecord(TypedDict):
    """Where the time of one student's step goes with one method's labels."""

    schema: Schema
    kind: Literal["profile"]
    cell: ProfiledNames
    precision: Annotated[str, Field(pattern="^[a-z0-9]{1,20}$")]
    memory_format: MemoryFormat
    compiled: bool
    batch: Size
    options: dict[str, Any]  # the method's, all of them
    seconds: StepSeconds
    seconds_fit: Seconds
    evaluation: Timed
    labels: LabelBytes
    copies: Annotated[dict[Copied, Timed], Field(min_length=1)]
    memory: Memory
    world: World
    environment: Environment


@_whole
class Side(TypedDict):
    """One of the two times of a ratio."""

    what: Name
    seconds: Repeats
    environment: Environment


@_whole
class RatioRecord(TypedDict):
    """A named comparison: the first side's seconds over the second's, repeat by repeat."""

    schema: Schema
    kind: Literal["ratio"]
    name: Name
    first: Side
    second: Side
    settings: Annotated[dict[Name, Text], Field(max_length=100)]
    world: World


SpeedRecord = ProfileRecord | RatioRecord
_KINDS: dict[str, TypeAdapter[Any]] = {
    "profile": TypeAdapter(ProfileRecord),
    "ratio": TypeAdapter(RatioRecord),
}


@dataclass(frozen=True)
class SpeedEntry:
    """What stands in a line where a speed record should be.

    Attributes:
        where: `FILE:LINE`.
        record: None where it is damaged.
        problem: what is wrong with it, else empty.
    """

    where: str
    record: SpeedRecord | None
    problem: str = ""


def parse(raw: bytes) -> SpeedRecord:
    """A speed record, checked field by field and against itself.

    Raises:
        UserError: it is none, with what is wrong.
    """
    value = bounded.loads(raw)
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise UserError(
            f"no speed record: its kind is missing. Valid: {', '.join(_KINDS)}. Cells' records "
            "stand in collections of other names"
        )
    if value["kind"] not in _KINDS:
        raise unknown("kind of speed record", bounded.short(value["kind"]), _KINDS)
    record: SpeedRecord = bounded.parse(_KINDS[value["kind"]], value)
    counts = {name: len(seconds) for name, seconds in _in_turns(record).items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"unlike numbers of repeats: {counts}")
    return record


def identity(record: SpeedRecord) -> str:
    """A digest of what was timed, where, and with which code; not of what it took."""
    known: dict[str, Any] = {"kind": record["kind"], "world": record["world"]}
    if record["kind"] == "ratio":
        sides = [(s["what"], s["environment"]) for s in (record["first"], record["second"])]
        return digest({**known, "name": record["name"], "of": [record["settings"], sides]})
    names = ("cell", "options", "precision", "memory_format", "compiled", "batch", "environment")
    return digest({**known, **{name: record[name] for name in names}})


def files(paths: Iterable[Path]) -> list[Path]:
    """The files of speed records at these paths: themselves, or in these folders."""
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if path.name in FILES else [path / name for name in FILES]
        found |= {file.resolve(): file for file in inside if file.is_file()}
    return sorted(found.values())


def entries(paths: Iterable[Path]) -> Iterator[SpeedEntry]:
    """Every line of the speed records at these paths, damaged or not."""
    for file in files(paths):
        with file.open("rb") as opened:
            for number, raw in enumerate(iter(lambda: opened.readline(MOST_BYTES + 1), b""), 1):
                where = f"{file}:{number}"
                if len(raw) > MOST_BYTES:
                    yield SpeedEntry(where, None, f"larger than {MOST_BYTES:,} bytes")
                    break  # where the next line starts is anyone's guess
                try:
                    yield SpeedEntry(where, parse(raw))
                except UserError as error:
                    yield SpeedEntry(where, None, str(error))


def read(paths: Iterable[Path]) -> list[SpeedRecord]:
    """All speed records at these paths; of one identity the first, damaged ones are named."""
    found: dict[str, SpeedRecord] = {}
    for entry in entries(paths):
        if entry.record is None:
            say(f"left out {entry.where}: {entry.problem}")
        else:
            found.setdefault(identity(entry.record), entry.record)
    return list(found.values())


def replace(file: Path, record: SpeedRecord) -> None:
    """Write a record into a file, in place of the one of its identity if it holds one.

    Raises:
        UserError: the record, or a line of the file, is damaged; then nothing is written.
    """
    held = {identity(each): each for each in _sound([file])}
    _write(file, {**held, identity(record): record})


def collect(paths: Iterable[Path], target: Path) -> tuple[int, int]:
    """Add speed records to a collection; one that it holds already is passed over.

    Returns:
        How many records were added, and how many it holds now.

    Raises:
        UserError: nothing to add, a damaged record on either side, or one that the collection
            holds with other figures; then nothing is written.
    """
    paths = list(paths)
    records = _sound(paths)
    if not records:
        raise UserError(
            f"There are no speed records in {', '.join(map(str, paths))}: they stand in "
            f"{' and '.join(FILES)}."
        )

    held = {identity(record): record for record in _sound([target])}
    before = len(held)
    for record in records:
        if held.setdefault(identity(record), record) != record:
            raise UserError(
                f"{target} would hold two figures of {title(record)!r}, of one world and commit."
            )
    _write(target, held)
    return len(held) - before, len(held)


def title(record: SpeedRecord) -> str:
    """What it is of, in few words."""
    if record["kind"] == "ratio":
        return record["name"]
    cell = record["cell"]
    return f"{cell['method']}, {cell['student']}"


def _write(file: Path, records: Mapping[str, SpeedRecord]) -> None:
    """Write records by identity, sorted, whole or not at all."""
    lines = []
    for name, record in records.items():
        line = json.dumps(record, sort_keys=True, separators=(",", ":"))
        parse(line.encode())  # what no reader would take is not written
        lines.append((record["kind"], title(record), name, line))
    write_atomic(file, "".join(f"{line}\n" for *_, line in sorted(lines)).encode())


def _sound(paths: Iterable[Path]) -> list[SpeedRecord]:
    found = []
    for entry in entries(paths):
        if entry.record is None:
            raise UserError(f"{entry.where}: {entry.problem}")
        found.append(entry.record)
    return found


def _in_turns(record: SpeedRecord) -> dict[str, Any]:
    """The seconds that were taken in turns, by what they are of."""
    if record["kind"] == "ratio":
        return {side: record[side]["seconds"] for side in ("first", "second")}
    copies = {f"copies.{name}": timed["seconds"] for name, timed in record["copies"].items()}
    evaluation = {"evaluation": record["evaluation"]["seconds"]}
    return {**record["seconds"], **evaluation, **copies}
