"""Advice: which method to take where labels may take so many bytes, from what was measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..core import plugins
from ..core.errors import UserError, unknown
from ..experiment.grid import budget_bytes
from ..records.comparison import Comparison, Row, Setting
from ..records.statistics import LEAST_PAIRS, Paired
from .leaderboard import one_line
from .pictures import family

Verdict = Literal["better", "worse", "not told apart", "too few repeats"]
Place = tuple[Comparison, str]  # a comparison, and one of its image sources
NAMES = {"dataset": "dataset", "ipc": "IPC", "student": "student", "recipe": "recipe"}
NAMES |= {"images": "image source"}
MOST_SHOWN = 3  # smallest rows that an error names


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        budget: most that the labels may take, container counted, as `--budget` of a run says it.
        without_prior: whether a public model must not be needed.
        ipc, student, recipe, images: what the answer must be for; None and empty leave them open.
            Images are an image source without its draw.
    """

    dataset: str
    budget: str
    without_prior: bool = False
    ipc: int | None = None
    student: str = ""
    recipe: str = ""
    images: str = ""

    def allows(self, row: Row) -> bool:
        """Whether a row may be advised, were there bytes enough."""
        return not (self.without_prior and row.prior)

    @property
    def most(self) -> str:
        """The budget with its unit."""
        return one_line(f"{self.budget} B" if self.budget[-1:].isdigit() else self.budget)

    @property
    def words(self) -> str:
        """All of it, in a line."""
        parts = [self.dataset, *([f"IPC {self.ipc}"] if self.ipc is not None else [])]
        parts += [self.student] if self.student else []
        parts += [f"recipe {self.recipe}"] if self.recipe else []
        parts += [f"{self.images} images"] if self.images else []
        return one_line(", ".join(parts)) + (", without a prior" if self.without_prior else "")


@dataclass(frozen=True)
class Rival:
    """A row beside the one that is advised.

    Attributes:
        pair: this row against that one, over the repeats that both have; its p is corrected for
            all pairs of the comparison.
    """

    row: Row
    pair: Paired

    @property
    def verdict(self) -> Verdict:
        """What the tests of the accuracy tables say of it."""
        if self.pair.p is None or self.pair.difference is None:
            return "too few repeats"
        if not self.pair.differ:
            return "not told apart"
        return "better" if self.pair.difference > 0 else "worse"


@dataclass(frozen=True)
class Answer:
    """What one comparison says of one image source.

    Attributes:
        comparison: which holds dataset, IPC, student, recipe, teacher and world fixed.
        budget: bytes that the question gives here.
        best: the row to take, or None where none fits: of those with at least `LEAST_PAIRS`
            repeats, or else of all, the best mean that no other one is shown to beat.
        rivals: all other rows that fit, by their means.
        more: the smallest row that does not fit and whose mean is better than that of `best`.
        too_large: the smallest row of each method none of whose rows fits, by bytes.
        needs_prior: methods that were measured, and that the question rules out.
        smallest: the row of fewest bytes that the question does not rule out, if there is one.
        unmeasured: methods without a row, that no record shows to be ruled out.
    """

    comparison: Comparison
    images: str
    budget: int
    best: Row | None
    rivals: tuple[Rival, ...]
    more: Rival | None
    too_large: tuple[Row, ...]
    needs_prior: tuple[str, ...]
    smallest: Row | None
    unmeasured: tuple[str, ...]

    @property
    def setting(self) -> Setting:
        """What the rows share."""
        return self.comparison.setting

    @property
    def rows(self) -> list[Row]:
        """All that was measured on these images here."""
        return [row for row in self.comparison.rows if row.n and row.images == self.images]

    @property
    def sure(self) -> bool:
        """Whether there are repeats enough to tell the best from others."""
        return self.best is not None and self.best.n >= LEAST_PAIRS

    @property
    def tested(self) -> bool:
        """Whether another row fits that the best could be held against; alone it says little."""
        return any(rival.verdict != "too few repeats" for rival in self.rivals)

    def of(self, verdict: Verdict) -> list[Row]:
        """The rivals of which the tests say this."""
        return [rival.row for rival in self.rivals if rival.verdict == verdict]


def advise(found: Iterable[Comparison], question: Question) -> list[Answer]:
    """An answer of each comparison and image source that was asked for, on protocol.

    None of them speaks for another. Those where something fits come first, of these those with
    repeats enough, of these those where the best was held against another row, and of these the
    most accurate.

    Raises:
        UserError: the budget is none, nothing was measured of what is asked, or nothing fits.
    """
    budget_bytes(question.budget, 1)
    found = list(found)
    priors = priors_among(found)
    answers = [answer_of(place, question, priors) for place in _asked(found, question)]
    if not any(answer.best for answer in answers):
        raise UserError(_nothing_fits(answers, question))
    return sorted(answers, key=_order)


