"""A check that contributors run on their records before they publish them.

Problems are what makes a record wrong; warnings are what a reader of its tables should know.
"""

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from .comparison import Comparison, comparisons
from .environment import PACKAGES
from .errors import UserError
from .ledger import KINDS, Ledger
from .recipes import RECIPES
from .records import SCHEMA, Record, files, parse, path_of, unpack_bits
from .schema import infinite, mismatches

STORED = (*Ledger().as_dict(), "images", "soft")
WORLD = ("labelbench", "commit", "python", "platform", "cpu", *PACKAGES)


@dataclass(frozen=True)
class Report:
    """What was found; `where: what` in each line."""

    count: int
    problems: list[str]
    warnings: list[str]


def verify(paths: Iterable[Path]) -> Report:
    """Check all records at these paths, each alone and beside the others.

    Raises:
        UserError: a path does not exist, or there are no records.
    """
    paths = list(paths)
    found = files(paths)
    if not found:
        raise UserError(f"There are no records in {', '.join(map(str, paths))}.")
    whole: dict[str, Record] = {}
    problems, warnings = [], []
    for file in found:
        record, wrong = _read(file)
        problems += [f"{file}: {problem}" for problem in wrong]
        if record is not None:
            warnings += [f"{file}: {warning}" for warning in remarks(record)]
            first = whole.get(record["key"], record)
            if first != record:
                problems.append(f"{file}: another record has its key, and differs")
            elif first is not record:
                warnings.append(f"{file}: a copy of another file")
            whole.setdefault(record["key"], record)
    for comparison in comparisons(whole.values()):
        title = comparison.setting.title
        warnings += [f"{title}: {warning}" for warning in gaps(comparison)]
    return Report(len(found), problems, warnings)


def _read(file: Path) -> tuple[Record | None, list[str]]:
    """A file's record if it is whole, and its problems."""
    try:
        record = parse(file)
    except UserError as error:
        return None, [str(error)]
    if record["schema"] != SCHEMA:
        return None, [f"schema {record['schema']}, this labelbench writes {SCHEMA}"]
    wrong = [*mismatches(record, Record), *infinite(record)]
    if wrong:
        return None, wrong
    if file.name != path_of(file.parent, record["key"]).name:
        wrong.append(f"should be named {record['key']}.json, by its key")
    for check in CHECKS:
        wrong += check(record)
    return None if wrong else record, wrong


def bits(record: Record) -> Iterator[str]:
    """The test images that were right, and the accuracy they make."""
    result = record["result"]
    count = result["test_images"]
    try:
        size = len(base64.b64decode(result["correct"], validate=True))
    except ValueError:
        size = -1
    if count < 1 or size != -(-count // 8):
        yield f"result.correct does not hold {count} bits, one a test image"
        return
    right = int(unpack_bits(result["correct"], count).sum())
    if not math.isclose(right / count, result["accuracy"], abs_tol=1e-9):
        yield f"result.accuracy is {result['accuracy']}, but {right} of {count} images were right"


def ledger(record: Record) -> Iterator[str]:
    """The bytes and their sum."""
    stored = record["storage"]
    for name in STORED:
        if name not in stored:
            yield f"storage.{name} is missing"
        elif stored[name] < 0:
            yield f"storage.{name} is negative: {stored[name]}"
    parts = sum(stored.get(name, 0) for name in (*KINDS, "container"))
    if "total" in stored and parts != stored["total"]:
        yield f"storage.total is {stored['total']}, but its parts add up to {parts}"


def curve(record: Record) -> Iterator[str]:
    """One loss an epoch."""
    losses = len(record["result"]["train_loss"])
    epochs = record["inputs"].get("epochs") or record["recipe"].get("epochs")
    if not losses or (epochs and losses != epochs):  # a recipe of steps says no epochs
        yield f"result.train_loss has {losses} losses, trained were {epochs or 'some'} epochs"


def timings(record: Record) -> Iterator[str]:
    """Repeats that were taken in turns."""
    times = record["throughput"]
    counts = {name: len(v) for name, v in times.items() if isinstance(v, list)}
    if 0 in counts.values() or len(set(counts.values())) > 1:
        yield f"throughput has unlike numbers of repeats: {counts}"


def inputs(record: Record) -> Iterator[str]:
    """What went in."""
    accuracy = record["inputs"].get("teacher_accuracy")
    if not isinstance(accuracy, float | int) or not 0 <= accuracy <= 1:
        yield f"inputs.teacher_accuracy is {accuracy!r}, no share of the test images"
    for name in ("train", "test", "images", "teacher", "labels"):
        if not isinstance(record["inputs"].get(name), str):
            yield f"inputs.{name} is missing"


def world(record: Record) -> Iterator[str]:
    """Where it was measured."""
    absent = [name for name in WORLD if name not in record["environment"]]
    if absent:
        yield f"environment lacks {', '.join(absent)}"


CHECKS: Sequence[Callable[[Record], Iterator[str]]] = (bits, ledger, curve, timings, inputs, world)


def remarks(record: Record) -> Iterator[str]:
    """What is not wrong in a record, but worth a second look."""
    commit = record["environment"].get("commit")
    if not commit:
        yield "measured from no known commit"
    elif str(commit).endswith("-dirty"):
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
