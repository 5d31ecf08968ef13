"""What to cite for what stands in a table, as BibTeX.

A plugin says it in its `paper`. Papers that `papers.bib` knows by their arXiv number have a whole
entry there; of any other one the plugin's words make up the title.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ..core import plugins
from ..core.plugins import Kind
from .latex import escaped

OWN = "labelbench"  # as papers of this suite's own methods begin, and the key of its entry


@dataclass(frozen=True)
class Entry:
    """One paper.

    Attributes:
        key: for `\\cite`.
        text: in BibTeX.
    """

    key: str
    text: str


@cache
def known() -> dict[str, Entry]:
    """The entries of `papers.bib`, by their arXiv numbers; this suite's own by its key."""
    text = files("benchmark.report").joinpath("papers.bib").read_text(encoding="utf-8")
    made = {}
    for entry in re.findall(r"^@.*?^}$", text, re.DOTALL | re.MULTILINE):
        key = entry.partition("{")[2].partition(",")[0]
        number = re.search(r"eprint *= *\{(.*?)\}", entry)
        made[number[1] if number else key] = Entry(key, entry)
    return made


def cited(kind: Kind, name: str) -> list[Entry]:
    """What a plugin asks to be cited; nothing of one that is not here or asks for nothing."""
    plugin = plugins.found(kind).get(name)
    paper = str(plugin.literal("paper", "")) if plugin is not None else ""
    if not paper:
        return []
    if paper.startswith(OWN):
        return [known()[OWN]]
    found = [known()[n] for n in re.findall(r"\d{4}\.\d{4,5}", paper) if n in known()]
    if found:
        return list(dict.fromkeys(found))
    key = "-".join([kind.name.replace(" ", "-"), re.sub(r"[^A-Za-z0-9]+", "-", name)])
    title = f"  title = {{{{{escaped(paper)}}}}},\n"
    return [Entry(key, f"@misc{{{key},\n  key   = {{{key}}},\n{title}}}")]


def bibliography(entries: Iterable[Entry]) -> str:
    """A `.bib` file, each entry once, by its key."""
    by_key = {entry.key: entry.text for entry in entries}
    return "\n\n".join(by_key[key] for key in sorted(by_key)) + "\n"
