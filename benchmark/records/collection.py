"""Collections: the records of many runs and machines in one sorted file, a line each."""

import json
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import UserError
from ..core.files import write_atomic
from .measurements import COLLECTIONS
from .record import CellNames, Record
from .store import Entry, Identity, entries, identity


def collect(paths: Iterable[Path], target: Path) -> tuple[int, int]:
    """Add whole records to a collection; one that it holds already is passed over.

    Lines stand in the order of their cells, keys and worlds, so the same records give the same
    file whatever they came from.

    Returns:
        How many records were added, and how many it holds now.

    Raises:
        UserError: there is none, a damaged record on either side, or one that the collection
            holds with other content; then nothing is written.
    """
    if target.suffix != ".jsonl":
        raise UserError(f"A collection is called NAME.jsonl, not {str(target)!r}.")
    before, added = merged([target] if target.exists() else [], paths)
    if not before and not added:
        raise UserError(
            f"There are no cells' records in {', '.join(map(str, paths))}. Measurements of "
            f"`profile` and `distortion` are collected into {' and '.join(COLLECTIONS)}."
        )
    write_atomic(target, lines([*before, *added]))
    return len(added), len(before) + len(added)


def merged(held: Iterable[Path], paths: Iterable[Path]) -> tuple[list[Record], list[Record]]:
    """The records that are held, each once, and those at `paths` that are not among them.

    Raises:
        UserError: a damaged record on either side, or two of one key and world that differ.
    """
    found: dict[Identity, Entry] = {}
    counts = []
    for side in (held, paths):
        for entry in entries(side):
            if entry.record is None:
                raise UserError(f"{entry.where}: {entry.problem}")
            first = found.setdefault(identity(entry.record), entry)
            if first.record != entry.record:
                raise UserError(
                    f"{entry.where} differs from {first.where}, though key and world are the same."
                )
        counts.append(len(found))
    records = [entry.record for entry in found.values() if entry.record is not None]
    return records[: counts[0]], records[counts[0] :]


def lines(records: Iterable[Record]) -> bytes:
    """Records as a collection holds them."""
    return "".join(map(line, sorted(records, key=_order))).encode()


def line(record: Record) -> str:
    """A record as a collection holds it."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n"


def _order(record: Record) -> tuple[object, ...]:
    cell = record["cell"]
    return (*(cell[name] for name in CellNames.__annotations__), *identity(record))
