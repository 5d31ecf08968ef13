"""Advice: which method to take where labels may take so many bytes, from what was measured."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..core import plugins
from ..core.command import command
from ..core.errors import UserError
from ..experiment.grid import Grid
from ..records.comparison import Comparison, Row, Setting
from ..records.statistics import LEAST_PAIRS
from .leaderboard import one_line
from .pictures import family


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        bytes: most that the labels may take, container counted.
        without_prior: whether a public model must not be needed.
        ipc, student, recipe: what the answer must be for; None and empty leave them open.
    """

    dataset: str
    bytes: int
    without_prior: bool = False
    ipc: int | None = None
    student: str = ""
    recipe: str = ""

    def asks(self, at: Setting) -> bool:
        """Whether a comparison answers it."""
        return (
            at.dataset == self.dataset
            and self.ipc in (None, at.ipc)
            and self.student in ("", at.student)
            and self.recipe in ("", at.recipe)
            and at.on_protocol
        )

    def allows(self, row: Row) -> bool:
        """Whether a row may be the answer."""
        return row.storage["total"] <= self.bytes and not (self.without_prior and row.prior)


@dataclass(frozen=True)
class Answer:
    """What one comparison says.

    Attributes:
        best: the row with the best mean that fits; None where none fits.
        as_good: rows that fit, and that are not shown to be worse than it.
        more: the smallest row with a better mean that does not fit, if there is one.
        smallest: the bytes of the smallest row.
        unmeasured: methods that have no row at all.
        measure: the command that measures those within the bytes.
    """

    setting: Setting
    best: Row | None
    as_good: tuple[Row, ...]
    more: Row | None
    smallest: int
    unmeasured: tuple[str, ...]
    measure: str

    def text(self) -> str:
        """For the terminal."""
        lines = [one_line(self.setting.title)]
        if self.best is None:
            lines.append(
                f"  nothing that was measured fits; the smallest takes {self.smallest:,} B"
            )
        else:
            lines.append(f"  take {_told(self.best)}")
            if self.best.n < LEAST_PAIRS:
                lines.append("  too few repeats to say how sure that is")
            lines += [f"  not shown to be worse: {_told(row)}" for row in self.as_good]
        if self.more is not None:
            lines.append(f"  with more bytes: {_told(self.more)}")
        if self.unmeasured:
            lines.append(f"  never measured here: {', '.join(self.unmeasured)}; by")
            lines.append(f"    {self.measure}")
        return "\n".join(lines)


def advise(found: Iterable[Comparison], question: Question) -> list[Answer]:
    """An answer of each comparison that was asked for; those of other settings do not mix.

    Those where something fits come first, the most accurate before the others.

    Raises:
        UserError: there is no such comparison.
    """
    found = list(found)
    asked = [comparison for comparison in found if question.asks(comparison.setting)]
    if not asked:
        there = sorted({_place(comparison.setting) for comparison in found})
        raise UserError(
            f"Nothing was measured of {_wanted(question)}. There are: {'; '.join(there)}."
        )
    made = [_answer(comparison, question) for comparison in asked]
    return sorted(made, key=lambda answer: -answer.best.accuracy[0] if answer.best else 1.0)


def _answer(comparison: Comparison, question: Question) -> Answer:
    rows = [row for row in comparison.rows if row.n]
    fitting = [place for place, row in enumerate(rows) if question.allows(row)]
    best = fitting[0] if fitting else None  # rows stand best first
    as_good = [
        rows[place]
        for place in fitting[1:]
        if best is not None
        and not comparison.pairs[best, place].differ
        and rows[place].n >= LEAST_PAIRS
    ]
    better = rows if best is None else rows[:best]
    more = [
        row
        for row in better
        if row.storage["total"] > question.bytes and not (question.without_prior and row.prior)
    ]
    measured = {family(row.method) for row in rows}
    unmeasured = sorted(plugins.found(plugins.METHODS).keys() - measured)
    return Answer(
        comparison.setting,
        None if best is None else rows[best],
        tuple(as_good),
        min(more, key=lambda row: row.storage["total"], default=None),
        min(row.storage["total"] for row in rows),
        tuple(unmeasured),
        _command(comparison, unmeasured, question.bytes),
    )


def _told(row: Row) -> str:
    """A row in a line: what, how good, how large."""
    mean, half = row.accuracy
    sure = "" if half is None else f" ± {100 * half:.1f}"
    prior = f", beside {one_line(row.prior)} ({row.storage['prior']:,} B)" if row.prior else ""
    return (
        f"{one_line(row.method)} on {one_line(row.images)} images: {100 * mean:.1f}{sure} % "
        f"(n = {row.n}), {row.storage['total']:,} B{prior}"
    )


def _place(at: Setting) -> str:
    return f"{at.dataset}, IPC {at.ipc}, {at.student}, recipe {at.recipe}"


def _wanted(question: Question) -> str:
    parts = [question.dataset]
    parts += [f"IPC {question.ipc}"] if question.ipc is not None else []
    parts += [question.student] if question.student else []
    parts += [f"recipe {question.recipe}"] if question.recipe else []
    return ", ".join(parts)


def _command(comparison: Comparison, methods: list[str], budget: int) -> str:
    at, one = comparison.setting, comparison.records[0]
    images = {r["cell"]["images"] for r in comparison.records if not r["roles"]["baseline"]}
    asked = {
        "dataset": at.dataset,
        "images": sorted(images) or [one["cell"]["images"]],
        "ipc": [at.ipc],
        "methods": methods,
        "budgets": [str(budget)],
        "students": [at.student],
        "recipe": at.recipe,
        "teacher": at.teacher,
        "set": one["inputs"].get("set", {}),
    }
    return " ".join(command("python -m benchmark run", Grid, asked))
