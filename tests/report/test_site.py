import json
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
from synthetic import world
from timed import profile, ratio

from benchmark.core.errors import UserError
from benchmark.records import measurements
from benchmark.records.comparison import comparisons
from benchmark.records.record import Record, pack_bits, world_digest
from benchmark.records.store import read
from benchmark.records.upgrade import CONTROLS, _draw
from benchmark.report.names import label
from benchmark.report.site import write_site
from benchmark.report.site.reproduce import reproduce_command
from benchmark.report.site.source import source_url
from benchmark.report.site.text import data, file_name, prose, record_name

RESULTS = Path(__file__).parents[2] / "results"
VOID = {"meta", "link", "img", "input", "br", "hr"}
HOSTILE = (
    "<script>document.pwned=1;alert(1)</script>",
    '"><img src=x onerror="document.pwned=1;alert(2)">',
    "</script><script>document.pwned=1</script>",
    "javascript:document.pwned=1",
    "../../../../tmp/x",
    "a\nb\tc\x1b[31m\x07",
    "\u202eevil\u2066\u2028\ud800",
    "<b>%{x}</b><a href='javascript:document.pwned=1'>y</a>",
    "{{ 7 * 7 }}{% raw %}'&amp;",
    "x" * 10_000,
)


def record(key: str, **changes: Any) -> Any:
    """A record; `changes` are of its cell, or of its parts by name."""
    names = ("dataset", "images", "ipc", "method", "student", "recipe", "teacher", "seed")
    cell = dict(zip(names, ("set", "rded", 10, "lpqld", "net", "fast", "big", 0), strict=True))
    cell |= {name: value for name, value in changes.items() if name in cell}
    cell |= dict(zip(("source", "draw"), _draw(str(cell["images"])), strict=True))
    correct = np.random.default_rng(int.from_bytes(repr(key).encode()[:4])).random(100) < 0.5
    made: dict[str, Any] = {
        "schema": 3,
        "key": key,
        "cell": cell,
        "precision": "fp32",
        "on_protocol": not changes.get("recipe_used"),
        "recipe": changes.get("recipe_used") or {"epochs": 3, "objective": {"temperature": 20.0}},
        "options": {"keep": 0.1},
        "inputs": {"teacher_accuracy": 0.9, "similarity": 0.5, "set": {"lpqld.keep": "0.1"}},
        "storage": {
            **{"values": 800, "indices": 100, "views": 0, "weights": 0, "container": 100},
            **{"parameters": 0, "blocks": 4096, "prior": 0, "teacher": 0, "total": 1000},
            **{"images": 5000, "soft": 40_000},
        },
        "roles": {
            "control": CONTROLS.get(label(str(cell["method"])).family),
            "baseline": cell["source"] == "random",
        },
        "plugins": [],
        "prior": None,
        "result": {
            "accuracy": float(correct.mean()),
            "test_images": 100,
            "correct": pack_bits(correct),
            "train_loss": [3.0, 2.0, 1.0],
            "seconds_train": 5.0,
            "seconds_fit": 1.0,
            "fit": {"agreement": [0.5, 0.25]},
        },
        "throughput": {
            **{"batch": 50, "seconds_bare_step": [0.01, 0.02], "seconds_step": [0.02, 0.02]},
            **{"seconds_targets": [0.005, 0.004]},
        },
        "world": world(device="cpu", hardware="Fast", threads=1, torch="2.9"),
        "environment": {"commit": "abc123", "labelbench": "0.1.0"},
    }
    made |= {name: value for name, value in changes.items() if name in made}
    return made


def many(comparisons: int, rows: int, repeats: int, epochs: int, images: int) -> list[Record]:
    """Records as a long campaign leaves them."""
    random = np.random.default_rng(0)
    made = []
    for number in range(comparisons * rows * repeats):
        row, seed = divmod(number, repeats)
        board, place = divmod(row, rows)
        correct = random.random(images) < 0.2 + 0.02 * place
        one = record(
            f"{number:024x}",
            dataset=f"set{board // 4}",
            ipc=(1, 10, 50, 100)[board % 4],
            method=f"lpqld[k={place},teachers=trajectory]" if place else "soft",
            seed=seed,
        )
        one["result"] |= {
            "accuracy": float(correct.mean()),
            "test_images": images,
            "correct": pack_bits(correct),
            "train_loss": (5 * random.random(epochs)).tolist(),
        }
        made.append(one)
    return made


