"""The site in a real browser, from the disk: what a reader sees, clicks and types."""

import csv
import io
import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from test_site import hostile
from timed import profile, ratio

from benchmark.records.comparison import comparisons
from benchmark.report.site import write_site

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Page, expect


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


def seen(page: Page, chart: str = "#frontier") -> list[str]:
    """The lines whose points are seen in a section's first picture."""
    return page.locator(f"section:has({chart}) figure >> nth=0 >> svg.broad .point").evaluate_all(
        "points => points.filter((p) => !p.classList.contains('off')).map((p) => p.dataset.line)"
    )


def test_the_first_page_leads_to_a_row_and_to_its_record(page, site):
    page.goto((site / "index.html").as_uri())
    expect(page.locator("h1")).to_have_text("At my bytes, on data like mine, which method?")
    expect(page.locator("#list tbody tr").first).to_be_visible()
    page.locator("#list tbody a").first.click()
    expect(page.locator("h2#accuracy")).to_be_visible()
    page.locator("#line-1 .repeats a").first.click()
    expect(page.locator("h2#again")).to_be_visible()
    expect(page.locator("pre")).to_contain_text("python -m benchmark run")
    expect(page.locator("svg.single .curve path")).to_be_visible()
    with page.expect_download() as got:
        page.get_by_role("button", name="the whole record as JSON").click()
    whole = json.loads(Path(got.value.path()).read_text())
    assert whole["key"] in got.value.suggested_filename
    expect(page.locator("#record")).to_contain_text(whole["world"]["hardware"])


def test_a_record_that_is_not_there_is_said(page, site):
    page.goto((site / "record.html").as_uri() + "#?of=../../etc&record=x")
    expect(page.get_by_role("status")).to_contain_text("no such record")
    (board, *_) = sorted(site.glob("records/*.js"))
    page.goto("about:blank")
    page.goto((site / "record.html").as_uri() + f"#?of={board.stem}&record=x")
    expect(page.get_by_role("status")).to_contain_text("no such record")


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


def test_one_filter_serves_all_tables_and_the_pictures(page, site):
    page.goto(board(site, CIFAR, CPU))
    before = seen(page)
    page.get_by_label("find").fill("hello")
    for name in ("accuracy", "storage", "throughput", "records"):
        methods = column(
            page, f"section[aria-labelledby={name}] table", 2 if name == "accuracy" else 1
        )
        assert methods
        assert all(text.startswith("HeLlO") for text in methods)
    expect(page.locator("#count")).to_have_text(re.compile(r"\d+ of \d+ rows"))
    assert 0 < len(seen(page)) < len(before)
    assert seen(page, "#bytes") == seen(page)
    page.get_by_label("find").fill("")
    page.get_by_label("without a prior").check()
    assert not any(
        "HeLlO" in text for text in column(page, "section[aria-labelledby=accuracy] table", 2)
    )
    page.get_by_label("image source").select_option("random")
    assert set(column(page, "section[aria-labelledby=accuracy] table", 3)) == {"random"}
    page.get_by_label("image source").select_option("")
    page.get_by_label("at most").fill("40x")
    full = float(page.locator("#filter").get_attribute("data-full") or 0)
    sizes = column(page, "section[aria-labelledby=accuracy] table", 7)
    assert sizes
    assert all(int(text.replace(",", "")) <= full / 40 for text in sizes)
    rows = page.locator("section[aria-labelledby=pairs] tbody tr:not([hidden])").count()
    heads = page.locator("section[aria-labelledby=pairs] thead th:not([hidden])").count()
    assert rows == heads == len(sizes)
    assert len(seen(page)) == len(sizes)


def test_the_frontier_is_that_of_the_rows_that_are_left(page, site):
    page.goto(board(site, CIFAR, CPU))
    step = page.locator("section:has(#frontier) svg.broad .step[data-images=rded]")
    before = step.get_attribute("d")
    page.get_by_label("find").fill("hard")
    page.get_by_label("image source").select_option("rded")
    (only,) = seen(page)
    point = page.locator(f"section:has(#frontier) svg.broad .point[data-line='{only}']")
    x, y = point.get_attribute("data-x"), point.get_attribute("data-y")
    assert (step.get_attribute("d") or "").startswith(f"M{float(x or 0):g} {float(y or 0):g}L")
    page.get_by_label("find").fill("")
    page.get_by_label("image source").select_option("")
    drawn = [float(n) for n in re.findall(r"[\d.]+", step.get_attribute("d") or "")]
    assert drawn == [float(n) for n in re.findall(r"[\d.]+", before or "")]


def test_the_address_keeps_a_filter(page, site):
    page.goto(board(site, CIFAR, CPU))
    page.get_by_label("at most").fill("10 kB")
    page.get_by_label("without a prior").check()
    rows = column(page, "section[aria-labelledby=accuracy] table", 2)
    assert page.url.endswith("#?budget=10+kB&prior=no")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    expect(page.get_by_label("at most")).to_have_value("10 kB")
    assert column(page, "section[aria-labelledby=accuracy] table", 2) == rows


