import json
import re
from pathlib import Path
from typing import Any

import pytest
from synthetic import ABSENT, SEVERAL, record, repeats, world

from benchmark.records import store
from benchmark.records.comparison import comparisons
from benchmark.report.leaderboard import tables
from benchmark.report.tables import SCHEMA, as_json, write_tables

GOLDEN = Path(__file__).parent / "golden"
NASTY = 'a|b\nc`<script>x</script>&amp;\x1b[31m\\ $_^{}~%#"é\u2028日'


def nasty() -> list:
    """Records that are hostile wherever they may hold text."""
    names = ("dataset", "images", "student", "teacher", "recipe")
    cell: dict[str, Any] = {name: f"{name} {NASTY}" for name in names}
    found = [record(f"*{NASTY}", seed, 0.5, **cell) for seed in range(3)]
    found += [record(f"[{NASTY}]", seed, 0.6, **cell) for seed in range(3)]
    for number, made in enumerate(found):
        made["key"] = f"{NASTY}{number}"
        made["prior"] = f"prior {NASTY}"
        made["precision"] = NASTY
        made["world"] = world(hardware=f"CPU {NASTY}", torch=NASTY)
    again = {**found[0], "key": f"again {NASTY}"}
    again["environment"] = {**again["environment"], "commit": "other"}
    return [*found, again]


def test_golden_markdown():
    made = tables(comparisons(SEVERAL, ABSENT))
    text = "\n".join(table.markdown() for table in made)
    assert text == (GOLDEN / "leaderboards.md").read_text(encoding="utf-8")


def test_published_files(tmp_path):
    found = comparisons(SEVERAL[-4:])
    made = tables(found)
    paths = write_tables(found, tmp_path)
    assert sorted(paths) == sorted(tmp_path.iterdir())
    assert [path.name for path in paths[:2]] == ["leaderboards.md", "leaderboards.json"]
    assert len(paths) == 2 + 2 * len(made)
    text = paths[0].read_text(encoding="utf-8")
    assert all(table.markdown() in text for table in made)
    (file,) = tmp_path.glob("digits-ipc10-convnet-d3-quick-??????-accuracy.csv")
    assert file.read_text(encoding="utf-8") == (
        "images,method,name,rank,accuracy,half interval,n,asked,failed,bytes,prior,prior bytes\n"
        "rded,hello,HeLlO,,0.6,,1,3,0,3000,embedded,7400000\n"
        f"rded,hard,Hard labels,1,0.51,{found[0].rows[1].accuracy[1]},3,3,0,500,,0\n"
    )


def test_the_same_records_give_the_same_files(tmp_path):
    one = write_tables(comparisons(SEVERAL, ABSENT), tmp_path / "one")
    two = write_tables(comparisons(SEVERAL[::-1], ABSENT), tmp_path / "two")
    assert [path.name for path in one] == [path.name for path in two]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(one, two, strict=True))


def test_pictures_have_a_page_of_their_own(tmp_path):
    found = comparisons(SEVERAL)
    write_tables(found, tmp_path)
    assert not (tmp_path / "pictures.md").exists()
    pictures = [tmp_path / f"digits-{kind}.png" for kind in ("curves", "frontier")]
    write_tables(found, tmp_path, pictures)
    text = (tmp_path / "pictures.md").read_text(encoding="utf-8")
    places = [
        text.index(words)
        for words in (
            "![digits-frontier](digits-frontier.png)",
            "![digits-curves](digits-curves.png)",
        )
    ]
    assert places == sorted(places)
    assert "![" not in (tmp_path / "leaderboards.md").read_text(encoding="utf-8")


def test_json_comes_back_with_unrounded_numbers(tmp_path):
    found = comparisons(SEVERAL, ABSENT)
    write_tables(found, tmp_path)
    read = json.loads((tmp_path / "leaderboards.json").read_text(encoding="utf-8"))
    assert read == as_json(found)
    assert read["schema"] == SCHEMA
    (comparison,) = read["comparisons"]
    assert comparison["setting"]["title"] == found[0].setting.title
    assert comparison["setting"]["teacher_accuracy"] == 0.95
    soft, lpqld, hello, hard, ld = comparison["rows"]
    assert soft["accuracy"] == pytest.approx(0.81, abs=1e-12)
    assert soft["half"] == found[0].rows[0].accuracy[1]
    assert (soft["rank"], lpqld["rank"], hello["rank"], hard["rank"]) == (1, 1, None, 3)
    assert (ld["n"], ld["asked"], ld["accuracy"], ld["storage"]) == (0, 3, None, None)
    assert hard["storage"]["total"] == 500
    assert hello["prior"] == "embedded"
    keys = [key for row in comparison["rows"] for key in row["records"]]
    assert sorted(keys) == sorted(made["key"] for made in SEVERAL)
    (pair,) = (p for p in comparison["pairs"] if (p["first"], p["second"]) == (0, 3))
    assert pair["n"] == 3
    assert pair["difference"] == pytest.approx(0.3)
    assert pair["p"] > pair["p_repeats"] > pair["p_images"]
    assert len(comparison["pairs"]) == 6


def test_json_names_what_was_left_out():
    old = record("hard", 0, key="old", environment={"commit": "other", "labelbench": "x"})
    (comparison,) = as_json(comparisons([*repeats("hard", [0.5, 0.5]), old]))["comparisons"]
    assert comparison["left_out"] == ["old"]


def cells(line: str) -> list[str]:
    """A Markdown table's line as GitHub reads it: at every bar."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_hostile_text_stays_in_its_cell(tmp_path):
    paths = write_tables(comparisons(nasty()), tmp_path / "out")
    assert all(path.parent == tmp_path / "out" for path in paths)
    text = paths[0].read_text(encoding="utf-8")
    assert not re.search(r"<[a-z/]", text)
    assert all(c.isprintable() or c == "\n" for c in text)
    found = 0
    for block in text.split("\n\n"):
        lines = block.splitlines()
        if lines and lines[0].startswith("|"):
            assert all(line.startswith("|") for line in lines)
            assert len({len(cells(line)) for line in lines}) == 1
            found += 1
    assert found == 5
    assert sum(line.startswith("### ") for line in text.splitlines()) == 5
    for table in tables(comparisons(nasty())):
        assert all(c.isprintable() or c == "\n" for c in table.text())


def test_tables_beside_records_are_no_records(tmp_path):
    for made in SEVERAL:
        store.write(tmp_path, made)
    write_tables(comparisons(SEVERAL), tmp_path)
    assert len(store.read([tmp_path])) == len(SEVERAL)


def test_hostile_records_come_back_from_disk(tmp_path):
    made = nasty()[0] | {"key": "0" * 24, "precision": "fp32"}
    store.write(tmp_path, made)
    assert store.read([tmp_path]) == [made]
