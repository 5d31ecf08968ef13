"""Comparisons: which records may stand side by side, and which methods are shown to be better.

Tables, pictures and the site all read these; nothing else decides what is compared with what.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..core.files import digest
from . import ranking
from .ranking import Repeat
from .record import CellNames, Record, Storage, unpack_bits, world_digest
from .statistics import Paired, mean_interval, over_draws
from .worlds import places


@dataclass(frozen=True)
class Setting:
    """What the records of a comparison share.

    Attributes:
        teacher_accuracy: on the test set, 0..1.
        precision: of the networks' arithmetic, `fp32` or `bf16`.
        world: digest of the world they were measured in.
        place: that world in few words, others than those of all other worlds here.
        changed: digest of a recipe that is off-protocol, else empty.
    """

    dataset: str
    ipc: int
    student: str
    recipe: str
    teacher: str
    teacher_accuracy: float
    precision: str
    world: str
    place: str
    changed: str

    @property
    def on_protocol(self) -> bool:
        """Whether the recipe is unchanged."""
        return not self.changed

    @property
    def title(self) -> str:
        """In full, with the IPC."""
        return ", ".join([self.dataset, f"IPC {self.ipc}", *self._rest])

    @property
    def family(self) -> str:
        """In full, for all IPCs."""
        return ", ".join([self.dataset, *self._rest])

    @property
    def short(self) -> str:
        """In few words, for file names; not unique without a digest of the title."""
        return f"{self.dataset} ipc{self.ipc} {self.student} {self.recipe}"

    @property
    def _rest(self) -> list[str]:
        teacher = f"teacher {self.teacher} ({self.teacher_accuracy:.2%})"
        off = [f"OFF-PROTOCOL {self.changed[:6]}"] if self.changed else []
        return [self.student, f"recipe {self.recipe}", teacher, self.place, self.precision, *off]


@dataclass(frozen=True)
class Row:
    """One method on one image source.

    Attributes:
        images: without the option that draws: several draws are repeats of one another.
        method: as in cells; where options differ that its label does not show, with these.
        records: one a draw and seed, in their order; none where the method is missing.
        asked: repeats that it should have: those of any method on these images here, or on any
            images where none was measured on these.
        failed: how many of those that it lacks were tried in vain.
        rank: 1 is best; methods that cannot be told apart from the best of a rank share it, and
            the next rank counts them all (1, 1, 3). None where there are too few repeats to
            tell, where it is missing, or off protocol.
    """

    images: str
    method: str
    records: tuple[Record, ...]
    asked: int
    failed: int = 0
    rank: int | None = None

    @property
    def name(self) -> tuple[str, str]:
        """Images and method, which tell rows of a comparison apart."""
        return self.images, self.method

    @property
    def n(self) -> int:
        """How many repeats count: draws of the images where there are enough, else seeds."""
        return ranking.independent(map(repeat, self.records))

    @cached_property
    def accuracy(self) -> tuple[float, float | None]:
        """Mean, 0..1, and half of its 95 % interval; only of a row that has records."""
        values = np.array([r["result"]["accuracy"] for r in self.records])
        draws = [r["cell"]["draw"] for r in self.records]
        return mean_interval(over_draws(values, draws).tolist())

    @cached_property
    def correct(self) -> dict[Repeat, np.ndarray]:
        """Which test images were right in each repeat, booleans."""
        return {repeat(r): correct(r) for r in self.records}

    @property
    def storage(self) -> Storage:
        """The ledger of the repeat that ships most; only of a row that has records."""
        return max((r["storage"] for r in self.records), key=lambda s: s["total"])

    @property
    def control(self) -> str | None:
        """Which end of the comparison it marks, if any; see `LabelSource`."""
        return self.records[0]["roles"]["control"] if self.records else None

    @property
    def baseline(self) -> bool:
        """Whether its images are real ones, which distilled ones must beat."""
        return any(record["roles"]["baseline"] for record in self.records)

    @property
    def prior(self) -> str | None:
        """The public model that must be there."""
        return self.records[0]["prior"] if self.records else None


@dataclass(frozen=True)
class Comparison:
    """Methods that may be compared, best first; missing ones last.

    Attributes:
        pairs: of rows that have records, by their places in `rows`, the lower first.
        left_out: records of a repeat that another record stands for, measured by another
            version; see `comparisons`.
    """

    setting: Setting
    rows: tuple[Row, ...]
    pairs: dict[tuple[int, int], Paired]
    left_out: tuple[Record, ...] = ()

    @property
    def records(self) -> list[Record]:
        """Those that count."""
        return [record for row in self.rows for record in row.records]


def comparisons(
    records: Iterable[Record],
    missing: Sequence[CellNames] = (),
    failed: Sequence[CellNames] = (),
) -> list[Comparison]:
    """All comparisons among records, in the order of their titles; those off protocol last.

    Records are compared only if dataset, IPC, student, recipe, teacher with its accuracy,
    precision and world are the same. Where one repeat was measured by several versions of the
    code, one counts: that of the version (commit) which has most repeats of this method, or else
    the first by name.

    Args:
        missing: cells that were asked for and have no record.
        failed: those of them that were tried and failed.
    """
    by_setting: dict[Setting, list[Record]] = {}
    records = list(records)
    worlds = {world_digest(record["world"]): record["world"] for record in records}
    words = places(worlds)
    for record in records:
        by_setting.setdefault(_setting(record, words), []).append(record)
    expected: dict[str, set[tuple[str, str]]] = {}  # rows of a family at any IPC
    labels: dict[Setting, dict[tuple[str, str], list[Record]]] = {}
    for at, members in by_setting.items():
        labels[at] = _by_row(members)
        if at.on_protocol:
            expected.setdefault(at.family, set()).update(map(_asked_as, labels[at].values()))
    made = []
    for at in sorted(by_setting, key=lambda s: (bool(s.changed), s.family, s.ipc)):
        absent, lost = ([c for c in cells if _belongs(c, at)] for cells in (missing, failed))
        made.append(_compare(at, labels[at], expected.get(at.family, set()), absent, lost))
    return made


def _setting(record: Record, words: Mapping[str, str]) -> Setting:
    """The comparison that a record belongs to."""
    cell, world = record["cell"], world_digest(record["world"])
    return Setting(
        cell["dataset"],
        cell["ipc"],
        cell["student"],
        cell["recipe"],
        cell["teacher"],
        round(record["inputs"]["teacher_accuracy"], 4),  # as titles show it, so titles differ
        record["precision"],
        world,
        words[world],
        "" if record["on_protocol"] else digest(record["recipe"]),
    )


def correct(record: Record) -> np.ndarray:
    """Which test images were right, booleans."""
    return unpack_bits(record["result"]["correct"], record["result"]["test_images"])


def repeat(record: Record) -> Repeat:
    """Which repeat a record is."""
    return record["cell"]["draw"], record["cell"]["seed"]


def _belongs(cell: CellNames, at: Setting) -> bool:
    shared = ("dataset", "ipc", "student", "recipe", "teacher")
    return all(cell[name] == getattr(at, name) for name in shared)


def _by_row(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Records of each image source and method; options that labels hide are added to them."""
    alike: dict[tuple[str, str], dict[str, list[Record]]] = {}
    for record in sorted(records, key=lambda r: r["key"]):
        cell = record["cell"]
        options = json.dumps(record["options"], sort_keys=True)
        same = alike.setdefault((cell["source"], cell["method"]), {})
        same.setdefault(options, []).append(record)
    made = {}
    for (images, method), variants in alike.items():
        for members in variants.values():
            label = method
            if len(variants) > 1:
                label += _hidden(
                    members[0]["options"], [v[0]["options"] for v in variants.values()]
                )
            made[images, label] = members
    return made