def hostile(seeds: int = 3) -> list[Record]:
    """Records with every hostile text in every place that holds text."""
    made = []
    for number, text in enumerate(HOSTILE):
        cell: dict[str, Any] = dict.fromkeys(("images", "method"), text)
        if number % 2:
            cell |= dict.fromkeys(("dataset", "student", "recipe", "teacher"), text)
        for seed in range(seeds):
            one = record(f"{text} {seed}", seed=seed, prior=text, **cell)
            one["environment"] = dict.fromkeys(("commit", "labelbench", text), text)
            whole = text.replace("\ud800", "")  # no record says half a character
            one["world"] = world(hardware=f"CPU {whole}", torch=whole, python=whole)
            one["options"] = {text: text, "list": [text]}
            one["recipe"] = {"name": "x", text: {text: text}}
            one["inputs"] |= {"set": {text: text}, text: text}
            one["result"]["fit"] = {text: [text, {text: text}]}
            one["precision"] = text
            made.append(one)
    return made


class Page(HTMLParser):
    """A page's links, anchors and scripts; refuses elements that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.handlers: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "src" or (name == "href" and tag == "link"):
                self.loads.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name.startswith("on"):
                self.handlers.append(name)

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script" and data.strip():
            self.scripts.append(data)


def pages(site: Path) -> Iterator[tuple[Path, Page]]:
    for path in sorted(site.rglob("*.html")):
        yield path, Page(path.read_text(encoding="utf-8"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def committed(tmp_path_factory) -> Path:
    """The site of the committed records."""
    folder = tmp_path_factory.mktemp("site")
    write_site(comparisons(read([RESULTS])), folder, timed=measurements.read([RESULTS]))
    return folder


def assert_sound(site: Path) -> None:
    """Pages parse, links lead somewhere, and nothing is asked of the network."""
    found = dict(pages(site))
    ids = {path.resolve(): set(page.ids) for path, page in found.items()}
    for path, page in found.items():
        assert len(page.ids) == len(set(page.ids)), path
        assert page.handlers == []
        for script in page.scripts:
            json.loads(script)
        for load in page.loads:
            assert urlsplit(load).scheme == ""
            assert (path.parent / load).is_file(), (path, load)
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert link.startswith(("https://arxiv.org/abs/", source_url())), link
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path.resolve()
            assert target.is_file(), (path, link)
            assert target.is_relative_to(site.resolve())
            if parts.fragment.startswith("?"):  # what a page is to show
                assert_there(site, parse_qs(parts.fragment[1:]))
            elif parts.fragment:
                assert parts.fragment in ids[target], (path, link)


def assert_there(site: Path, state: dict[str, list[str]]) -> None:
    """A record that a link names is in its comparison's file."""
    (of,), (name,) = state["of"], state["record"]
    assert name in {entry["name"] for entry in entries(site, of)}


@cache
def entries(site: Path, of: str) -> list[dict[str, Any]]:
    """What the record page reads of one comparison."""
    text = (site / "records" / f"{of}.js").read_text(encoding="utf-8")
    assert text.isascii()
    return json.loads(text.removeprefix("window.labelbenchRecords=").removesuffix(";\n"))


def every_entry(site: Path) -> list[dict[str, Any]]:
    """Those of all comparisons."""
    entries.cache_clear()
    return [e for path in sorted(site.glob("records/*.js")) for e in entries(site, path.stem)]


def test_every_link_of_the_committed_records_site_leads_somewhere(committed):
    assert_sound(committed)


def test_there_is_a_page_for_each_comparison_method_and_record(committed):
    records = read([RESULTS])
    found = comparisons(records)
    assert len(list((committed / "comparison").glob("*.html"))) == len(found)
    methods = {label(r["cell"]["method"]).family for r in records}
    assert {p.stem for p in (committed / "method").glob("*.html")} == methods
    written = {entry["name"]: entry["record"] for entry in every_entry(committed)}
    assert written == {record_name(one): one for one in records}


def test_the_committed_records_take_few_files(committed):
    assert sum(path.is_file() for path in committed.rglob("*")) < 200


def test_tables_hold_raw_numbers_for_programs(committed):
    for _, page in pages(committed):
        for script in page.scripts:
            sheet = json.loads(script)
            if isinstance(sheet, dict) and "columns" in sheet and "accuracy" in sheet["columns"]:
                at = sheet["columns"].index("accuracy")
                assert all(row[at] is None or 0 <= row[at] <= 1 for row in sheet["rows"])
    index = Page((committed / "index.html").read_text())
    assert any('"columns"' in script for script in index.scripts)


