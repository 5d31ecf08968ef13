"""A check that contributors run on their records before they publish them.

Problems are what makes a record wrong; warnings are what a reader of its tables should know.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..data.recipes import RECIPES
from ..records.comparison import Comparison, comparisons
from ..records.record import Record
from ..records.store import Entry, Identity, entries, identity, path_of


@dataclass(frozen=True)
class Report:
    """What was found; `where: what` in each line."""

    count: int
    problems: list[str]
    warnings: list[str]


def verify_records(paths: Iterable[Path]) -> Report:
    """Check all records at these paths, each alone and beside the others.

    Raises:
        UserError: a path does not exist, or there are no records.
    """
    paths = list(paths)
    whole: dict[Identity, Entry] = {}
    problems, warnings = [], []
    found = [*entries(paths)]
    if not found:
        raise UserError(f"There are no records in {', '.join(map(str, paths))}.")
    for entry in found:
        record = entry.record
        if record is None:
            problems.append(f"{entry.where}: {entry.problem}")
            continue
        warnings += [f"{entry.where}: {warning}" for warning in remarks(record)]
        problems += [f"{entry.where}: {problem}" for problem in _misnamed(entry.file, record)]
        first = whole.setdefault(identity(record), entry)
        if first.record != record:
            problems.append(f"{entry.where}: {first.where} has its key and world, and differs")
        elif first is not entry:
            warnings.append(f"{entry.where}: a copy of {first.where}")
    for comparison in comparisons(entry.record for entry in whole.values() if entry.record):
        title = comparison.setting.title
        warnings += [f"{title}: {warning}" for warning in gaps(comparison)]
    return Report(len(found), problems, warnings)


def _misnamed(file: Path, record: Record) -> Iterator[str]:
    """Whether a record's own file has another name; of schema 1 it was the key alone."""
    name = path_of(file.parent, *identity(record)).name
    if file.suffix != ".jsonl" and file.name not in (name, f"{record['key']}.json"):
        yield f"should be named {name}, by its key and world"


def remarks(record: Record) -> Iterator[str]:
    """What is not wrong in a record, but worth a second look."""
    commit = record["environment"]["commit"]
    if not commit:
        yield "measured from no known commit"
    elif commit.endswith("-dirty"):
        yield f"measured from a changed source tree, commit {commit}"
    name = record["recipe"].get("name")
    if record["on_protocol"] and not _is_of_this_version(record["recipe"]):
        yield f"recipe {name} is not this version's"


def _is_of_this_version(recipe: Mapping[str, Any]) -> bool:
    """Whether a recipe is the one of its name; fields that came later have their defaults."""
    ours = RECIPES.get(str(recipe.get("name")))
    return ours is not None and _agree(recipe, ours)


def _agree(values: Mapping[str, Any], ours: Any) -> bool:
    """Whether JSON values say the same as a dataclass."""
    names = {f.name: f for f in fields(ours)}
    if not values.keys() <= names.keys():
        return False
    for name, field in names.items():
        mine = getattr(ours, name)
        if name not in values:
            default = field.default_factory() if callable(field.default_factory) else field.default
            if mine != default:
                return False
        elif is_dataclass(mine):
            if not isinstance(values[name], Mapping) or not _agree(values[name], mine):
                return False
        elif values[name] != (list(mine) if isinstance(mine, tuple) else mine):
            return False
    return True


def gaps(comparison: Comparison) -> Iterator[str]:
    """Repeats and controls that a comparison lacks; a teacher of any size is one."""
    for row in comparison.rows:
        if 0 < row.n < row.asked:
            yield f"{row.method} on {row.images} has {row.n} of {row.asked} repeats"
    present = [row for row in comparison.rows if row.n]
    methods = {row.method.partition("[")[0] for row in present}
    for control in ("hard", "soft", "teacher"):
        if control not in methods:
            yield f"lacks the control {control}"
    if "random" not in {row.images for row in present}:
        yield "lacks the control of random real images"
    tests = {record["inputs"]["test"] for record in comparison.records}
    if len(tests) > 1:
        yield f"was tested on {len(tests)} different test sets"
