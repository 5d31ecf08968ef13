"""How a field of a dataclass is given on the command line, and written as a command again."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from .errors import UserError


@dataclass(frozen=True)
class Option:
    """A field's option; it stands in the field's `Annotated` type.

    Attributes:
        help: one line.
        name: without the dashes; the field's own if empty.
        kind: `text` or `number`, one value; `list`, values with commas between; `flag`, `--NAME`
            or `--no-NAME`; `pairs`, `NAME=VALUE`, given again for each.
    """

    help: str
    name: str = ""
    kind: Literal["text", "number", "list", "flag", "pairs"] = "text"

    def parse(self, given: Any) -> Any:
        """What was given on the command line, as a config file would say it."""
        if self.kind == "list":
            return split_outside_brackets(given)
        if self.kind == "pairs":
            return dict(_pair(text, self.name) for text in given)
        return given

    def take(self, given: Any) -> Any:
        """What was given in Python, as the command line would give it: lists and texts alike."""
        if self.kind == "list":
            return listed(given)
        if self.kind == "pairs":
            if isinstance(given, Mapping):
                return {name: in_words(value) for name, value in given.items()}
            return self.parse([given] if isinstance(given, str) else given)
        return given

    def words(self, value: Any) -> Iterator[str]:
        """The words of a command that gives this value."""
        if self.kind == "flag":
            yield f"--{'' if value else 'no-'}{self.name}"
        elif self.kind == "pairs":
            for name, each in value.items():
                yield from (f"--{self.name}", f"{name}={each}")
        else:
            text = ",".join(map(str, value)) if self.kind == "list" else str(value)
            yield from (f"--{self.name}", text)


@cache
def options_of(cls: type[Any]) -> Mapping[str, Option]:
    """The options of a dataclass's fields, by the fields' names."""
    found = {}
    hints = get_type_hints(cls, include_extras=True)
    for field in fields(cls):
        for extra in get_args(hints[field.name])[1:] if is_annotated(hints[field.name]) else ():
            if isinstance(extra, Option):
                name = extra.name or field.name.replace("_", "-")
                found[field.name] = Option(extra.help, name, extra.kind)
    return found


def is_annotated(hint: Any) -> bool:
    """Whether a type is `Annotated[...]`."""
    return get_origin(hint) is Annotated


def command(program: str, cls: type[Any], values: Mapping[str, Any]) -> list[str]:
    """A program with the options that give these values, each option one text for a shell."""
    lines = [program]
    for name, option in options_of(cls).items():
        if values.get(name) not in (None, "", (), [], {}):
            words = [*option.words(values[name])]
            step = 1 if option.kind == "flag" else 2
            for start in range(0, len(words), step):
                lines.append(" ".join(shlex.quote(word) for word in words[start : start + step]))
    return lines


def listed(given: Any) -> list[str]:
    """One value, several, or text with commas between, as texts."""
    if isinstance(given, str):
        return split_outside_brackets(given)
    several = given if isinstance(given, Iterable) else [given]
    return [in_words(each) for each in several]


def in_words(value: Any) -> str:
    """A value of an option as a command line has it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(in_words, value))
    return str(value)


def split_outside_brackets(text: str) -> list[str]:
    """`hello,lpqld[k=2,keep=0.1]` at the commas outside brackets."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip()]


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise UserError(f"--{option} takes NAME.OPTION=VALUE, got {text!r}.")
    return name.strip(), value.strip()
