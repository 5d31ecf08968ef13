"""The site in a real browser, from the disk: what a reader sees, clicks and types."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_site import RESULTS, hostile
from timed import profile, ratio

from benchmark.records.comparison import comparisons
from benchmark.records.store import read
from benchmark.report.site import write_site

try:
    from playwright.sync_api import Browser, Dialog, Page, Route, expect, sync_playwright
except ModuleNotFoundError:
    pytest.skip("playwright is not installed: pip install -e '.[test]'", allow_module_level=True)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed: apt-get install chromium", allow_module_level=True)

OPTIONS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *(["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []),
)

expect.set_options(timeout=30_000)  # machines may be busy


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site of the committed records."""
    folder = tmp_path_factory.mktemp("site")
    write_site(comparisons(read([RESULTS])), folder)
    return folder


class Watch:
    """All that a page must not do."""

    def __init__(self, page: Page) -> None:
        self.wrongs: list[str] = []
        page.on("console", lambda m: self.wrongs.append(f"console: {m.text}"))
        page.on("pageerror", lambda error: self.wrongs.append(f"error: {error}"))
        page.on("dialog", self._dismiss)
        page.route(re.compile("^(?!file:|data:|blob:)"), self._refuse)

    def _dismiss(self, dialog: Dialog) -> None:
        self.wrongs.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _refuse(self, route: Route) -> None:
        self.wrongs.append(f"request: {route.request.url}")
        route.abort()


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """A page that must stay quiet and ask nothing of the network."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    opened = context.new_page()
    watch = Watch(opened)
    yield opened
    context.close()
    assert watch.wrongs == []


def board(site: Path, start: str, teacher: str = "") -> str:
    """The address of the comparison whose file's name starts so, and whose title names this."""
    named = [path for path in site.glob("comparison/*.html") if re.match(start, path.name)]
    (path,) = [p for p in named if teacher in p.read_text().partition("</title>")[0]]
    return path.as_uri()


def column(page: Page, table: str, place: int) -> list[str]:
    """What a column shows, of the rows that are seen."""
    cells = page.locator(f"{table} tbody tr:not([hidden]) > :nth-child({place})")
    return [text.strip() for text in cells.all_inner_texts()]


CIFAR = "cifar10-ipc10-convnet-d3-bn-rded-[0-9a-f]{10}.html"
CPU = "convnet-d3-bn (81.57%)"  # the CPU's teacher


def test_the_first_page_leads_to_a_row_and_to_its_record(page, site):
    page.goto((site / "index.html").as_uri())
    expect(page.locator("h1")).to_have_text(
        "How few bytes of labels does a distilled dataset need?"
    )
    expect(page.locator("#list tbody tr").first).to_be_visible()
    page.locator("#list tbody a").first.click()
    expect(page.locator("h2#accuracy")).to_be_visible()
    page.locator("#line-1 .repeats a").first.click()
    expect(page.locator("h2#again")).to_be_visible()
    expect(page.locator("pre")).to_contain_text("python -m benchmark run")
    page.locator("[data-chart]").scroll_into_view_if_needed()
    expect(page.locator(".plot .main-svg").first).to_be_visible()
    page.get_by_role("link", name="about this method").click()
    expect(page.locator("h2#stands")).to_be_visible()


def test_a_byte_budget_chooses_the_method(page, site):
    page.goto((site / "index.html").as_uri())
    row = page.locator("#list tbody tr", has_text="digits").filter(has_text="EPYC")
    expect(row.locator(".best-method")).to_contain_text("lpqld")
    page.get_by_label("at most").fill("1 kB")
    expect(row.locator(".best-method")).to_contain_text("hard")
    page.get_by_label("at most").fill("100x")
    expect(row.locator(".best-method")).to_contain_text("hard")
    page.get_by_label("at most").fill("lots")
    expect(page.get_by_label("at most")).to_have_attribute("aria-invalid", "true")
    page.get_by_label("at most").fill("")
    page.locator("select[name=dataset]").select_option("digits")
    assert len(column(page, "#list", 1)) == 2  # a CPU's, and a GPU's
    page.get_by_label("find").fill("nothing has this")
    expect(page.locator("#none")).to_be_visible()


def test_tables_sort_by_click_and_by_keyboard(page, site):
    page.goto(board(site, CIFAR, CPU))
    table = "section[aria-labelledby=accuracy] table"
    head = page.locator(f"{table} thead th", has_text="bytes")
    head.get_by_role("button").click()
    expect(head).to_have_attribute("aria-sort", "descending")
    sizes = [int(text.replace(",", "")) for text in column(page, table, 7) if text]
    assert sizes == sorted(sizes, reverse=True)
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(head).to_have_attribute("aria-sort", "ascending")
    sizes = [int(text.replace(",", "")) for text in column(page, table, 7) if text]
    assert sizes == sorted(sizes)
    assert page.locator(f"{table} [aria-sort]").count() == 1
    page.locator(f"{table} thead th", has_text="rank").get_by_role("button").click()
    places = [
        int(i.split("-")[1])
        for i in page.locator(f"{table} tbody tr").evaluate_all("rows => rows.map(row => row.id)")
    ]
    assert places == sorted(places)


