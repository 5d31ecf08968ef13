import copy
from typing import Any

import pytest
from synthetic import ABSENT, HELLO, SEVERAL, TITLE, missing, record, repeats, world

from benchmark.records.comparison import comparisons
from benchmark.report.leaderboard import NOTES, Table, file_name, tables

RECORDS = [*repeats("hard", [0.50, 0.52]), HELLO]


def made(*found: Any, missing: Any = (), failed: Any = ()) -> list[Table]:
    return tables(comparisons(found, missing, failed))


def column(kind: str, name: str, *found: Any, missing: Any = ()) -> list[str]:
    (table,) = (table for table in made(*found, missing=missing) if table.kind == kind)
    return table.frame[name].tolist()


def test_the_terminal_shows_ranks_intervals_and_what_is_missing():
    (table, *_) = made(*SEVERAL, missing=ABSENT)
    title, *lines = table.text().splitlines()
    assert title == f"ACCURACY | {TITLE}"
    assert [" ".join(line.split()) for line in lines if not line.startswith("-")] == [
        "rank images method accuracy % ± n bytes prior",
        "1= rded soft 81.00 2.48 3 12,300 -",
        "1= rded lpqld[budget=40x] 80.33 3.79 3 300 -",
        "n too small rded hello 60.00 n too small 1/3 3,000 embedded (7,400,000 B)",
        "3 rded hard 51.00 2.48 3 500 -",
        "rded ld missing 0/3",
        "Between two rows, 3.1 points are shown four times out of five (the median pair, before "
        "the correction for many).",
    ]


def test_the_order_of_records_does_not_matter():
    one, two = made(*SEVERAL, missing=ABSENT), made(*SEVERAL[::-1], missing=ABSENT[::-1])
    assert [t.markdown() for t in one] == [t.markdown() for t in two]


def test_tables_change_no_record():
    before = copy.deepcopy(RECORDS)
    made(*RECORDS)
    assert before == RECORDS


def test_repeats_that_no_cell_asked_for_are_missing_too():
    assert column("accuracy", "n", *RECORDS) == ["1/2", "2"]


def test_off_protocol_is_not_ranked_and_says_so():
    changed = {"name": "quick", "epochs": 61}
    off = [record("soft", seed, 0.9, on_protocol=False, recipe=changed) for seed in range(3)]
    both = {t.title: t.frame["rank"].tolist() for t in made(*SEVERAL, *off) if t.kind == "accuracy"}
    assert sorted(both.values()) == [["-"], ["1=", "1=", "n too small", "3"]]
    for title, ranks in both.items():
        assert ("OFF-PROTOCOL" in title) == (ranks == ["-"])


def test_what_was_left_out_is_told_below_the_table():
    old = record("hard", 0, 0.4, key="old")
    old["environment"] = {**old["environment"], "commit": "fff"}
    (table, *others) = made(*RECORDS, old)
    line = "Left out, as another version measured the same repeats: old (1)."
    assert table.text().endswith(f"\n{line}\n")
    assert table.markdown().endswith(f"\n\n{line}\n")
    assert not any(other.below for other in others)
    assert made(*RECORDS)[0].below == ""


def test_draws_of_real_images_are_one_row():
    found = [
        record("hard", seed, 0.5, images=f"random[draw={draw}]")
        for draw in range(2)
        for seed in range(2)
    ]
    for made_from, size in zip(found, (100, 200, 300, 300), strict=True):
        made_from["storage"]["images"] = size
        made_from["inputs"]["similarity"] = 0.8 if size < 300 else 0.9
    assert column("accuracy", "n", *found) == ["4"]
    assert column("images", "images", *found) == ["random"]
    assert column("images", "similarity", *found) == ["0.850"]
    assert column("images", "images (B)", *found) == ["250"]
    assert column("images", "as PNG (B)", *found) == ["6,000"]
    del found[0]["storage"]["images_jpeg"], found[1]["storage"]["images_jpeg"]
    assert column("images", "as JPEG (B)", *found) == ["-"]  # of two draws, one tells