def test_pages_keep_others_scripts_out(committed):
    for path, page in pages(committed):
        text = path.read_text(encoding="utf-8")
        assert "Content-Security-Policy" in text
        assert "default-src 'none'; script-src 'self';" in text
        assert '<html lang="en">' in text
        assert "http" not in {urlsplit(load).scheme for load in page.loads}
        assert "h1" in page.tags


def test_the_same_records_give_the_same_bytes_in_any_order(tmp_path):
    records = read([RESULTS / "digits-quick.jsonl"]) + hostile()
    write_site(comparisons(records), tmp_path / "a")
    write_site(comparisons(records[::-1])[::-1], tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_an_older_site_goes_and_foreign_files_stay(tmp_path):
    write_site(comparisons([record("a" * 24), record("b" * 24, dataset="other")]), tmp_path)
    (tmp_path / "records" / "notes.txt").write_text("mine")
    (tmp_path / "CNAME").write_text("mine")
    assert len(list(tmp_path.glob("comparison/*.html"))) == 2
    last = record("c" * 24, method="hard")
    write_site(comparisons([last]), tmp_path)
    assert [entry["name"] for entry in every_entry(tmp_path)] == [record_name(last)]
    assert [p.stem for p in tmp_path.glob("method/*.html")] == ["hard"]
    assert len(list(tmp_path.glob("comparison/*.html"))) == 1
    assert (tmp_path / "records" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "CNAME").read_text() == "mine"
    assert_sound(tmp_path)


def test_a_foreign_file_is_not_overwritten(tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(UserError, match=r"index\.html.*no part of a site"):
        write_site([], tmp_path)
    assert contents(tmp_path) == {"index.html": b"mine"}


def test_a_list_of_files_cannot_lead_elsewhere(tmp_path):
    precious = tmp_path / "precious.txt"
    precious.write_text("mine")
    site = tmp_path / "site"
    write_site([], site)
    (site / "site-files.json").write_text(json.dumps(["../precious.txt", str(precious)]))
    for path in site.glob("*.*"):
        if path.name != "site-files.json":
            path.unlink()
    write_site([], site)
    assert precious.read_text() == "mine"


def test_no_records_give_a_site_that_says_so(tmp_path):
    first = write_site([], tmp_path)
    assert first == tmp_path / "index.html"
    assert "There are no records on protocol." in first.read_text()
    assert_sound(tmp_path)


def test_hostile_text_stays_text(tmp_path):
    write_site(comparisons(hostile()), tmp_path)
    assert_sound(tmp_path)
    for path, page in pages(tmp_path):
        text = path.read_text(encoding="utf-8")
        assert not {"iframe", "object"} & page.tags
        assert not re.search("[\u202e\u2066\u2028\x1b\x07]", text)
        assert "x" * 1000 not in text
    for path in tmp_path.rglob("*"):
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,90}", path.name)


def test_names_of_pages_are_plain_and_apart():
    one = record("0f" * 12)
    assert record_name(one) == f"{'0f' * 12}-{world_digest(one['world'])}"
    keys = ("../x", "..\\x", "A" * 24, "a" * 24, "", "con", "CON")
    names = [record_name(record(key)) for key in keys]
    names.append(record_name(record("a" * 24) | {"world": world(torch="3")}))
    assert len({name.lower() for name in names}) == len(names)
    assert all(re.fullmatch("[a-z0-9-]+", name) for name in names)
    assert file_name("Tiny ImageNet:20", 1) != file_name("Tiny ImageNet:20", 2)


def test_ties_missing_repeats_and_rows_are_marked(tmp_path):
    made = [
        record(f"{m}{ipc}{seed}", method=m, ipc=ipc, seed=seed)
        for m in ("lpqld", "hard", "soft")
        for ipc in (1, 10)
        for seed in range(3)
        if (m, ipc) != ("soft", 10) and (m, ipc, seed) != ("hard", 10, 2)
    ]
    lost: Any = {**made[0]["cell"], "method": "ld", "ipc": 10}
    write_site(comparisons(made, failed=[lost]), tmp_path)
    (path,) = tmp_path.glob("comparison/set-ipc10-*.html")
    text = path.read_text()
    assert ">2/3<" in text
    assert re.search(r'class="missing".*?>missing<.*?>0/3<', text, re.DOTALL)
    assert re.search(r'class="missing".*?>failed<.*?>0/1<', text, re.DOTALL)
    assert "n too small" in text
    (path,) = tmp_path.glob("comparison/set-ipc1-*.html")
    assert ">1=<" in path.read_text()


def test_what_ships_nothing_stands_left_of_all_at_0_bytes(tmp_path):
    nothing = {**record("a")["storage"], "container": 0, "total": 0}
    made = [record("a", method="transform", storage=nothing), record("b")]
    write_site(comparisons(made), tmp_path)
    (path,) = tmp_path.glob("comparison/set-ipc10-*.html")
    text = path.read_text()
    assert "; 0 B; " in text
    assert "; 1 B; " not in text
    places = {}  # of the marks and the ticks of the first drawing
    for at, words in re.findall(r'<text x="([\d.]+)" y="[\d.]+"[^>]*>([^<]+)</text>', text):
        places.setdefault(words, float(at))
    marks = [float(x) for x in re.findall(r'class="point"[^>]*data-x="([\d.]+)"', text)][:2]
    ticks = {w: x for w, x in places.items() if re.fullmatch(r"[\d.]+\u202fk?B", w)}
    assert ticks.pop("0\u202fB") == pytest.approx(min(marks), abs=0.1)
    assert min(ticks.values()) > min(marks)
    assert ticks["1\u202fkB"] == pytest.approx(max(marks), abs=0.1)


def test_worlds_stand_apart_and_their_replications_side_by_side(tmp_path):
    slow, fast = record("a" * 24), record("a" * 24)
    fast |= {"world": world(hardware="H200"), "precision": "bf16"}
    write_site(comparisons([slow, fast]), tmp_path)
    texts = [path.read_text() for path in tmp_path.glob("comparison/*.html")]
    assert sum("Fast, 1 thread, torch 2.9, fp32" in text for text in texts) == 1
    assert sum("H200, torch 1.0, bf16" in text for text in texts) == 1
    assert not any('id="replications"' in text for text in texts)
    assert len(every_entry(tmp_path)) == 2
    write_site(comparisons([slow, fast | {"precision": "fp32"}]), tmp_path)
    texts = [path.read_text() for path in tmp_path.glob("comparison/*.html")]
    assert [text.count('id="replications"') for text in texts] == [1, 1]
    assert_sound(tmp_path)


def test_off_protocol_stands_apart_unranked(tmp_path):
    made = [record("a" * 24), record("b" * 24, recipe_used={"epochs": 9})]
    write_site(comparisons(made), tmp_path)
    off = [p for p in tmp_path.glob("comparison/*.html") if "Off protocol." in p.read_text()]
    assert len(off) == 1
    index = (tmp_path / "index.html").read_text()
    listed = index[index.index('id="list"') : index.index('id="off"')]
    assert off[0].name not in listed
    assert off[0].name in index


def test_a_record_left_out_says_so(tmp_path):
    kept, other = record("a" * 24), record("b" * 24)
    other["environment"] = {**other["environment"], "commit": "zzz"}
    write_site(comparisons([kept, other]), tmp_path)
    lines = {entry["record"]["key"]: entry["line"] for entry in every_entry(tmp_path)}
    assert lines == {"a" * 24: 1, "b" * 24: 0}
    (board,) = tmp_path.glob("comparison/*.html")
    assert f"record={record_name(other)}" in board.read_text()
    assert "left out" in board.read_text()


def test_the_command_measures_the_record_again():
    one = record("a" * 24, method="lpqld[k=2,budget=40x]", images="random[draw=2]", seed=2)
    one["inputs"] = {**one["inputs"], "accepted": ["labels", "teacher"]}
    made = reproduce_command(one)
    assert made.command.splitlines()[:2] == [
        "git checkout abc123",
        "python -m benchmark run --no-controls \\",
    ]
    words = made.command.replace("\\\n", "").split()
    for name, value in {
        "--methods": "'lpqld[k=2]'",
        "--images": "'random[draw=2]'",
        "--budget": "40x",
        "--seeds": "3",
        "--precision": "fp32",
        "--accept": "labels,teacher",
        "--device": "cpu",
        "--set": "lpqld.keep=0.1",
    }.items():
        assert words[words.index(name) + 1] == value
    assert not any(note.startswith("Approximate") for note in made.notes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"environment": {"commit": "abc-dirty"}}, "changes that the commit"),
        ({"environment": {"commit": None}}, "does not name the commit"),
        ({"recipe_used": {"epochs": 9}}, "the recipe was changed"),
    ],
)
def test_the_command_says_where_it_is_approximate(changes, says):
    notes = [
        n
        for n in reproduce_command(record("a" * 24, **changes)).notes
        if n.startswith("Approximate")
    ]
    assert len(notes) == 1
    assert says in notes[0]


