"""Must be seen in a real browser: the first page answers what `advise` answers."""

from pathlib import Path
from urllib.parse import urlencode

import pytest

from benchmark.core.errors import UserError
from benchmark.report.advise import Answer, Question, advise

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Page, expect

ASKED = "#?dataset=cifar10&ipc=10&bytes=4+kB&prior=no"
WHAT = """() => labelbenchAnswered.map((a) => ({
  title: a.place.title, images: a.place.images, budget: a.budget, sure: a.sure,
  best: a.best && a.best[0], repeats: a.repeats,
  rivals: a.rivals.map((r) => [r.row[0], r.verdict, r.difference, r.half]),
  more: a.more && [a.more.row[0], a.more.verdict, a.more.difference],
  large: a.tooLarge.map((row) => row[0]), smallest: a.smallest && a.smallest[0],
  ruled: a.ruled, unmeasured: a.unmeasured,
}))"""


def address(site: Path, question: Question) -> str:
    """Of the first page, asked this."""
    state = {"dataset": question.dataset, "bytes": question.budget}
    state |= {"ipc": str(question.ipc)} if question.ipc is not None else {}
    state |= {name: getattr(question, name) for name in ("student", "recipe", "images")}
    state |= {"prior": "no"} if question.without_prior else {}
    kept = {name: value for name, value in state.items() if value}
    return f"{(site / 'index.html').as_uri()}#?{urlencode(kept)}"


def said(answer: Answer) -> dict:
    """What the page must show of an answer."""
    more = answer.more
    return {
        "title": answer.setting.title,
        "images": answer.images,
        "budget": answer.budget,
        "sure": answer.sure,
        "best": answer.best and answer.best.method,
        "rivals": [
            [r.row.method, r.verdict, r.pair.difference, r.pair.half] for r in answer.rivals
        ],
        "more": more and [more.row.method, more.verdict, more.pair.difference],
        "large": [row.method for row in answer.too_large],
        "smallest": answer.smallest and answer.smallest.method,
        "ruled": [*answer.needs_prior],
        "unmeasured": [*answer.unmeasured],
    }


@pytest.mark.parametrize(
    "question",
    [
        Question("cifar10", "4 kB", True, 10),
        Question("cifar10", "4kB", False, 10),
        Question("cifar10", "40x"),
        Question("cifar10", "40x", True),
        Question("cifar10", "64KiB", True, 10, "convnet-d3-bn", "rded", "rded"),
        Question("digits", "600"),
        Question("digits", "1 MB", True),
        Question("cifar10", "1.5x", False, 1),
        Question("cifar10", "2_000", False, 50),
    ],
    ids=lambda question: f"{question.words}, {question.budget}",
)
def test_the_page_answers_as_the_command(page, site, published, question):
    page.goto(address(site, question))
    expect(page.locator("#said")).to_be_visible()
    shown = page.evaluate(WHAT)
    answers = advise(published, question)
    assert [{k: v for k, v in one.items() if k != "repeats"} for one in shown] == [
        said(answer) for answer in answers
    ]
    first = answers[0].best
    assert first is not None
    expect(page.locator(".take-this .method")).to_have_attribute("title", first.method)


def test_nothing_fits_where_the_command_says_so(page, site, published):
    question = Question("cifar10", "10", ipc=10)
    with pytest.raises(UserError, match="Nothing that was measured"):
        advise(published, question)
    page.goto(address(site, question))
    expect(page.locator("#said")).to_have_text("Nothing that was measured fits in 10.")
    expect(page.locator("#answer")).to_contain_text("The smallest that was measured")
    assert page.locator(".card").count() == 0


def test_what_is_no_budget_is_said(page, site):
    page.goto((site / "index.html").as_uri())
    field = page.get_by_label("at most")
    for wrong in ("lots", "0", "-4", "4 parsecs", "4,000"):
        field.fill(wrong)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#said")).to_contain_text("How many bytes?")
    field.fill("4 kB")
    expect(field).to_have_attribute("aria-invalid", "false")


def test_every_answer_obeys_the_filters(page, site):
    """At most 40x, without a prior: no such row is named as the one to take, or beside it."""
    page.goto((site / "index.html").as_uri() + "#?dataset=cifar10&bytes=40x&prior=no")
    rows = page.evaluate(
        "() => labelbenchAnswered.flatMap((a) => [a.best, ...a.rivals.map((r) => r.row)]"
        ".filter(Boolean).map((row) => [row[6] <= a.place.full / 40, row[7].length]))"
    )
    assert rows
    assert all(fits and not prior for fits, prior in rows)


def assert_in_one_screen(page: Page, height: int) -> None:
    """The whole answer, unscrolled."""
    card = page.locator(".card").bounding_box()
    assert card is not None
    assert card["y"] >= 0
    assert card["y"] + card["height"] <= height
    assert page.evaluate("scrollY") == 0
    width = page.viewport_size
    assert width is not None
    assert page.evaluate("document.documentElement.scrollWidth") <= width["width"]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1400, 900), (390, 844)])
def test_a_question_is_asked_by_keyboard_and_answered_in_one_screen(
    opened, site, published, width, height, theme
):
    page = opened(width, height, theme)
    page.goto((site / "index.html").as_uri())
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "dataset":
            break
    page.keyboard.type("cifar10")
    page.keyboard.press("Tab")
    page.keyboard.type("10")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+A")
    page.keyboard.type("4 kB")
    page.keyboard.press("Tab")
    if page.get_by_label("a public prior may be needed").is_checked():
        page.keyboard.press("Space")
    (first, *_) = advise(published, Question("cifar10", "4 kB", True, 10))
    assert first.best is not None
    expect(page.locator(".take-this .method")).to_have_attribute("title", first.best.method)
    expect(page.locator("#said[role=status]")).to_contain_text("Take ")
    assert_in_one_screen(page, height)
    assert page.url.endswith(ASKED)
    text = page.locator("#answer").inner_text()
    again = opened(width, height, theme)  # another reader, with this address alone
    again.goto(page.url)
    expect(again.locator(".take-this .method")).to_have_attribute("title", first.best.method)
    assert again.locator("#answer").inner_text() == text
    assert again.get_by_label("at most").input_value() == "4 kB"
    assert not again.get_by_label("a public prior may be needed").is_checked()
    assert_in_one_screen(again, height)


def test_an_answer_leads_to_its_row(page, site):
    page.goto((site / "index.html").as_uri() + ASKED)
    label = page.locator(".take-this .method").get_attribute("title")
    page.locator(".take-this .method").click()
    row = page.locator("tr:target")
    expect(row.locator(".method")).to_have_attribute("title", label)


def test_going_back_restores_the_question(page, site):
    page.goto((site / "index.html").as_uri() + ASKED)
    before = page.locator("#answer").inner_text()
    page.locator(".card .where a").click()
    expect(page.locator("h2#accuracy")).to_be_visible()
    page.go_back()
    expect(page.locator(".card")).to_be_visible()
    assert page.locator("#answer").inner_text() == before
