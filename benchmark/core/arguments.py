"""Arguments of functions that notebooks call: of the kinds that their signatures say."""

import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from .bounded import shown
from .errors import UserError

F = TypeVar("F", bound=Callable[..., Any])
KINDS: dict[Any, tuple[str, type[Any] | tuple[type[Any], ...]]] = {
    str: ("text", str),
    Path: ("a path", os.PathLike),
    bool: ("True or False", bool),
    int: ("a whole number", Integral),
    float: ("a number", Real),
    NoneType: ("None", NoneType),
}


def typed(function: F) -> F:
    """The function; arguments of another kind than its signature says are a sentence.

    Numbers of other libraries count as numbers. What a kind may hold, such as one of a few words,
    is for the function to say.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def call(*positional: Any, **named: Any) -> Any:
        for name, value in signature.bind(*positional, **named).arguments.items():
            parameter = signature.parameters[name]
            values = value if parameter.kind is parameter.VAR_POSITIONAL else [value]
            for each in values:
                if not _fits(each, parameter.annotation):
                    kinds = list(dict.fromkeys(_words(parameter.annotation)))
                    told = " or ".join(filter(None, [", ".join(kinds[:-1]), kinds[-1]]))
                    raise UserError(
                        f"{function.__name__} takes {name} as {told}, got {shown(each)}."
                    )
        return function(*positional, **named)

    return call  # type: ignore[return-value]


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of a kind."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _fits(value, inner[0])
    if origin in (Union, UnionType):
        return any(_fits(value, each) for each in inner)
    if origin is Literal:
        return any(_fits(value, type(each)) for each in inner)
    if origin is None:
        if isinstance(value, bool) and hint in (int, float):
            return False
        return hint not in KINDS or isinstance(value, KINDS[hint][1])
    if isinstance(value, str) or not isinstance(value, origin):
        return False
    listed = isinstance(value, list | tuple) and len(inner) == 1
    return not listed or all(_fits(each, inner[0]) for each in value)


def _words(hint: Any) -> Iterable[str]:
    """A kind's names, in sentences."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        yield from _words(inner[0])
    elif origin in (Union, UnionType):
        for each in sorted(inner, key=lambda kind: kind is NoneType):
            yield from _words(each)
    elif origin is Literal:
        yield ", ".join(map(repr, inner))
    elif origin is not None:
        yield "a mapping" if issubclass(origin, Mapping) else "a list of them"
    else:
        yield KINDS[hint][0] if hint in KINDS else getattr(hint, "__name__", str(hint))