def test_the_frontier_names_its_points_and_leads_to_their_rows(page, site):
    page.goto(board(site, CIFAR, CPU))
    link = page.locator("section:has(#frontier) svg.broad .point", has_text="Expert labels").first
    assert re.search(r"Expert labels on \w+; [\d.]+ %.*n = [135]; ", link.text_content() or "")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.locator("tr:target .method")).to_have_text("Expert labels")


@pytest.mark.parametrize("width", [390, 1400])
def test_points_are_named_directly_whatever_the_width(opened, site, width):
    page = opened(width, 844)
    page.goto(board(site, CIFAR, CPU))
    words = page.locator("section:has(#frontier) svg:visible .point > text")
    assert words.count() >= 6
    boxes = words.evaluate_all(
        "all => all.map((t) => t.getBoundingClientRect()).map((b) => [b.x, b.right, b.y, b.bottom])"
    )
    for i, (left, right, top, bottom) in enumerate(boxes):
        assert left >= 0
        assert right <= width
        for other in boxes[:i]:
            across = min(right, other[1]) - max(left, other[0])
            up = min(bottom, other[3]) - max(top, other[2])
            assert across <= 2 or up <= 4  # letters leave room above and below themselves


def test_tables_are_taken_away(page, site):
    page.goto(board(site, CIFAR, CPU))
    section = page.locator("section[aria-labelledby=accuracy]")
    page.get_by_label("find").fill("expert")
    with page.expect_download() as got:
        section.get_by_role("button", name="CSV").click()
    lines = [*csv.DictReader(io.StringIO(Path(got.value.path()).read_text()))]
    assert lines
    assert {line["method"] for line in lines} == {"expert"}
    assert all(0 < float(line["accuracy"]) < 1 and int(line["bytes"]) for line in lines)
    with page.expect_download() as got:
        section.get_by_role("button", name="JSON").click()
    whole = json.loads(Path(got.value.path()).read_text())
    assert [one["bytes"] for one in whole] == [int(line["bytes"]) for line in lines]
    with page.expect_download() as got:
        section.get_by_role("button", name="BibTeX").click()
    assert Path(got.value.path()).read_text().startswith("@inproceedings{qin2024")
    page.get_by_label("find").fill("")
    section.get_by_role("button", name="choose rows").click()
    section.get_by_label("choose Expert labels").first.check()
    section.get_by_label("choose Hard labels").first.check()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    section.get_by_role("button", name="copy as LaTeX").click()
    expect(section.locator("output")).to_have_text("2 rows copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("\\begin{tabular}{")
    assert copied.count("\\\\") == 3  # a heading and two rows
    assert "Expert labels" in copied
    assert "accuracy \\%" in copied
    assert "↕" not in copied


def test_dark_follows_the_system_and_the_reader(opened, site):
    page = opened(theme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    page.goto(board(site, CIFAR, CPU))
    assert page.evaluate(background) == "rgb(20, 23, 27)"
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    page.reload()
    assert page.evaluate(background) == "rgb(255, 255, 255)"
    expect(page.get_by_role("button", name="Dark")).to_be_visible()


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
    write_site(comparisons(hostile(seeds=1)), tmp_path)
    page.set_viewport_size({"width": 375, "height": 700})
    addresses = [path.as_uri() for path in sorted(tmp_path.glob("**/*.html"))]
    for board in sorted(tmp_path.glob("comparison/*.html")):
        for of in re.findall(r'record\.html(#\?of=[^"]+)', board.read_text()):
            addresses.append((tmp_path / "record.html").as_uri() + of.replace("&amp;", "&"))
    for address in dict.fromkeys(addresses):
        page.goto("about:blank")
        page.goto(address)
        if "of=" in address:
            expect(page.locator("h2#again")).to_be_visible()
        assert page.evaluate("document.pwned") is None
        assert page.locator("img").count() == 1  # the sign at the top
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.locator("a[href^='javascript']").count() == 0


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


def test_a_profiles_bars_are_stacked(page, tmp_path):
    write_site([], tmp_path, timed=[profile(), profile(method="hello"), ratio()])
    page.goto((tmp_path / "speed.html").as_uri())
    bars = page.locator("svg:visible .part title")
    expect(bars).to_have_count(8)
    wide = page.locator("svg.broad .part rect").evaluate_all(
        "all => all.map((r) => [r.getBoundingClientRect().x, r.getBoundingClientRect().right])"
    )[4:8]
    assert all(a[1] == pytest.approx(b[0], abs=0.5) for a, b in pairwise(wide))
    page.set_viewport_size({"width": 375, "height": 700})
    expect(page.locator("svg.slim .part").first).to_be_visible()
    expect(bars).to_have_count(8)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
