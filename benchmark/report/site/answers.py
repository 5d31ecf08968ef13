"""What the first page answers from: the answers of `advise` at every budget, worked out here.

An answer changes only where one more row fits. So each image source of each comparison has one
answer for each size that was measured, with priors and without, and the page looks up which of
them a reader's bytes reach: it reckons nothing, so it cannot differ from the command.
"""

from collections.abc import Callable, Iterable
from typing import Any

from ...core import plugins
from ...records.comparison import Comparison, Row, Setting
from ...records.statistics import LEAST_PAIRS
from ..advice_text import repeats_of, required_option
from ..advise import Answer, Place, Question, Rival, answer_of, places_among, priors_among
from ..names import short_names, size, title
from ..pictures import family
from .text import brief, clean

VERDICTS = ("worse", "not told apart", "too few repeats", "better")
NO_ROW = -1


def answers_data(found: Iterable[Comparison], page_of: Callable[[Setting], str]) -> dict[str, Any]:
    """All answers, as JSON values.

    Args:
        page_of: the name of a comparison's page.
    """
    found = list(found)
    priors = priors_among(found)
    methods = plugins.found(plugins.METHODS)
    families = sorted({family(row.method) for each in found for row in each.rows})
    return {
        "titles": {_said(name): _said(title(name)) for name in families},
        "least": LEAST_PAIRS,
        "needs": {m: option for m in sorted(methods) if (option := required_option(m))},
        "places": [_place(place, priors, page_of) for place in places_among(found)],
    }


def _place(place: Place, priors: set[str], page_of: Callable[[Setting], str]) -> dict[str, Any]:
    comparison, images = place
    at = comparison.setting
    numbers = {row.name: number for number, row in enumerate(comparison.rows, 1)}
    rows = [row for row in comparison.rows if row.n and row.images == images]
    place_of = {row.name: index for index, row in enumerate(rows)}
    names = short_names(row.method for row in rows)
    told: dict[int, list[Any]] = {}
    free = [_stepwise(place, without, priors, place_of, told) for without in (False, True)]
    return {
        "dataset": _said(at.dataset),
        "ipc": at.ipc,
        "student": _said(at.student),
        "recipe": _said(at.recipe),
        "images": _said(images),
        "real": any(row.baseline for row in rows),
        "teacher": f"{_said(at.teacher)} ({at.teacher_accuracy:.2%})",
        "world": _said(f"{at.place}, {at.precision}"),
        "title": at.title if len(at.title) < 400 else _said(at.title),
        "page": page_of(at),
        "full": max(row.storage["soft"] for row in rows),
        "rows": [[*_row(row, names[row.method]), numbers[row.name]] for row in rows],
        "told": told,
        "with": free[0],
        "without": free[1],
    }


def _row(row: Row, name: str) -> list[Any]:
    mean, half = row.accuracy
    prior = [_said(row.prior), size(row.storage["prior"])] if row.prior else []
    total = row.storage["total"]
    return [_said(row.method, 200), _said(name), mean, half, row.n, row.asked, total, prior]


def _stepwise(
    place: Place,
    without_prior: bool,
    priors: set[str],
    place_of: dict[tuple[str, str], int],
    told: dict[int, list[Any]],
) -> dict[str, Any]:
    """The answers from few bytes to many, each with the bytes from which it holds.

    Args:
        told: of each row that is best somewhere, what its repeats were, and what the tests say of
            the others against it; added to.
    """
    comparison, images = place
    rows = [row for row in comparison.rows if row.n and row.images == images]
    sizes = sorted({1, *(row.storage["total"] for row in rows)} - {0})

    def index(row: Row | None) -> int:
        return NO_ROW if row is None else place_of[row.name]

    steps = []
    answer = None
    for budget in sizes:
        asked = Question(comparison.setting.dataset, str(budget), without_prior)
        answer = answer_of(place, asked, priors)
        best = index(answer.best)
        steps.append(
            [
                budget,
                best,
                index(answer.more and answer.more.row),
                [index(rival.row) for rival in answer.rivals],
                [index(row) for row in answer.too_large],
                index(answer.smallest),
            ]
        )
        if answer.best is not None:
            _tell(told, answer, answer.best, place_of)
    assert answer is not None  # a place has rows, so there is a size
    return {
        "steps": steps,
        "ruled": [_said(name) for name in answer.needs_prior],
        "unmeasured": [_said(name) for name in answer.unmeasured],
    }


def _tell(
    told: dict[int, list[Any]], answer: Answer, best: Row, place_of: dict[tuple[str, str], int]
) -> None:
    _, pairs = told.setdefault(place_of[best.name], [repeats_of(best), {}])
    for rival in (*answer.rivals, *([answer.more] if answer.more is not None else [])):
        pairs[place_of[rival.row.name]] = _against(rival)


def _against(rival: Rival) -> list[Any]:
    """What the tests say of a row against the one that is advised: verdict, difference, half."""
    return [VERDICTS.index(rival.verdict), rival.pair.difference, rival.pair.half]


def _said(text: str, most: int = 120) -> str:
    return brief(clean(text), most)
