"""Options: text and TOML values turned into checked dataclasses."""

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from .bounded import shown
from .errors import UserError, unknown

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
OptionsT = TypeVar(
    "OptionsT", bound="DataclassInstance"
)  # the options that a plugin is written for
# What options were called, by their last name; who still says so is told.
FORMER = {
    "rate": "lr",
    "label_rate": "label_lr",
    "network_rate": "network_lr",
    "inner_rate": "inner_lr",
    "course": "schedule",
    "tester": "evaluator",
}
LEAST, MOST = -(2**63), 2**64 - 1  # what tensors hold, and seeds


@dataclass(frozen=True)
class NoOptions:
    """Of a plugin that has none."""


def options_of(plugin: Any) -> "type[DataclassInstance]":
    """The dataclass that a plugin's class is written for: `Options` of `LabelSource[Options]`.

    Where a class leaves it open, as one that others derive from, its bound; where a class says
    nothing, what it inherits. A class `Options` in its body counts too.
    """
    if "Options" not in vars(plugin):
        for base in vars(plugin).get("__orig_bases__", ()):
            for argument in get_args(base):
                found = getattr(argument, "__bound__", None) or argument
                if isinstance(found, type) and is_dataclass(found):
                    return found
    return plugin.Options


def build(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """An instance of the dataclass `cls` from field values, which may be text.

    Raises:
        UserError: an unknown field, or a value that its type or the class refuses.
    """
    hints = get_type_hints(cls)
    names = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    checked = {}
    for name, value in values.items():
        if name not in names:
            raise _no_option(where, name, names)
        checked[name] = convert(value, hints[name], f"{where}.{name}")
    try:
        return cls(**checked)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}.") from error


def change(instance: T, values: Mapping[str, Any], where: str) -> T:
    """A copy of a dataclass instance with some fields changed.

    A dotted name reaches into a nested dataclass: `objective.temperature`.
    """
    hints = get_type_hints(type(instance))
    for path, value in values.items():
        name, _, rest = path.partition(".")
        if name not in hints:
            raise _no_option(where, name, [*hints])
        old = getattr(instance, name)
        if rest and not is_dataclass(old):
            raise UserError(f"{where}.{name} has no options of its own, got {where}.{path}.")
        if is_dataclass(old):
            new = change(old, {rest: value}, f"{where}.{name}")
        else:
            new = convert(value, hints[name], f"{where}.{name}")
        try:
            instance = replace(instance, **{name: new})  # type: ignore[type-var]
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: {error}.") from error
    return instance


def _no_option(where: str, name: str, names: Sequence[str]) -> UserError:
    now = FORMER.get(name)
    if now in names:
        return UserError(f"{where}.{name} is called {where}.{now} now.")
    return unknown(f"option of {where}", name, names)


def convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the type `hint` says; text is parsed.

    Raises:
        UserError: it cannot be; says which values can.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        for choice in arguments:
            if str(value) == str(choice):
                return choice
        raise unknown(f"value of {where}", str(value), [str(a) for a in arguments])
    if origin in (Union, types.UnionType):
        if value is None or (value == "none" and type(None) in arguments):
            return None
        inner = next(a for a in arguments if a is not type(None))
        return convert(value, inner, where)
    if origin is tuple:
        if not isinstance(value, str | list | tuple):
            raise UserError(f"{where} must be a list, got {shown(value)}.")
        items = value.split(",") if isinstance(value, str) else list(value)
        if arguments[-1] is Ellipsis:
            arguments = (arguments[0],) * len(items)
        if len(items) != len(arguments):
            raise UserError(f"{where} takes {len(arguments)} values, got {shown(value)}.")
        return tuple(convert(i, a, where) for i, a in zip(items, arguments, strict=True))
    if isinstance(hint, type) and is_dataclass(hint):
        if isinstance(value, hint):
            return value
        if not isinstance(value, Mapping):
            raise UserError(f"{where} must be a table of options, got {shown(value)}.")
        return build(hint, value, where)
    return _simple(value, hint, where)


def _simple(value: Any, hint: type, where: str) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() in ("true", "false"):
            return str(value).lower() == "true"
        raise UserError(f"{where} must be true or false, got {shown(value)}.")
    if hint is str and not isinstance(value, str | int | float):
        raise UserError(f"{where} must be text, got {shown(value)}.")
    if hint is int and isinstance(value, float):
        raise UserError(f"{where} must be a whole number, got {shown(value)}.")
    if hint in (int, float) and isinstance(value, bool):
        raise UserError(f"{where} must be a number, got {shown(value)}.")
    try:
        made: Any = hint(value)
    except (TypeError, ValueError, OverflowError) as error:
        kind = {int: "a whole number", float: "a number"}.get(hint, hint.__name__)
        raise UserError(f"{where} must be {kind}, got {shown(value)}.") from error
    if hint is int and not LEAST <= made <= MOST:
        raise UserError(f"{where} must be a whole number of 64 bits, got {shown(value)}.")
    if hint is float and not math.isfinite(made):
        raise UserError(f"{where} must be finite, got {shown(value)}.")
    return made
