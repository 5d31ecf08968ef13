"""Measurements that are no cells': speed records, and how far labels are from the teacher's.

A file of them is called `speed.jsonl` (`profile.jsonl` in a work folder) or `distortion.jsonl`, and
holds no cells' records; a line's `kind` says what it is.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ..core import bounded
from ..core.errors import UserError, unknown
from ..core.files import digest, write_atomic
from ..core.progress import say
from .distortion import DistortionRecord
from .speed import ProfileRecord, RatioRecord

PROFILE, DISTORTION = "profile.jsonl", "distortion.jsonl"  # in a work folder
SPEED = "speed.jsonl"  # published
FILES = (SPEED, PROFILE, DISTORTION)
COLLECTIONS: dict[str, tuple[str, ...]] = {
    SPEED: ("profile", "ratio"),
    DISTORTION: ("distortion",),
}
MOST_BYTES = 2**20  # of one line

Measurement = ProfileRecord | RatioRecord | DistortionRecord
_KINDS: dict[str, TypeAdapter[Any]] = {
    "profile": TypeAdapter(ProfileRecord),
    "ratio": TypeAdapter(RatioRecord),
    "distortion": TypeAdapter(DistortionRecord),
}


@dataclass(frozen=True)
class MeasurementEntry:
    """What stands in a line where a measurement should be.

    Attributes:
        where: `FILE:LINE`.
        record: None where it is damaged.
        problem: what is wrong with it, else empty.
    """

    where: str
    record: Measurement | None
    problem: str = ""


def parse(raw: bytes) -> Measurement:
    """A measurement, checked field by field and against itself.

    Raises:
        UserError: it is none, with what is wrong.
    """
    value = bounded.loads(raw)
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        raise UserError(
            f"no measurement: its kind is missing. Valid: {', '.join(_KINDS)}. Cells' records "
            "stand in collections of other names"
        )
    if value["kind"] not in _KINDS:
        raise unknown("kind of measurement", bounded.short(value["kind"]), _KINDS)
    record: Measurement = bounded.parse(_KINDS[value["kind"]], value)
    counts = {name: len(seconds) for name, seconds in _in_turns(record).items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"unlike numbers of repeats: {counts}")
    return record


def identity(record: Measurement) -> str:
    """A digest of what was measured, where, and with which code; not of the figures."""
    known: dict[str, Any] = {"kind": record["kind"], "world": record["world"]}
    if record["kind"] == "ratio":
        sides = [(s["what"], s["environment"]) for s in (record["first"], record["second"])]
        return digest({**known, "name": record["name"], "of": [record["settings"], sides]})
    names = ["cell", "options", "precision", "environment"]
    if record["kind"] == "profile":
        names += ["memory_format", "compiled", "batch"]
    return digest({**known, **{name: record[name] for name in names}})


def files(paths: Iterable[Path]) -> list[Path]:
    """The files of measurements at these paths: themselves, or in these folders."""
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if path.name in FILES else [path / name for name in FILES]
        found |= {file.resolve(): file for file in inside if file.is_file()}
    return sorted(found.values())


def entries(paths: Iterable[Path]) -> Iterator[MeasurementEntry]:
    """Every line of the measurements at these paths, damaged or not."""
    for file in files(paths):
        with file.open("rb") as opened:
            for number, raw in enumerate(iter(lambda: opened.readline(MOST_BYTES + 1), b""), 1):
                where = f"{file}:{number}"
                if len(raw) > MOST_BYTES:
                    yield MeasurementEntry(where, None, f"larger than {MOST_BYTES:,} bytes")
                    break  # where the next line starts is anyone's guess
                try:
                    yield MeasurementEntry(where, parse(raw))
                except UserError as error:
                    yield MeasurementEntry(where, None, str(error))


def read(paths: Iterable[Path]) -> list[Measurement]:
    """All measurements at these paths; of one identity the first, damaged ones are named."""
    found: dict[str, Measurement] = {}
    for entry in entries(paths):
        if entry.record is None:
            say(f"left out {entry.where}: {entry.problem}")
        else:
            found.setdefault(identity(entry.record), entry.record)
    return list(found.values())


def replace(file: Path, record: Measurement) -> None:
    """Write a record into a file, in place of the one of its identity if it holds one.

    Raises:
        UserError: the record, or a line of the file, is damaged; then nothing is written.
    """
    held = {identity(each): each for each in _sound([file])}
    _write(file, {**held, identity(record): record})


def collect(paths: Iterable[Path], target: Path) -> tuple[int, int]:
    """Add measurements of its kinds to a collection; one that it holds already is passed over.

    Args:
        target: of a name in `COLLECTIONS`.

    Returns:
        How many records were added, and how many it holds now.

    Raises:
        UserError: nothing to add, a damaged record on either side, or one that the collection
            holds with other figures; then nothing is written.
    """
    paths, kinds = list(paths), COLLECTIONS[target.name]
    records = [record for record in _sound(paths) if record["kind"] in kinds]
    if not records:
        raise UserError(
            f"There are no records of kind {' or '.join(kinds)} in {', '.join(map(str, paths))}: "
            f"they stand in {', '.join(FILES)}."
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


def title(record: Measurement) -> str:
    """What it is of, in few words."""
    if record["kind"] == "ratio":
        return record["name"]
    cell = record["cell"]
    named = f"{cell['method']}, {cell['student']}"
    return named if record["kind"] == "profile" else f"{named}, {cell['dataset']} {cell['ipc']}"


def _write(file: Path, records: Mapping[str, Measurement]) -> None:
    """Write records by identity, sorted, whole or not at all."""
    lines = []
    for name, record in records.items():
        line = json.dumps(record, sort_keys=True, separators=(",", ":"))
        parse(line.encode())  # what no reader would take is not written
        lines.append((record["kind"], title(record), name, line))
    write_atomic(file, "".join(f"{line}\n" for *_, line in sorted(lines)).encode())


def _sound(paths: Iterable[Path]) -> list[Measurement]:
    found = []
    for entry in entries(paths):
        if entry.record is None:
            raise UserError(f"{entry.where}: {entry.problem}")
        found.append(entry.record)
    return found


def _in_turns(record: Measurement) -> dict[str, Any]:
    """The seconds that were taken in turns, by what they are of."""
    if record["kind"] == "ratio":
        return {side: record[side]["seconds"] for side in ("first", "second")}
    if record["kind"] == "distortion":
        return {}
    copies = {f"copies.{name}": timed["seconds"] for name, timed in record["copies"].items()}
    evaluation = {"evaluation": record["evaluation"]["seconds"]}
    return {**record["seconds"], **evaluation, **copies}