def test_images_measured_before_similarity_was_have_none():
    older, newer = record("soft", 0, 0.9), record("soft", 1, 0.9)
    del older["inputs"]["similarity"]
    assert column("images", "similarity", older) == ["-"]
    assert column("images", "similarity", newer, older) == ["0.866"]


def test_a_row_that_failed_says_so():
    table = made(*RECORDS, missing=[ABSENT[0]], failed=ABSENT[1:])[0]
    assert table.frame["accuracy %"].tolist()[-1] == "failed"
    assert table.frame["n"].tolist()[-1] == "0/3"
    (table, *_) = made(*repeats("hard", [0.5, 0.5]), failed=[missing("hard", 2)])
    assert table.frame["n"].tolist() == ["2/3, 1 failed"]


def test_times_of_other_worlds_stand_apart():
    other = record("soft", 0, 0.9, world=world(hardware="AMD EPYC", device="cpu", threads=2))
    timed = [table for table in made(*RECORDS, other) if table.kind == "throughput"]
    titles = {table.title.partition("%), ")[2]: len(table.frame) for table in timed}
    assert titles == {
        "NVIDIA Test, torch 1.0, fp32": 2,
        "AMD EPYC, 2 threads, torch 1.0, fp32": 1,
    }
    assert not any("rank" in table.frame for table in timed)


def test_shares_and_floors_are_medians_of_paired_repeats():
    one, two = record("teacher", 0, 0.5), record("teacher", 1, 0.5)
    one["throughput"] |= {"seconds_step": [0.01, 0.04], "seconds_targets": [0.005, 0.004]}
    two["throughput"] |= {"seconds_step": [0.02, 0.02], "seconds_targets": [0.004, 0.006]}
    assert column("throughput", "share of step", one, two) == ["25.0%"]  # of 50, 10, 20, 30
    assert column("throughput", "over floor", one, two) == ["-"]
    two["throughput"]["seconds_floor"] = [0.002, 0.004]  # ratios 2 and 1.5
    assert column("throughput", "over floor", one, two) == ["1.75x"]


@pytest.mark.parametrize(
    ("total", "ratio"),
    [
        (300, "40.0x"),
        (12_000, "1.0x"),
        (12_001, "1.0x"),  # all labels come in a container
        (13_000, "0.9x (more than all labels)"),
        (15_000, "0.8x (more than all labels)"),
    ],
)
def test_storage_says_what_is_more_than_all_labels(total, ratio):
    assert column("storage", "ratio", record("teacher", total=total)) == [ratio]


def test_storage_is_sorted_by_bytes():
    assert column("storage", "total", *SEVERAL) == ["300", "500", "3,000", "12,300"]


def test_notes_of_a_fit_change_nothing():
    noted = copy.deepcopy(RECORDS)
    for one in noted:
        one["result"]["fit"] = {"agreement": 0.9, "rounds": [1, 2]}
    plain, other = made(*RECORDS), made(*noted)
    assert [table.markdown() for table in plain] == [table.markdown() for table in other]


def test_every_table_of_methods_names_the_prior_and_its_bytes():
    for table in made(*RECORDS):
        if table.kind == "images":
            continue
        priors = dict(zip(table.frame["method"], table.frame["prior"], strict=True))
        assert priors == {"hard": "-", "hello": "embedded (7,400,000 B)"}


def test_every_table_has_a_note_that_says_how_it_is_made():
    assert {table.kind for table in made(*RECORDS)} <= NOTES.keys()
    for words in ("paired t test", "over test images", "Benjamini and Hochberg", "`draw`", "5 %"):
        assert words in NOTES["accuracy"]


def test_file_names_are_safe_and_unique():
    name = file_name("../Ünï x\n/é " + "y" * 300, "title", "accuracy")
    assert name.isascii()
    assert len(name) < 120
    assert {*name} <= {*"abcdefghijklmnopqrstuvwxyz0123456789-"}
    assert file_name("same", "one", "k") != file_name("same", "two", "k")