def places_among(found: Iterable[Comparison]) -> list[Place]:
    """All that answer: image sources with records, in comparisons on protocol."""
    return [
        (comparison, images)
        for comparison in found
        if comparison.setting.on_protocol
        for images in sorted({row.images for row in comparison.rows if row.n})
    ]


def priors_among(found: Iterable[Comparison]) -> set[str]:
    """Methods that are known to need a prior, in whichever comparison."""
    return {family(row.method) for each in found for row in each.rows if row.prior}


def _asked(found: Sequence[Comparison], question: Question) -> list[Place]:
    """The places that the question is about."""
    kept = places_among(found)
    so_far: list[str] = []
    for name, spoken in NAMES.items():
        value = getattr(question, name)
        if value in (None, ""):
            continue
        there = [(_of(place, name), place) for place in kept]
        kept = [place for held, place in there if held == value]
        if not kept:
            among = f" among records of {', '.join(so_far)}" if so_far else " among the records"
            choices = {one_line(str(held)) for held, _ in there}
            raise unknown(spoken + among, str(value), choices)
        so_far.append(f"IPC {value}" if name == "ipc" else value)
    return kept


def _of(place: Place, name: str) -> str | int:
    comparison, images = place
    return images if name == "images" else getattr(comparison.setting, name)


def answer_of(where: Place, question: Question, priors: set[str]) -> Answer:
    """The answer of one place, whether it is the one that the question names or not.

    Args:
        priors: see `priors_among`.
    """
    comparison, images = where
    present = [row for row in comparison.rows if row.n]
    here = [place for place, row in enumerate(present) if row.images == images]
    allowed = [place for place in here if question.allows(present[place])]
    full = max(present[place].storage["soft"] for place in here)
    budget = budget_bytes(question.budget, full)
    fits = [place for place in allowed if present[place].storage["total"] <= budget]
    best = _best(comparison, present, fits)

    def against_best(place: int) -> Rival:
        return Rival(present[place], Paired(0) if best is None else _pair(comparison, place, best))

    above = [place for place in allowed if present[place].storage["total"] > budget]
    mean = -1.0 if best is None else present[best].accuracy[0]
    better = [place for place in above if present[place].accuracy[0] > mean]
    more = min(better, key=lambda place: present[place].storage["total"], default=None)
    fitting = {family(present[place].method) for place in fits}
    large: dict[str, Row] = {}
    for row in sorted((present[place] for place in above), key=lambda r: r.storage["total"]):
        if family(row.method) not in fitting:
            large.setdefault(family(row.method), row)
    measured = {family(present[place].method) for place in here}
    unknown_here = plugins.found(plugins.METHODS).keys() - measured
    return Answer(
        comparison,
        images,
        budget,
        None if best is None else present[best],
        tuple(against_best(place) for place in fits if place != best),
        None if more is None else against_best(more),
        tuple(large.values()),
        tuple(sorted({family(present[p].method) for p in here if p not in allowed})),
        min((present[p] for p in allowed), key=lambda r: r.storage["total"], default=None),
        tuple(sorted(unknown_here - (priors if question.without_prior else set()))),
    )


def _best(comparison: Comparison, rows: Sequence[Row], fits: Sequence[int]) -> int | None:
    """The place of the row to take; `fits` stand by their means.

    Means may be over different repeats, so one that is shown to be worse than another on those
    that both have is passed over.
    """
    enough = [place for place in fits if rows[place].n >= LEAST_PAIRS]
    beaten = {
        place
        for place in enough
        for other in enough
        if other != place
        and Rival(rows[other], _pair(comparison, other, place)).verdict == "better"
    }
    unbeaten = [place for place in enough if place not in beaten]
    return next(iter([*unbeaten, *enough, *fits]), None)


def _pair(comparison: Comparison, first: int, second: int) -> Paired:
    """Two rows by their places, in either order."""
    if first < second:
        return comparison.pairs[first, second]
    return comparison.pairs[second, first].turned


def _order(answer: Answer) -> tuple[bool, bool, bool, float, str]:
    best = answer.best
    mean = 0.0 if best is None else best.accuracy[0]
    return best is None, not answer.sure, not answer.tested, -mean, answer.setting.title


def _nothing_fits(answers: Sequence[Answer], question: Question) -> str:
    """What to say then: what is smallest, each method once."""
    words = f"Nothing that was measured of {question.words} fits in {question.most}."
    smallest: dict[str, str] = {}
    measured = [(answer.setting, answer.smallest) for answer in answers]
    for at, row in sorted(
        ((at, row) for at, row in measured if row is not None),
        key=lambda pair: (pair[1].storage["total"], pair[0].title),
    ):
        smallest.setdefault(
            row.method,
            f"{row.method} on {row.images} images, {row.storage['total']:,} B "
            f"(IPC {at.ipc}, {at.student}, recipe {at.recipe})",
        )
    if not smallest:
        return f"{words} All that was measured needs a prior."
    shown = [*smallest.values()][:MOST_SHOWN]
    return one_line(f"{words} The smallest that were measured: {'; '.join(shown)}.")
