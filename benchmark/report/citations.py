"""BibTeX of methods, from the `paper` that each plugin names: one entry a paper."""

import re
from dataclasses import dataclass

from ..core import plugins
from .names import title

ARXIV = re.compile(r"arXiv (?:(\d\d)\d\d\.\d{4,5})")
NUMBER = re.compile(r"arXiv (\d{4}\.\d{4,5})")
AUTHORS = re.compile(r"(?:(?P<first>[^,]+) et al\.|(?P<all>(?:\w+, )*\w+ and \w+)), ")
BESIDE = re.compile(r"arXiv [\d.]+|section [\d.]+|(?:[A-Z]\w+ )?\d{4}")  # no part of a title
YEAR = re.compile(r"\b((?:19|20)\d\d)\b")
SPECIAL = str.maketrans({c: "\\" + c for c in "&%$#_{}"} | {"\\": r"\textbackslash{}"})


@dataclass(frozen=True)
class Citation:
    """What to cite for a method.

    Attributes:
        key: of the entry; the same for methods of one paper.
        bibtex: the entry.
    """

    key: str
    bibtex: str


def citation(method: str) -> Citation | None:
    """Of a method by its name; None where it is not installed here or names no paper."""
    plugin = plugins.found(plugins.METHODS).get(method)
    paper = plugin.description.paper if plugin is not None else ""
    return parse(paper, title(method)) if paper else None


def parse(paper: str, method: str) -> Citation:
    """The entry of a paper as plugins name it: `Cui et al., Hard Labels In!, arXiv 2512.15647`.

    Args:
        method: its title, for a paper that is this project's own.
    """
    if paper.startswith("labelbench"):
        fields = {"title": f"{method}, a method of labelbench", "author": "{labelbench developers}"}
        fields["note"] = paper
        return _entry(f"labelbench-{_plain(method)}", "misc", fields)
    who = AUTHORS.match(paper)
    rest = paper[who.end() :] if who else paper
    parts = rest.split(", ")
    named = [part for part in parts if not BESIDE.fullmatch(part)]
    fields = {}
    if who:
        fields["author"] = (
            f"{who['first']} and others" if who["first"] else who["all"].replace(", ", " and ")
        )
    fields["title"] = f"{{{', '.join(named)}}}"
    number, venue = NUMBER.search(paper), [p for p in parts if re.fullmatch(r"[A-Z]\w+ \d{4}", p)]
    year = YEAR.search(NUMBER.sub("", paper))
    short = ARXIV.search(paper)
    if year or short:
        fields["year"] = year[1] if year else f"20{short[1] if short else ''}"
    if venue:
        fields["booktitle"] = venue[0]
    if number:
        fields |= {"eprint": number[1], "archiveprefix": "arXiv"}
        fields["url"] = f"https://arxiv.org/abs/{number[1]}"
    first = re.split(r"\W+", fields.get("author", named[0]))[0].lower()
    key = f"{first}{fields.get('year', '')}{_plain(named[0].split(' ')[0])}"
    return _entry(key, "inproceedings" if venue else "misc", fields)


def _entry(key: str, kind: str, fields: dict[str, str]) -> Citation:
    lines = [f"  {name} = {{{_escaped(value)}}}," for name, value in fields.items()]
    return Citation(key, "\n".join([f"@{kind}{{{key},", *lines, "}"]) + "\n")


def _escaped(value: str) -> str:
    """TeX's own characters, apart from braces that keep capitals."""
    inner = value[1:-1] if value[:1] == "{" and value[-1:] == "}" else value
    safe = inner.translate(SPECIAL)
    return f"{{{safe}}}" if inner is not value else safe


def _plain(text: str) -> str:
    return "".join(re.findall(r"[a-z0-9]+", text.lower()))
