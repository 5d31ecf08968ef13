"""What `compare` and `advise` answer, as JSON values: numbers as they are, None where none."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from .advise import Answer, Question, Rival
from .compare import Pair
from .names import short_name
from .tables import row_values, setting_values


def of_pairs(pairs: Iterable[Pair]) -> list[dict[str, Any]]:
    """Two rows each, the first against the second; p is corrected for all of them."""
    return [
        {
            "setting": setting_values(pair.setting),
            "first": row_values(pair.first),
            "second": row_values(pair.second),
            **asdict(pair.pair),
            "verdict": pair.verdict,
        }
        for pair in pairs
    ]


def of_advice(answers: Sequence[Answer], question: Question) -> dict[str, Any]:
    """The answers of all comparisons that were asked, the surest first."""
    return {"question": asdict(question), "answers": [_answer(answer) for answer in answers]}


def _answer(answer: Answer) -> dict[str, Any]:
    best = answer.best
    return {
        "setting": setting_values(answer.setting),
        "images": answer.images,
        "budget": answer.budget,
        "sure": answer.sure,
        "best": None if best is None else {"name": short_name(best.method), **row_values(best)},
        "rivals": [_rival(rival) for rival in answer.rivals],
        "more": None if answer.more is None else _rival(answer.more),
        "too_large": [row_values(row) for row in answer.too_large],
        "needs_prior": list(answer.needs_prior),
        "unmeasured": list(answer.unmeasured),
    }


def _rival(rival: Rival) -> dict[str, Any]:
    row, pair = row_values(rival.row), asdict(rival.pair)
    return {"name": short_name(rival.row.method), **row, "pair": pair, "verdict": rival.verdict}