def test_docstrings_become_paragraphs_and_lists():
    made = prose("One\nline of `code`.\n\n- first\n  goes on\n- <i>, arXiv 1234.56789")
    assert made == (
        "<p>One\nline of <code>code</code>.</p><ul><li>first\n  goes on</li><li>&lt;i&gt;, "
        '<a href="https://arxiv.org/abs/1234.56789">arXiv 1234.56789</a></li></ul>'
    )


def test_json_in_a_page_cannot_end_its_element():
    value = {"a": "</script><!--&\u2028"}
    text = str(data(value))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value


def test_a_loss_that_is_no_number_is_a_gap(tmp_path):
    one = record("a" * 24)
    one["result"]["train_loss"] = [1.0, float("nan"), float("inf"), 0.5]
    write_site(comparisons([one]), tmp_path)
    (board,) = tmp_path.glob("comparison/*.html")
    (broad, _) = re.findall(r'<g class="curve".*?<path d="M([^"]+)"', board.read_text())
    assert len(broad.split("L")) == 2  # of four epochs two are numbers


def test_building_a_site_imports_no_torch(tmp_path):
    code = (
        "import sys; from pathlib import Path; from benchmark.report.site import write_site;"
        "from benchmark.records.comparison import comparisons;"
        "from benchmark.records.store import read;"
        "write_site(comparisons(read([Path(sys.argv[1])])), Path(sys.argv[2]));"
        "print([name for name in ('torch', 'matplotlib.figure') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(RESULTS / "digits-quick.jsonl"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_many_records_keep_memory_and_pages_small(tmp_path):
    found = comparisons(many(comparisons=4, rows=12, repeats=10, epochs=300, images=200))
    write_site(found, tmp_path / "first")  # templates are loaded once
    tracemalloc.start()
    write_site(found, tmp_path / "site")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6  # pages are written one by one
    sizes = {p: p.stat().st_size for p in (tmp_path / "site").rglob("*.html")}
    assert len(sizes) == 4 + 4 + 2
    assert max(sizes.values()) < 250_000
    assert sizes[tmp_path / "site" / "index.html"] < 60_000


def test_building_a_site(benchmark, tmp_path):
    """With `--benchmark-enable`, how long it takes for each record."""
    found = comparisons(many(comparisons=2, rows=10, repeats=5, epochs=300, images=200))
    first = benchmark(write_site, found, tmp_path)
    assert_sound(first.parent)


def test_profiles_and_ratios_have_a_page(tmp_path):
    first = write_site([], tmp_path / "without")
    assert not (tmp_path / "without" / "speed.html").exists()
    assert "speed.html" not in first.read_text()
    made = [profile(), profile(method="hello", student="resnet18"), ratio()]
    first = write_site([], tmp_path / "with", timed=made)
    assert '<a href="speed.html">Speed</a>' in first.read_text()
    text = (tmp_path / "with" / "speed.html").read_text()
    assert_sound(tmp_path / "with")
    told = re.findall(r"<title>([^<]+; (?:bare step|labels|loss|rendering): [^<]+)</title>", text)
    assert told[:4] == [
        "LPQLD, convnet-d3; bare step: 10 ms",
        "LPQLD, convnet-d3; rendering: 1 ms",
        "LPQLD, convnet-d3; labels: 0.7 ms",
        "LPQLD, convnet-d3; loss: 1 ms",
    ]
    assert len(told) == 2 * 2 * 4  # two profiles, for wide and for narrow screens
    assert text.count(">13 ms<") == 4
    for words in ("eight students of hello", "together / alone", "0.45", "0123456789ab"):
        assert f">{words}<" in text
    write_site([], tmp_path / "with")
    assert not (tmp_path / "with" / "speed.html").exists()


def test_hostile_speed_records_stay_text(tmp_path):
    made = []
    for text in HOSTILE:
        whole = text.replace("\ud800", "")[:4000]  # no record says more, or half a character
        names = dict.fromkeys(("dataset", "images", "method", "student", "recipe"), whole)
        places = world(device="cpu", threads=1, hardware=whole, torch=whole)
        made += [profile(**names, world=places), ratio(name=whole, settings={whole: whole})]
        for one in made[-2:]:
            assert measurements.parse(json.dumps(one).encode()) == one
    write_site([], tmp_path, timed=made)
    assert_sound(tmp_path)
    page = tmp_path / "speed.html"
    assert not {"iframe", "object"} & Page(page.read_text()).tags
    assert not re.search("[\u202e\u2066\u2028\x1b\x07]", page.read_text())
    assert "x" * 1000 not in page.read_text()
