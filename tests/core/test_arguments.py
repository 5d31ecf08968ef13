"""Arguments of another kind than a signature says."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import benchmark
from benchmark.core.arguments import typed
from benchmark.core.errors import UserError

Several = str | Iterable[str] | None


@typed
def some(
    *places: str | Path,
    several: Several = None,
    count: int = 1,
    rate: float = 1.0,
    kind: Literal["a", "b"] = "a",
    options: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> tuple[Any, ...]:
    return places, several, count, rate, kind, options, quiet


@pytest.mark.parametrize(
    "given",
    [
        {"several": "a,b"},
        {"several": ["a", "b"]},
        {"several": (each for each in "ab")},
        {"count": np.int64(3), "rate": np.float32(2)},
        {"rate": 2},
        {"kind": "c"},  # for the function to refuse
        {"options": {"a": 1}},
        {"options": None, "several": None},
    ],
    ids=range(8),
)
def test_what_fits_goes_through(given):
    assert some(Path("x"), "y", **given)[0] == (Path("x"), "y")
    assert some.__name__ == "some"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"several": 5}, "some takes several as text, a list of them or None, got 5."),
        (
            {"several": ["a", 5]},
            "some takes several as text, a list of them or None, got ['a', 5].",
        ),
        ({"count": "x"}, "some takes count as a whole number, got 'x'."),
        ({"count": True}, "some takes count as a whole number, got True."),
        ({"rate": "x"}, "some takes rate as a number, got 'x'."),
        ({"kind": 3}, "some takes kind as 'a', 'b', got 3."),
        ({"options": [1]}, "some takes options as a mapping or None, got [1]."),
        ({"quiet": 1}, "some takes quiet as True or False, got 1."),
    ],
    ids=range(8),
)
def test_what_does_not_is_a_sentence(given, said):
    with pytest.raises(UserError) as caught:
        some(**given)
    assert str(caught.value).endswith(said)


def test_each_of_several_is_looked_at():
    with pytest.raises(UserError, match="some takes places as text or a path, got 5"):
        some("x", 5)  # type: ignore[arg-type]


def test_python_says_which_names_there_are():
    with pytest.raises(TypeError, match="unexpected keyword argument 'nothing'"):
        some(nothing=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda b: b.run(work=5), "run takes work as text or a path, got 5"),
        (lambda b: b.run(seeds="x"), "run takes seeds as a whole number or None, got 'x'"),
        (lambda b: b.ship(5, "z"), "ship takes record as text, a path or a mapping, got 5"),
        (lambda b: b.open_labels(5), "open_labels takes folder as text or a path, got 5"),
        (lambda b: b.results(5), "results takes paths as text, a path or a list of them, got 5"),
        (lambda b: b.compare(1, "b"), "compare takes first as text, got 1"),
        (lambda b: b.advise("digits", 1.5), "advise takes bytes as a whole number or text"),
        (lambda b: b.reference(within=5), "reference takes within as text or None, got 5"),
        (lambda b: b.check(5), "check takes name as text, got 5"),
    ],
    ids=range(9),
)
def test_the_functions_of_notebooks(call, said):
    with pytest.raises(UserError) as caught:
        call(benchmark)
    assert said in str(caught.value)
