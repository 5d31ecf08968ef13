"""Whether JSON values are what a TypedDict says, told field by field."""

import math
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict


def mismatches(value: Any, kind: Any, where: str = "") -> Iterator[str]:
    """How a value differs from a type: a TypedDict, a list, a dict, a union or a plain type."""
    if is_typeddict(kind):
        if not isinstance(value, Mapping):
            yield f"{where or 'record'} is no object"
            return
        hints = get_type_hints(kind)
        for name in sorted(kind.__required_keys__ - value.keys()):
            yield f"{_inside(where, name)} is missing"
        for name in sorted(value.keys() - hints.keys()):
            yield f"{_inside(where, name)} is no field of a record"
        for name in sorted(value.keys() & hints.keys()):
            yield from mismatches(value[name], hints[name], _inside(where, name))
    elif get_origin(kind) is list:
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for item in value:
            wrong = [*mismatches(item, get_args(kind)[0], f"an item of {where}")]
            if wrong:
                yield wrong[0]
                return
    elif get_origin(kind) is dict:
        if not isinstance(value, dict):
            yield f"{where} is no object"
            return
        for name, item in value.items():
            yield from mismatches(item, get_args(kind)[1], _inside(where, name))
    elif kind is not Any and not _is(value, kind):
        yield f"{where} is {value!r}, no {_words(kind)}"


def _inside(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _is(value: Any, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_is(value, one) for one in get_args(kind))
    if kind is float:
        kind = (int, float)  # JSON writes 1.0 as it likes
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _words(kind: Any) -> str:
    kinds = get_args(kind) or (kind,)
    return " or ".join("null" if one is NoneType else one.__name__ for one in kinds)


def infinite(value: Any, where: str = "") -> Iterator[str]:
    """Numbers anywhere that are not finite."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from infinite(item, _inside(where, name))
    elif isinstance(value, list):
        if any(isinstance(item, float) and not math.isfinite(item) for item in value):
            yield f"{where} has numbers that are not finite"
        for item in value:
            if not isinstance(item, float):
                yield from infinite(item, where)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{where} is not finite: {value}"
