"""Sphinx makes the documentation of these pages, of guides elsewhere in the repository, and of
docstrings: `sphinx-build -W docs docs/_build`."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

from catalogue import write  # noqa: E402

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCE = f"{PROJECT['urls']['Repository']}/blob/main"
# Guides that lie elsewhere, and the pages that include them.
PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "README.md": "index.md",
    "datasets/README.md": "data.md",
    "methods/README.md": "plugins.md",
    "results/FINDINGS.md": "findings.md",
    "results/README.md": "contributing.md",
    "results/leaderboard/reference.md": "reproduction.md",
}
LINK = re.compile(r"(!?\[[^\]]*\])\(((?!https?://|#|mailto:)[^)\s#]+)(#[^)\s]*)?\)")
INCLUDE = re.compile(r"^```\{include\} (?P<file>\S+)\n(?P<options>(?::.*\n)*)```$", re.MULTILINE)

project = "labelbench"
author = PROJECT["authors"][0]["name"]
copyright = author
release = version = PROJECT["version"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"labelbench {release}"
highlight_language = "text"
default_role = "code"  # what docstrings have in backquotes
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_custom_sections = [("Class attributes", "params_style"), ("Raises", "params_style")]
napoleon_use_ivar = True
myst_heading_anchors = 3
# Guides repeat headings of the pages that they stand in.
suppress_warnings = ["myst.header"]


def told_apart(text: str, folder: Path) -> str:
    """Markdown with links to files of the repository as links to pages, or to the source.

    Args:
        folder: where the text lies.
    """

    def place(match: re.Match[str]) -> str:
        words, link, anchor = match[1], match[2], match[3] or ""
        file = (folder / link).resolve()
        if file.is_relative_to(DOCS) or not file.is_relative_to(ROOT):
            return match[0]
        path = file.relative_to(ROOT).as_posix()
        if words.startswith("!"):
            return f"{words}(../{path})"
        return f"{words}({PAGES.get(path, f'{SOURCE}/{path}')}{anchor})"

    return LINK.sub(place, text)


def included(match: re.Match[str]) -> str:
    """The text that an include names, its headings lowered and its links as they lead from here."""
    file = (DOCS / match["file"]).resolve()
    options = dict(re.findall(r'^:([\w-]+): "?(.*?)"?$', match["options"], re.MULTILINE))
    text = file.read_text(encoding="utf-8")
    if after := options.get("start-after"):
        text = text.partition(after)[2]
    if before := options.get("end-before"):
        text = text.partition(before)[0]
    lower = "#" * int(options.get("heading-offset", 0))
    text = re.sub(r"^(?=#+ )", lower, text, flags=re.MULTILINE)
    return told_apart(text, file.parent)


def read(app: Any, name: str, content: list[str]) -> None:
    """A page's text before it is parsed."""
    content[0] = INCLUDE.sub(included, told_apart(content[0], DOCS))


def setup(app: Any) -> None:
    """Called by Sphinx."""
    write(DOCS / "catalogue.md")
    app.connect("source-read", read)
