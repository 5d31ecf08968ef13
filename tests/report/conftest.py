"""A real browser for the site's tests, and the site of the committed records."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmark.records import measurements
from benchmark.records.comparison import Comparison, comparisons
from benchmark.records.store import read
from benchmark.report.reference import ledger
from benchmark.report.site import write_site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page, Route

RESULTS = Path(__file__).parents[2] / "results"
OPTIONS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
)
PATIENCE = 30_000  # milliseconds; machines may be busy


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    try:
        from playwright.sync_api import expect, sync_playwright
    except ModuleNotFoundError:
        pytest.skip("playwright is not installed: pip install -e '.[test]'")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=list(OPTIONS))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def published() -> list[Comparison]:
    """The comparisons of the committed records."""
    return comparisons(read([RESULTS]))


@pytest.fixture(scope="session")
def site(tmp_path_factory, published) -> Path:
    """Their site, with every kind of page."""
    folder = tmp_path_factory.mktemp("site")
    write_site(published, folder, ledger(read([RESULTS])), measurements.read([RESULTS]))
    return folder


class Watch:
    """All that a page must not do."""

    def __init__(self, page: "Page") -> None:
        self.wrongs: list[str] = []
        page.on("console", lambda m: self.wrongs.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: self.wrongs.append(f"error: {error}"))
        page.on("dialog", self._dismiss)
        page.route(re.compile("^(?!file:|data:|blob:)"), self._refuse)

    def _dismiss(self, dialog: "Dialog") -> None:
        self.wrongs.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _refuse(self, route: "Route") -> None:
        self.wrongs.append(f"request: {route.request.url}")
        route.abort()


@pytest.fixture
def opened(browser):
    """Makes pages of any size and theme, which must stay quiet and ask nothing of the network."""
    contexts, watches = [], []

    def make(width: int = 1280, height: int = 900, theme: str = "light") -> "Page":
        size = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=size, color_scheme=theme))
        page = contexts[-1].new_page()
        watches.append(Watch(page))
        return page

    yield make
    for context in contexts:
        context.close()
    assert [wrong for watch in watches for wrong in watch.wrongs] == []


@pytest.fixture
def page(opened) -> "Page":
    """One of them, of a small laptop."""
    return opened()
