"""Collections: the records of many runs and machines in one sorted file, a line each."""

import json
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import UserError
from ..core.files import write_atomic
from .record import CellNames, Record
from .store import Entry, Identity, entries, identity


def collect(paths: Iterable[Path], target: Path) -> tuple[int, int]:
    """Add whole records to a collection; one that it holds already is passed over.

    Lines stand in the order of their cells, keys and worlds, so the same records give the same
    file whatever they came from.

    Returns:
        How many records were added, and how many it holds now.

    Raises:
        UserError: a damaged record on either side, or one that the collection holds with other
            content; then nothing is written.
    """
    if target.suffix != ".jsonl":
        raise UserError(f"A collection is called NAME.jsonl, not {str(target)!r}.")
    held: dict[Identity, Entry] = {}
    _add(held, [target] if target.exists() else [])
    before = len(held)
    _add(held, paths)
    found = sorted((e.record for e in held.values() if e.record is not None), key=_order)
    write_atomic(target, "".join(map(line, found)).encode())
    return len(held) - before, len(held)


def line(record: Record) -> str:
    """A record as a collection holds it."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")) + "\n"


def _add(held: dict[Identity, Entry], paths: Iterable[Path]) -> None:
    for entry in entries(paths):
        if entry.record is None:
            raise UserError(f"{entry.where}: {entry.problem}")
        first = held.setdefault(identity(entry.record), entry)
        if first.record != entry.record:
            raise UserError(
                f"{entry.where} differs from {first.where}, though key and world are the same."
            )


def _order(record: Record) -> tuple[object, ...]:
    cell = record["cell"]
    return (*(cell[name] for name in CellNames.__annotations__), *identity(record))
