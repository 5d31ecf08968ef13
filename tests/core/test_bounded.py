from typing import Annotated

import pytest
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from benchmark.core.bounded import loads, parse, short
from benchmark.core.errors import UserError


@with_config(ConfigDict(strict=True, extra="forbid"))
class Inner(TypedDict):
    count: Annotated[int, Field(ge=1, le=1000)]
    names: Annotated[list[str], Field(max_length=2)]


@with_config(ConfigDict(strict=True, extra="forbid"))
class Outer(TypedDict):
    inner: Inner
    share: float


ADAPTER = TypeAdapter(Outer)


def test_json_comes_back():
    assert loads('{"a": [1, 2.5, "é", null, true]}'.encode()) == {"a": [1, 2.5, "é", None, True]}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "no JSON"),
        (b"\xff", "utf-8"),
        (b"[NaN]", "NaN is no number"),
        (b"[-Infinity]", "-Infinity is no number"),
        (b"1e999", "too large"),
        (b"9" * 5000, "no JSON"),
        (b'{"a": 1, "a": 2}', "a name stands twice"),
        (b"[" * 50 + b"]" * 50, "nested too deeply"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a' + b"\\ud800" + b'": 1}', "half a character"),
    ],
    ids=range(10),
)
def test_surprises_are_refused_in_one_short_line(raw, words):
    with pytest.raises(UserError, match=words) as caught:
        loads(raw)
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("inner", "words"),
    [
        ({"count": 3}, r"x\.inner\.names is missing"),
        ({"count": 0, "names": []}, r"x\.inner\.count must be at least 1, got 0"),
        ({"count": 1001, "names": []}, r"x\.inner\.count must be at most 1,000, got 1001"),
        ({"count": True, "names": []}, r"x\.inner\.count must be a whole number, got True"),
        ({"count": 1, "names": "ab"}, r"x\.inner\.names must be a list, got 'ab'"),
        ({"count": 1, "names": ["a"] * 3}, r"x\.inner\.names must have at most 2 entries$"),
        ({"count": 1, "names": [1]}, r"x\.inner\.names\.0 must be text, got 1"),
        ({"count": 1, "names": [], "n\nm": 1}, r"x\.inner\.n m is no field of it$"),
        ([], r"x\.inner must be an object, got \[\]"),
        ({"count": "9" * 10**6, "names": []}, r"must be a whole number, got '9{50,60}"),
        ({}, r"is missing; .* is missing$"),
    ],
    ids=range(11),
)
def test_a_schemas_errors_are_sentences(inner, words):
    with pytest.raises(UserError, match=words) as caught:
        parse(ADAPTER, {"inner": inner, "share": 1}, "x")
    assert len(str(caught.value)) < 250


def test_many_errors_are_summed_up():
    four = TypeAdapter(tuple[list[int], list[int], list[int], list[int]])
    with pytest.raises(UserError, match=r"^0 must be a list, got 3; 1 .*; 2 .*; and 1 more$"):
        parse(four, (3, 3, 3, 3))


def test_short_text_is_one_line():
    assert short("a\nb\x1b") == "a b "
    assert len(short("x" * 100)) == 60
