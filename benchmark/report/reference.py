"""The ledger of reproductions: published figures, ours beside them, and what became of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..records.comparison import comparisons
from ..records.record import Record
from ..records.statistics import mean_interval
from .columns import Raw

if TYPE_CHECKING:
    from ..experiment.reference import AccuracyCell


@dataclass(frozen=True)
class Line:
    """One published figure.

    Attributes:
        published, ours: as they are shown, with their units; ours is empty where it is owed.
        difference: ours less the published one; empty where it is owed.
        verdict: `met`, `differs` or `owed`.
        cause: of a difference; for what is owed, where it can be measured.
        command: what measures it; empty for what is computed from sizes.
        numbers: published, ours, n, difference and width for programs, with the unit of both.
    """

    kind: str
    name: str
    published: str
    ours: str
    n: str
    difference: str
    width: str
    verdict: str
    cause: str
    source: str
    command: str = ""
    numbers: Mapping[str, Raw] = field(default_factory=dict)


def ledger(records: Sequence[Record]) -> list[Line]:
    """All published figures, accuracies first."""
    from ..experiment.reference import accuracies  # takes torch's seconds to import

    return [*(accuracy_line(cell, records) for cell in accuracies()), *storage_lines()]


def of_cell(cell: "AccuracyCell", records: Sequence[Record]) -> list[Record]:
    """The records that are ours of a published accuracy, on protocol, one a repeat.

    Those of several teachers, precisions or worlds are not thrown together: the most count.
    """
    named = [
        record
        for record in records
        if record["on_protocol"]
        and all(record["cell"].get(name) == value for name, value in cell.record.items())
    ]
    rows = [row.records for comparison in comparisons(named) for row in comparison.rows]
    return list(max(rows, key=len, default=()))


def accuracy_line(cell: "AccuracyCell", records: Sequence[Record]) -> Line:
    """A published accuracy beside ours."""
    ours = of_cell(cell, records)
    published = f"{cell.published:.1f} %"
    if cell.interval is not None:
        published = f"{cell.published:.1f} ± {cell.interval:.1f} %"
    shared = {
        "kind": "accuracy",
        "name": cell.name,
        "published": published,
        "width": f"{cell.width:g}",
        "source": cell.source,
        "command": cell.command,
    }
    if not ours:
        where = f"about {cell.minutes:g} min of one core" if cell.minutes else "wants a GPU"
        owed = _numbers(cell.published, None, "%", cell.width, 0)
        return Line(
            **shared, ours="", n="0", difference="", verdict="owed", cause=where, numbers=owed
        )
    mean, half = mean_interval([100 * r["result"]["accuracy"] for r in ours])
    shown = f"{mean:.1f} %" if half is None else f"{mean:.1f} ± {half:.1f} %"
    gap = mean - cell.published
    met = abs(gap) <= cell.width
    told = cell.cause if not met else ""
    return Line(
        **shared,
        ours=shown,
        n=str(len(ours)),
        difference=f"{gap:+.1f}",
        verdict="met" if met else "differs",
        cause=told,
        numbers=_numbers(cell.published, mean, "%", cell.width, len(ours)),
    )


def _numbers(
    published: float, ours: float | None, unit: str, width: float | None, n: int | None
) -> Mapping[str, Raw]:
    return {
        "published": published,
        "ours": ours,
        "unit": unit,
        "n": n,
        "difference": None if ours is None else ours - published,
        "width": width,
    }


def storage_lines() -> list[Line]:
    """The published sizes beside ours."""
    from ..experiment.reference import storage

    lines = []
    for cell in storage():
        claim = cell.claim
        digits = max(claim.digits, 0) if claim.digits >= 0 else 1
        lines.append(
            Line(
                kind="storage",
                name=claim.name if len(claim.ipc) == 1 else f"{claim.name}, IPC {cell.ipc}",
                published=f"{cell.published:g} {claim.unit}",
                ours=f"{cell.ours:.{digits + 1}f} {claim.unit}",
                n="",
                difference=f"{cell.ours / cell.published - 1:+.1%}",
                width="3 %" if claim.digits < 0 else f"{claim.digits} digits",
                verdict="met" if cell.met else "differs",
                cause=claim.cause,
                source=claim.source,
                numbers=_numbers(cell.published, cell.ours, claim.unit, None, None),
            )
        )
    return lines


def as_markdown(lines: Sequence[Line]) -> str:
    """Two tables, for documents."""
    parts = []
    for kind, note in NOTES.items():
        rows = [
            {
                "figure": line.name,
                "published": line.published,
                "ours": line.ours or "-",
                **({"n": line.n} if kind == "accuracy" else {}),
                "difference": line.difference or "-",
                "width": line.width,
                "verdict": line.verdict,
                "cause": line.cause or "-",
            }
            for line in lines
            if line.kind == kind
        ]
        parts.append(f"### {kind.capitalize()}\n\n{_pipe(rows)}\n\n{note}\n")
    owed = [f"    {line.command}" for line in lines if line.verdict == "owed"]
    if owed:
        parts.append("Owed, with the commands that measure them:\n\n" + "\n".join(owed) + "\n")
    return "\n".join(parts)


NOTES = {
    "accuracy": (
        "Published top-1 accuracy, and ours after the last epoch with half of the 95 % t interval "
        "over n repeats (draws of the images, and students' seeds). `met`: within the width, in "
        "points."
    ),
    "storage": (
        "Reckoned from sizes alone, as the papers count: files on disk in blocks of 4 KiB. `met`: "
        "equal to the published figure as it is written, or within 3 % where it is a round one."
    ),
}


def _pipe(rows: Sequence[dict[str, str]]) -> str:
    import pandas as pd

    return pd.DataFrame(rows).to_markdown(index=False, tablefmt="pipe", disable_numparse=True)
