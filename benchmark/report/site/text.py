"""Text of the site. Records may come from anyone, so no text of theirs is trusted."""

import hashlib
import html
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from markupsafe import Markup, escape

from ...records.record import Record, world_digest

# Control characters, those that turn the direction of writing, and halves of characters.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
PAPER = re.compile(r"arXiv (\d{4}\.\d{4,5})")


def clean(text: str) -> str:
    """Text in which nothing is hidden and nothing turns round what follows."""
    return text if text.isprintable() else UNSEEN.sub("\ufffd", text)


def shown(value: Any) -> Any:
    """What templates show of a value; autoescape does the rest."""
    return clean(value) if type(value) is str else value


def brief(text: str, most: int = 90) -> str:
    """Not longer than `most` characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def file_name(words: str, identity: Any) -> str:
    """Of a page: plain words, and a digest of all that tells it from others."""
    plain = "-".join(re.findall(r"[a-z0-9]+", words.lower()))[:60].strip("-")
    code = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:10]
    return f"{plain}-{code}" if plain else code


def record_name(record: Record) -> str:
    """Of a record's page: its key and world."""
    key, world = record["key"], world_digest(record["world"])
    return f"{key}-{world}" if re.fullmatch("[0-9a-f]{24}", key) else file_name(world, key)


def data(value: Any) -> Markup:
    """JSON to stand inside a script element, whatever it holds."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def short(value: float) -> float | None:
    """Five significant digits; None where JSON has no word for it."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def interval(mean: float, half: float | None) -> str:
    """An accuracy in %, with half of its interval where there is one."""
    return f"{100 * mean:.2f}" + ("" if half is None else f" ± {100 * half:.2f}")


def ratio(full: int, total: int) -> str:
    """How much smaller than all soft labels."""
    return f"{full / total:.1f}×" if total else "–"


def inline(text: str) -> Markup:
    """A line of a docstring: papers on arXiv are links, and what backquotes hold is code."""
    safe = re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(clean(text))))
    return Markup(PAPER.sub(r'<a href="https://arxiv.org/abs/\1">arXiv \1</a>', safe))


def prose(docstring: str) -> Markup:
    """The paragraphs and lists of a docstring."""
    made = []
    for block in re.split(r"\n\s*\n|\n(?=- )", docstring):
        tag = "li" if block.startswith("- ") else "p"
        made.append(f"<{tag}>{inline(block.removeprefix('- '))}</{tag}>")
    return Markup(re.sub(r"(?:<li>.*?</li>)+", r"<ul>\g<0></ul>", "".join(made), flags=re.DOTALL))


def facts(values: dict[str, Any]) -> Markup:
    """Nested JSON values as rows of a table; here, as a template takes twice as long for it."""
    row = '<tr><th scope="row">{}</th><td>{}</td></tr>\n'
    found = (map(html.escape, map(clean, fact)) for fact in _flat(values, ""))
    return Markup("".join(row.format(*fact) for fact in found))


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Names with dots, and texts."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        rest = ", …" if len(value) > 40 else ""
        return ", ".join(map(_plain, value[:40])) + rest
    return str(value)
