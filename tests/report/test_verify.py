import copy
from pathlib import Path
from typing import Any

import pytest
from synthetic import HELLO, TITLE, record, repeats, world
from test_record import changed
from tiny import run_main

from benchmark.core.errors import UserError
from benchmark.records import store
from benchmark.report.verify import Report, verify_records

ROOT = Path(__file__).parents[2]
CONTROLS = [
    *repeats("hard", [0.5, 0.5]),
    *repeats("soft", [0.6, 0.6]),
    *repeats("teacher[weights=int8]", [0.6, 0.6]),
    *repeats("hard", [0.4, 0.4], images="random"),
]


def checked(folder: Path, *found: Any) -> Report:
    for made in found:
        store.write(folder, made)
    return verify_records([folder])


def test_whole_records_pass(tmp_path):
    report = checked(tmp_path, *CONTROLS)
    assert (report.count, report.problems, report.warnings) == (8, [], [])


def test_published_records_pass():
    report = verify_records([ROOT / "results"])
    assert report.problems == []


def test_a_damaged_record_is_named_with_its_problem(tmp_path):
    path = store.write(tmp_path, record("hard"))
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.9999'))
    report = checked(tmp_path, record("soft"))
    assert report.count == 2
    assert report.problems == [
        f"{path}: result.accuracy is 0.9999, but 50 of 100 images were right"
    ]


def test_a_file_has_its_keys_and_worlds_name(tmp_path):
    made = record("hard")
    right = store.write(tmp_path, made)
    right.rename(tmp_path / "other.json")
    (line,) = verify_records([tmp_path]).problems
    assert line.endswith(f"should be named {right.name}, by its key and world")
    (tmp_path / "other.json").rename(tmp_path / f"{made['key']}.json")  # as schema 1 did
    assert verify_records([tmp_path]).problems == []


def test_two_worlds_are_a_replication_and_one_world_is_a_contradiction(tmp_path):
    elsewhere = {**record("hard", 0, 0.4), "key": record("hard")["key"]}
    elsewhere["world"] = world(torch="2.0")
    assert checked(tmp_path / "a/records", record("hard"), elsewhere).problems == []
    here = copy.deepcopy(record("hard"))
    here["result"]["seconds_fit"] = 1.0
    other = store.write(tmp_path / "c/records", here)
    (line,) = verify_records([tmp_path]).problems
    first = store.write(tmp_path / "a/records", record("hard"))
    assert line == f"{other}: {first} has its key and world, and differs"


def test_files_that_are_no_records_and_copies(tmp_path):
    one, two = (
        store.write(tmp_path / folder, record("hard")) for folder in ("a/records", "b/records")
    )
    (tmp_path / "a/records/bad.json").write_text("{")
    report = verify_records([tmp_path])
    assert report.count == 3
    (unreadable,) = report.problems
    assert unreadable.startswith(f"{tmp_path / 'a/records/bad.json'}: ")
    assert f"{two}: a copy of {one}" in report.warnings


@pytest.mark.parametrize(
    ("made", "warning"),
    [
        (changed("environment", "commit", to="abc-dirty"), "from a changed source tree, commit"),
        (changed("environment", "commit", to=""), "measured from no known commit"),
        (changed("recipe", "lr", to=0.5), "recipe quick is not this version's"),
        (changed("recipe", "name", to="mine"), "recipe mine is not this version's"),
        (changed("recipe", "augmentation", "flip", to=1.0), "recipe quick is not this version's"),
        (changed("recipe", "extra", to=1), "recipe quick is not this version's"),
        (changed("recipe", "batch_size", to=None), "recipe quick is not this version's"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_warnings(made, warning, tmp_path):
    report = checked(tmp_path, made)
    assert report.problems == []
    assert any(warning in line for line in report.warnings)


def test_fields_that_came_to_recipes_later_had_their_defaults(tmp_path):
    made = copy.deepcopy(record("hard"))
    for name in ("schedule", "steps", "stop", "evaluator"):
        del made["recipe"][name]
    del made["recipe"]["objective"]["rescale"]
    assert not any("recipe" in line.partition(": ")[2] for line in checked(tmp_path, made).warnings)


def test_recipes_off_protocol_are_nobodys(tmp_path):
    made = record("hard", on_protocol=False, recipe={"name": "quick", "epochs": 50})
    assert not any("this version's" in line for line in checked(tmp_path, made).warnings)


def test_controls_and_repeats_that_a_comparison_lacks(tmp_path):
    assert checked(tmp_path, HELLO).warnings == [
        f"{TITLE}: lacks the floor (a control)",
        f"{TITLE}: lacks the full (a control)",
        f"{TITLE}: lacks the ceiling (a control)",
        f"{TITLE}: lacks the baseline of real images (a control)",
    ]
    assert checked(tmp_path, *CONTROLS).warnings == [f"{TITLE}: hello on rded has 1 of 2 repeats"]


def test_different_test_sets_in_one_comparison(tmp_path):
    other = {**copy.deepcopy(record("soft", 0, 0.6)), "key": "0" * 24}
    other["inputs"]["test"] = "another"
    (line,) = (x for x in checked(tmp_path, *CONTROLS, other).warnings if "test sets" in x)
    assert line.endswith("was tested on 2 different test sets")


def test_the_command(tmp_path):
    for made in CONTROLS:
        store.write(tmp_path / "records", made)
    assert run_main("verify", tmp_path)[:2] == (0, "8 records: complete\n")
    (tmp_path / "records" / "bad.json").write_text("[]")
    code, out, _ = run_main("verify", tmp_path)
    assert code == 1
    assert out.splitlines() == [
        f"problem: {tmp_path / 'records' / 'bad.json'}: no record",
        "9 records: 1 problems",
    ]


def test_nothing_to_verify(tmp_path):
    with pytest.raises(UserError, match="There are no records in"):
        verify_records([tmp_path])
    assert run_main("verify", tmp_path / "nowhere")[0] == 2
