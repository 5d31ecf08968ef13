"""A check that contributors run on their records before they publish them.

Problems are what makes a record wrong; warnings are what a reader of its tables should know.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from ..core.errors import UserError
from ..core.plugins import DATASETS, IMAGES, METHODS, NETWORKS, RECIPES, is_builtin
from ..data import recipes
from ..data.recipe_source import RecipeSetting
from ..models import networks
from ..records import measurements
from ..records.comparison import Comparison, comparisons
from ..records.measurements import MeasurementEntry
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
    found, timed = [*entries(paths)], [*measurements.entries(paths)]
    if not found and not timed:
        raise UserError(f"There are no records in {', '.join(map(str, paths))}.")
    for entry in found:
        record = entry.record
        if record is None:
            problems.append(f"{entry.where}: {entry.problem}")
            continue
        warnings += [f"{entry.where}: {warning}" for warning in remarks(record)]
        problems += [f"{entry.where}: {problem}" for problem in _misnamed(entry.file, record)]
        problems += [f"{entry.where}: {problem}" for problem in unnamed(record)]
        first = whole.setdefault(identity(record), entry)
        if first.record != record:
            problems.append(f"{entry.where}: {first.where} has its key and world, and differs")
        elif first is not entry:
            warnings.append(f"{entry.where}: a copy of {first.where}")
    for comparison in comparisons(entry.record for entry in whole.values() if entry.record):
        title = comparison.setting.title
        warnings += [f"{title}: {warning}" for warning in gaps(comparison)]
    return Report(len(found) + len(timed), [*problems, *_mistimed(timed)], warnings)


def _mistimed(entries: Iterable[MeasurementEntry]) -> Iterator[str]:
    """What is wrong with speed records, each alone and beside the others."""
    whole: dict[str, MeasurementEntry] = {}
    for entry in entries:
        if entry.record is None:
            yield f"{entry.where}: {entry.problem}"
            continue
        first = whole.setdefault(measurements.identity(entry.record), entry)
        if first.record != entry.record:
            yield f"{entry.where}: {first.where} is of the same, its world and commit, and differs"


def _misnamed(file: Path, record: Record) -> Iterator[str]:
    """Whether a record's own file has another name; of schema 1 it was the key alone."""
    name = path_of(file.parent, *identity(record)).name
    if file.suffix != ".jsonl" and file.name not in (name, f"{record['key']}.json"):
        yield f"should be named {name}, by its key and world"


def unnamed(record: Record) -> Iterator[str]:
    """What a record was measured with that is not built in, and that it does not name as a plugin.

    Without a plugin's version and digest nobody could measure the record again.
    """
    cell = record["cell"]
    told = {(plugin["kind"], plugin["name"]) for plugin in record["plugins"]}
    kinds = {kind for kind, _ in told}
    used = {
        METHODS: re.split(r"[\[ ]", cell["method"])[0],
        IMAGES: re.split(r"[\[:]", cell["images"])[0],
        DATASETS: cell["dataset"].partition(":")[0],
        RECIPES: cell["recipe"].removesuffix(" (changed)"),
    }
    for kind, name in used.items():
        if not is_builtin(kind, name) and (kind.name, name) not in told:
            yield f"{kind.name} {name} is not built in, and it names no plugin of that name"
    for name in (cell["student"], cell["teacher"]):
        if not _is_ours(name) and NETWORKS.name not in kinds:
            yield f"network {name} is not built in, and it names no plugin that makes it"


def _is_ours(network: str) -> bool:
    """Whether a network, or the one that a teacher's file is for, is built in."""
    parts = network.split(":")
    name = ":".join(parts[:2]) if parts[0] == "timm" else parts[0]
    return any(f.plugin.builtin and f.answers(name) for f in networks.families())


def remarks(record: Record) -> Iterator[str]:
    """What is not wrong in a record, but worth a second look."""
    commit = record["environment"]["commit"]
    if not commit:
        yield "measured from no known commit"
    elif commit.endswith("-dirty"):
        yield f"measured from a changed source tree, commit {commit}"
    name = record["recipe"].get("name")
    if record["on_protocol"] and not _is_of_this_version(record):
        yield f"recipe {name} is not this version's"


def _is_of_this_version(record: Record) -> bool:
    """Whether a recipe is the one of its name; fields that came later have their defaults.

    Records of schema 2 and before do not say for which setting their recipe was made.
    """
    inputs, cell = record["inputs"], record["cell"]
    if "classes" not in inputs or "resolution" not in inputs:
        return True
    setting = RecipeSetting(inputs["classes"], cell["ipc"], inputs["resolution"], cell["student"])
    try:
        ours = recipes.make(cell["recipe"], setting)
    except UserError:
        return False
    return _agree(record["recipe"], ours)


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
    marked = {row.control for row in present}
    for control in ("floor", "full", "ceiling"):
        if control not in marked:
            yield f"lacks the {control} (a control)"
    if not any(row.baseline for row in present):
        yield "lacks the baseline of real images (a control)"
    tests = {record["inputs"]["test"] for record in comparison.records}
    if len(tests) > 1:
        yield f"was tested on {len(tests)} different test sets"