def test_one_filter_serves_all_tables_and_the_picture(page, site):
    page.goto(board(site, CIFAR, CPU))
    points = page.locator("[data-chart=frontier] .scatterlayer .point")
    expect(points.first).to_be_visible()
    before = points.count()
    page.get_by_label("find").fill("hello")
    for name in ("accuracy", "storage", "throughput"):
        methods = column(
            page, f"section[aria-labelledby={name}] table", 2 if name == "accuracy" else 1
        )
        assert methods
        assert all(text.startswith("hello") for text in methods)
    expect(page.locator("#count")).to_have_text(re.compile(r"\d+ of \d+ rows"))
    assert 0 < points.count() < before
    page.get_by_label("find").fill("")
    page.get_by_label("without a prior").check()
    assert not any(
        "hello" in text for text in column(page, "section[aria-labelledby=accuracy] table", 2)
    )
    page.get_by_label("image source").select_option("random")
    assert set(column(page, "section[aria-labelledby=accuracy] table", 3)) == {"random"}


def test_the_frontier_names_its_points_and_leads_to_their_records(page, site):
    page.goto(board(site, CIFAR, CPU))
    point = page.locator("[data-chart=frontier] .scatterlayer .trace .points path").last
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 3, y - 3)
    page.mouse.move(x, y)
    label = page.locator(".hoverlayer .hovertext")
    expect(label).to_contain_text("teacher")
    expect(label).to_contain_text(re.compile("n = [35]"))
    page.mouse.click(x, y)
    expect(page.locator("h1")).to_contain_text("teacher")
    assert "/record/" in page.url


def test_rows_of_the_training_curves_come_and_go(page, site):
    page.goto(board(site, CIFAR, CPU))
    figure = page.locator("[data-chart=curves]")
    figure.scroll_into_view_if_needed()
    lines = figure.locator(".scatterlayer .js-line")
    expect(lines.first).to_be_attached()
    before = lines.count()
    figure.locator(".legendtoggle").first.click()
    expect(lines).to_have_count(before - 1)


def test_dark_follows_the_system_and_the_reader(browser, site):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    watch = Watch(page)
    background = "getComputedStyle(document.body).backgroundColor"
    page.goto(board(site, CIFAR, CPU))
    assert page.evaluate(background) == "rgb(20, 23, 27)"
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.reload()
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    expect(page.get_by_role("button", name="Dark")).to_be_visible()
    context.close()
    assert watch.wrongs == []


def test_no_page_is_wider_than_a_phones_screen(page, site):
    page.set_viewport_size({"width": 375, "height": 700})
    for path in (
        (site / "index.html").as_uri(),
        (site / "about.html").as_uri(),
        board(site, CIFAR, CPU),
        (site / "method" / "hello.html").as_uri(),
        next(iter(sorted(site.glob("record/*.html")))).as_uri(),
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_the_keyboard_reaches_the_content(page, site):
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_without_scripts_the_tables_are_there(browser, site):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(board(site, CIFAR, CPU))
    expect(page.locator("#line-1 .strong")).to_be_visible()
    expect(page.locator("#filter")).to_be_hidden()
    expect(page.locator("#theme")).to_be_hidden()
    context.close()


def test_hostile_text_runs_nothing(page, tmp_path):
    first = write_site(comparisons(hostile(seeds=1)), tmp_path)
    page.set_viewport_size({"width": 375, "height": 700})
    for path in [first, *sorted(tmp_path.glob("*/*.html"))]:
        page.goto(path.as_uri())
        assert page.evaluate("document.pwned") is None
        assert page.locator("img").count() == 1  # the sign at the top
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.locator("a[href^='javascript'], svg a").count() == 0


def test_the_policy_stops_what_would_get_through(browser, site):
    context = browser.new_context()
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"pwned=1\">');"
        "const inline = document.createElement('script'); inline.textContent = 'pwned=1';"
        "document.body.append(inline)"
    )
    page.wait_for_timeout(200)
    assert page.evaluate("typeof pwned") == "undefined"
    context.close()


def test_a_profiles_bars_are_stacked_and_follow_the_theme(page, tmp_path):
    write_site([], tmp_path, timed=[profile(), profile(method="hello"), ratio()])
    page.goto((tmp_path / "speed.html").as_uri())
    bars = page.locator("[data-chart=speed] .barlayer .point path")
    expect(bars).to_have_count(8)
    expect(page.locator("[data-chart=speed] .ytick")).to_have_count(2)
    page.get_by_role("button", name="Dark").click()
    expect(bars).to_have_count(8)
    page.set_viewport_size({"width": 375, "height": 700})
    page.reload()
    expect(bars.first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
