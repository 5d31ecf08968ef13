"""What axe-core has against the site's pages: nothing, of every kind, light and dark."""

import re
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is not installed: pip install -e '.[test]'"
)

ALL_PARTS = {"frontier", "rates", "accuracy", "pairs", "training", "records"}
KINDS = (
    *("index", "about", "contribute", "reference", "speed"),
    *("comparison", "method", "record", "missing record"),
)


# What is not asked for takes most of the time; style sheets it would fetch, which pages forbid.
QUICK = {"preload": False, "resultTypes": ["violations"]}


def address(site: Path, kind: str) -> str:
    """Of a page of this kind; of comparisons a small one that has all parts."""
    if kind == "comparison":
        pages = sorted(site.glob("comparison/*.html"), key=lambda path: path.stat().st_size)
        return next(path.as_uri() for path in pages if parts(path) >= ALL_PARTS)
    if kind == "method":
        return (site / "method" / "lpqld.html").as_uri()
    if kind == "record":
        board = sorted(site.glob("comparison/*.html"))[0].read_text()
        return f"{site.as_uri()}/record.html#?of=" + present(board)
    return (site / f"{kind.split()[-1]}.html").as_uri()


def parts(path: Path) -> set[str]:
    """The headings of a page that can be led to."""
    return set(re.findall(r'<h2 id="([a-z]+)"', path.read_text()))


def present(board: str) -> str:
    """The first record that a comparison's page links."""
    found = re.search(r"record\.html#\?of=([^\"]+)", board)
    assert found is not None
    return found[1].replace("&amp;", "&")


@pytest.mark.parametrize(("width", "theme"), [(1400, "light"), (390, "dark")])
def test_axe_finds_nothing(opened, site, width, theme):
    page = opened(width, 844, theme)
    found = {}
    for kind in KINDS:
        page.goto("about:blank")  # two addresses of one page would not load it anew
        page.goto(address(site, kind))
        page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        violations = axe.Axe().run(page, options=QUICK).response["violations"]
        found[kind] = [
            (one["id"], [node["html"][:160] for node in one["nodes"][:3]]) for one in violations
        ]
    assert {kind: wrong for kind, wrong in found.items() if wrong} == {}


def test_nothing_is_wider_than_a_phones_screen(opened, site):
    page = opened(375, 700)
    for kind in KINDS:
        page.goto("about:blank")
        page.goto(address(site, kind))
        assert page.evaluate("document.documentElement.scrollWidth") <= 375, kind