def _asked_as(records: Sequence[Record]) -> tuple[str, str]:
    """The image source and method of a row as a grid names them, without hidden options."""
    cell = records[0]["cell"]
    return cell["source"], cell["method"]


def _hidden(options: dict[str, Any], others: Sequence[dict[str, Any]]) -> str:
    """The options in which variants of one label differ: ` (epochs=3)`."""
    names = sorted({name for other in others for name in other if len(_values(others, name)) > 1})
    return f" ({', '.join(f'{name}={options.get(name)}' for name in names)})"


def _values(options: Sequence[dict[str, Any]], name: str) -> set[str]:
    return {json.dumps(o.get(name), sort_keys=True) for o in options}


def _compare(
    at: Setting,
    found: dict[tuple[str, str], list[Record]],
    expected: set[tuple[str, str]],
    missing: Sequence[CellNames],
    failed: Sequence[CellNames],
) -> Comparison:
    asked: dict[str, set[Repeat]] = {}  # of each image source
    rows_of: dict[tuple[str, str], list[tuple[str, str]]] = {}  # that a grid names alike
    for name, members in found.items():
        asked.setdefault(name[0], set()).update(map(repeat, members))
        rows_of.setdefault(_asked_as(members), []).append(name)
    every = set().union(*asked.values())
    expected_repeats = {name: set(asked[name[0]]) for name in found}
    for name in expected - rows_of.keys():
        expected_repeats[name] = set(asked.get(name[0], every))
    lost: dict[tuple[str, str], set[Repeat]] = {}
    for cells, of_rows in ((missing, expected_repeats), (failed, expected_repeats), (failed, lost)):
        for cell in cells:
            asked_for = cell["source"], cell["method"]
            for name in rows_of.get(asked_for, [asked_for]):
                of_rows.setdefault(name, set()).add((cell["draw"], cell["seed"]))
    rows, left_out = [], []
    for name, repeats in expected_repeats.items():
        counted, others = _one_a_repeat(found.get(name, []))
        left_out += others
        in_vain = lost.get(name, set()) - {repeat(record) for record in counted}
        rows.append(Row(*name, tuple(counted), ranking.independent(repeats), len(in_vain)))
    rows.sort(key=lambda row: (-row.accuracy[0] if row.n else 1.0, row.name))
    present = [row for row in rows if row.n]
    right = [row.correct for row in present]
    pairs = ranking.pairs(right)
    if at.on_protocol:
        ranks = ranking.ranks(right, pairs)
        rows[: len(present)] = [
            replace(row, rank=rank) for row, rank in zip(present, ranks, strict=True)
        ]
    return Comparison(at, tuple(rows), pairs, tuple(left_out))


def _one_a_repeat(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """One record a repeat, in their order, and the others."""
    commits = Counter(_commit(r) for r in records)

    def order(record: Record) -> tuple[Any, ...]:
        commit = _commit(record)
        return repeat(record), -commits[commit], commit, record["key"]

    counted: dict[Repeat, Record] = {}
    others = []
    for record in sorted(records, key=order):
        if repeat(record) in counted:
            others.append(record)
        else:
            counted[repeat(record)] = record
    return list(counted.values()), others


def _commit(record: Record) -> str:
    return record["environment"]["commit"] or ""
