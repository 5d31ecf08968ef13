"""The page of all plugins: what each says of itself, read from its source as text."""

import re
from pathlib import Path

from benchmark.core import plugins
from benchmark.core.files import write_atomic
from benchmark.core.plugins import Plugin

HEAD = """# Catalogue

Every method, dataset, image source, network and recipe of this version: what it is, whom to cite,
and its options, which stand in brackets behind its name (`lpqld[k=10]`) or in `--set lpqld.k=10`.
`python -m benchmark list NAME` prints the same, of installed plugins too.
"""


def write(page: Path) -> None:
    """Write the page, where it would differ."""
    text = catalogue()
    if not page.is_file() or page.read_text(encoding="utf-8") != text:
        write_atomic(page, text.encode())


def catalogue() -> str:
    """All built-in plugins, by kind."""
    parts = [HEAD]
    for kind in plugins.KINDS:
        parts.append(f"## {kind.plural.capitalize()}\n\nChosen with `{kind.option}`.\n")
        found = sorted(plugins.found(kind).items())
        parts += [_entry(plugin) for _, plugin in found if plugin.builtin]
    return "\n".join(parts)


def _entry(plugin: Plugin) -> str:
    told = plugin.description
    lines = [f"### `{plugin.name}`", "", *_prose(told.about), ""]
    if told.paper:
        lines += [f"Source: {told.paper}.", ""]
    deviations = plugin.literal("deviations", ())
    lines += [f"- {sentence}" for sentence in deviations] + [""] * bool(deviations)
    if told.options:
        lines += ["| option | type | default | |", "|---|---|---|---|"]
        lines += [
            f"| `{o.name}` | {_code(o.kind)} | {_code(o.default)} | {_cell(o.about)} |"
            for o in told.options
        ]
    return "\n".join(lines).rstrip() + "\n"


def _prose(docstring: str) -> list[str]:
    """Paragraphs and lists of a docstring; a table of spaces stays as it is."""
    lines: list[str] = []
    for paragraph in docstring.split("\n\n"):
        if re.search(r"\S {3,}\S", paragraph):
            lines += ["```", paragraph, "```", ""]
        else:
            lines += [paragraph, ""]
    return lines


def _code(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
