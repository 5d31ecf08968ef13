"""What others wrote, read strictly: plain JSON, and schemas whose errors are sentences."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from .errors import UserError

T = TypeVar("T")

DEEPEST = 30
SHOWN = 3  # errors of one value
LONGEST = 60  # characters of a wrong value
WORDS = {  # of pydantic's kinds of errors, with what they know
    "missing": "is missing",
    "extra_forbidden": "is no field of it",
    "unexpected_keyword_argument": "is no field of it",
    "value_error": "{error}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be finite",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text, and whole characters",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length:,} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
    "none_required": "must be null",
    "too_short": "must have at least {min_length:,} entries",
    "too_long": "must have at most {max_length:,} entries",
    "greater_than_equal": "must be at least {ge:,}",
    "less_than_equal": "must be at most {le:,}",
}
SILENT = {  # where the value says nothing
    "missing",
    "extra_forbidden",
    "unexpected_keyword_argument",
    "too_short",
    "too_long",
    "string_too_long",
}


def read(path: Path, most: int) -> bytes:
    """The bytes of a file, which must be a plain one and not be long.

    Raises:
        UserError: it is neither.
    """
    if not path.is_file():  # a pipe would never end
        raise UserError("no plain file")
    with path.open("rb") as file:
        raw = file.read(most + 1)
    if len(raw) > most:
        raise UserError(f"longer than {most:,} bytes")
    return raw


def loads(raw: bytes) -> Any:
    """JSON of a stranger: UTF-8, finite numbers, whole characters, no name twice, not deep.

    Raises:
        UserError: it is none.
    """
    value = plain(raw)
    _walk(value, 0)
    return value


def plain(raw: bytes) -> Any:
    """JSON of a stranger that may be large, so that its values are not looked at one by one.

    Raises:
        UserError: it is none, or a name stands twice in an object.
    """
    try:
        return json.loads(raw.decode(), parse_constant=_refuse, object_pairs_hook=_once)
    except RecursionError:
        raise UserError("no JSON: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"no JSON: {short(str(error), 200)}") from None


def parse(adapter: TypeAdapter[T], value: Any, where: str = "") -> T:
    """A value as a schema has it.

    Args:
        where: what stands before the names of its fields in errors.

    Raises:
        UserError: it does not fit, with the first few reasons.
    """
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        found = error.errors(include_url=False)
        said = [_sentence(one, where) for one in found[:SHOWN]]
        more = [f"and {len(found) - SHOWN} more"] * (len(found) > SHOWN)
        raise UserError("; ".join([*said, *more])) from None


def short(text: str, most: int = LONGEST) -> str:
    """Text in one line that is not long."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."


def shown(value: Any) -> str:
    """A wrong value as errors show it, whatever it is."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"
    if isinstance(value, list | tuple):
        rest = ["..."] * (len(value) > SHOWN)
        return short(f"[{', '.join([*map(shown, value[:SHOWN]), *rest])}]")
    return short(repr(value[:LONGEST] if isinstance(value, str) else value))


def _sentence(error: Any, where: str) -> str:
    path = ".".join([*([where] if where else []), *map(str, error["loc"])]) or "it"
    words = WORDS.get(error["type"])
    words = error["msg"] if words is None else words.format(**error.get("ctx", {}))
    got = "" if error["type"] in SILENT else f", got {shown(error['input'])}"
    return f"{short(path, 200)} {words}{got}"


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return made


def _walk(value: Any, depth: int) -> None:
    """Refuse what JSON may say and no reader of ours can use."""
    if depth > DEEPEST:
        raise UserError("no JSON: nested too deeply")
    if isinstance(value, dict):
        for name, item in value.items():
            _walk(name, depth)
            _walk(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _walk(item, depth + 1)
    elif isinstance(value, str):
        if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            raise UserError(f"no JSON: half a character in {short(value)!r}")
    elif isinstance(value, float) and not math.isfinite(value):
        raise UserError("no JSON: a number is too large")
