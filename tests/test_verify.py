import copy
import json
from pathlib import Path
from typing import Any

import pytest
from synthetic import HELLO, record, repeats
from tiny import run_main

from benchmark import records
from benchmark.errors import UserError
from benchmark.records import Record, pack_bits
from benchmark.schema import mismatches
from benchmark.verify import Report, verify

ROOT = Path(__file__).parents[1]
CONTROLS = [
    *repeats("hard", [0.5, 0.5]),
    *repeats("soft", [0.6, 0.6]),
    *repeats("teacher[weights=int8]", [0.6, 0.6]),
    *repeats("hard", [0.4, 0.4], images="random"),
]


def checked(folder: Path, *found: Any) -> Report:
    for made in found:
        records.write(folder, made)
    return verify([folder])


def changed(*path: str, to: Any) -> Any:
    """A record with one value changed, or gone."""
    made = copy.deepcopy(record("hard"))
    inner = made
    for name in path[:-1]:
        inner = inner[name]
    if to is None:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return made


def test_whole_records_pass(tmp_path):
    report = checked(tmp_path, *CONTROLS)
    assert (report.count, report.problems, report.warnings) == (8, [], [])


def test_published_records_pass():
    assert verify([ROOT / "results"]).problems == []


@pytest.mark.parametrize(
    ("made", "problem"),
    [
        (changed("prior", to=None), "prior is missing"),
        (changed("result", "accuracy", to=None), "result.accuracy is missing"),
        (changed("result", "note", to=1), "result.note is no field of a record"),
        (changed("on_protocol", to=1), "on_protocol is 1, no bool"),
        (changed("cell", "seed", to=True), "cell.seed is True, no int"),
        (changed("cell", "seed", to=0.5), "cell.seed is 0.5, no int"),
        (changed("cell", "images", to=[1]), "cell.images is [1], no str"),
        (changed("prior", to=7), "prior is 7, no str or null"),
        (changed("result", to=[]), "result is no object"),
        (changed("recipe", to=[]), "recipe is no object"),
        (changed("result", "train_loss", to=3), "result.train_loss is no list"),
        (changed("result", "train_loss", to=["x"] * 60), "an item of result.train_loss is 'x'"),
        (changed("storage", "total", to="1"), "storage.total is '1', no int"),
        (
            changed("result", "seconds_fit", to=float("inf")),
            "result.seconds_fit is not finite: inf",
        ),
        (
            changed("result", "train_loss", to=[float("nan")] * 60),
            "result.train_loss has numbers that are not finite",
        ),
        (changed("options", "rate", to=float("nan")), "options.rate is not finite: nan"),
        (changed("result", "correct", to="%%%"), "result.correct does not hold 100 bits"),
        (changed("result", "correct", to="AAAA"), "result.correct does not hold 100 bits"),
        (changed("result", "test_images", to=0), "result.correct does not hold 0 bits"),
        (
            changed("result", "accuracy", to=0.51),
            "result.accuracy is 0.51, but 50 of 100 images were right",
        ),
        (changed("storage", "weights", to=1), "storage.total is 500, but its parts add up to 501"),
        (changed("storage", "soft", to=None), "storage.soft is missing"),
        (changed("storage", "prior", to=-1), "storage.prior is negative: -1"),
        (changed("recipe", "epochs", to=61), "train_loss has 60 losses, trained were 61 epochs"),
        (changed("inputs", "epochs", to=7), "train_loss has 60 losses, trained were 7 epochs"),
        (changed("result", "train_loss", to=[]), "train_loss has 0 losses"),
        (
            changed("throughput", "seconds_step", to=[0.1]),
            "throughput has unlike numbers of repeats",
        ),
        (changed("inputs", "teacher_accuracy", to=95.0), "inputs.teacher_accuracy is 95.0"),
        (changed("inputs", "test", to=None), "inputs.test is missing"),
        (changed("environment", "torch", to=None), "environment lacks torch"),
        (changed("schema", to=2), "schema 2, this labelbench writes 1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_problems(made, problem, tmp_path):
    report = checked(tmp_path, made)
    (line,) = report.problems
    assert line.startswith(f"{tmp_path / made['key']}.json: ")
    assert problem in line


def test_a_recipe_of_steps_says_no_epochs(tmp_path):
    made = record("ld", recipe={"name": "ld", "epochs": 0, "steps": 1000}, on_protocol=False)
    assert checked(tmp_path, made).problems == []
    made["inputs"]["epochs"] = len(made["result"]["train_loss"])
    assert checked(tmp_path, made).problems == []


def test_a_file_has_its_keys_name(tmp_path):
    made = record("hard")
    records.write(tmp_path, made).rename(tmp_path / "other.json")
    (line,) = verify([tmp_path]).problems
    assert line.endswith(f"should be named {made['key']}.json, by its key")


def test_files_that_are_no_records_and_keys_that_two_have(tmp_path):
    for folder in ("a/records", "b/records", "c/records"):
        records.write(tmp_path / folder, record("hard"))
    other = copy.deepcopy(record("hard"))
    other["result"]["seconds_fit"] = 1.0
    records.write(tmp_path / "c/records", other)
    (tmp_path / "a/records/bad.json").write_text("{")
    report = verify([tmp_path])
    assert report.count == 4
    unreadable, differs = report.problems
    assert "bad.json' is no record" in unreadable
    assert differs.startswith(f"{tmp_path / 'c/records'}/")
    assert differs.endswith(": another record has its key, and differs")
    (copied,) = (line for line in report.warnings if "copy" in line)
    assert copied.startswith(f"{tmp_path / 'b/records'}/")


@pytest.mark.parametrize(
    ("made", "warning"),
    [
        (changed("environment", "commit", to="abc-dirty"), "from a changed source tree, commit"),
        (changed("environment", "commit", to=""), "measured from no known commit"),
        (changed("recipe", "rate", to=0.5), "recipe quick is not this version's"),
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
    for name in ("course", "steps", "stop", "tester"):
        del made["recipe"][name]
    del made["recipe"]["objective"]["rescale"]
    assert not any("recipe" in line.partition(": ")[2] for line in checked(tmp_path, made).warnings)


def test_recipes_off_protocol_are_nobodys(tmp_path):
    made = record("hard", on_protocol=False, recipe={"name": "quick", "epochs": 60})
    assert not any("this version's" in line for line in checked(tmp_path, made).warnings)


def test_controls_and_repeats_that_a_comparison_lacks(tmp_path):
    title = "digits, IPC 10, convnet-d3, recipe quick, teacher resnet18 (95.00%)"
    assert checked(tmp_path, HELLO).warnings == [
        f"{title}: lacks the control hard",
        f"{title}: lacks the control soft",
        f"{title}: lacks the control teacher",
        f"{title}: lacks the control of random real images",
    ]
    assert checked(tmp_path, *CONTROLS).warnings == [f"{title}: hello on rded has 1 of 2 repeats"]


def test_different_test_sets_in_one_comparison(tmp_path):
    other = copy.deepcopy(record("soft", 0, 0.6))
    other["inputs"]["test"] = "another"
    (line,) = (x for x in checked(tmp_path, *CONTROLS, other).warnings if "test sets" in x)
    assert line.endswith("was tested on 2 different test sets")


def test_the_schema_is_that_of_records():
    made = record("hard")
    assert [*mismatches(made, Record)] == []
    assert [*mismatches(json.loads(json.dumps(made)), Record)] == []
    assert [*mismatches({}, Record)] == [
        f"{name} is missing" for name in sorted(Record.__annotations__)
    ]
    assert [*mismatches(3, Record)] == ["record is no object"]
    made["result"]["correct"] = pack_bits
    assert len([*mismatches(made, Record)]) == 1


def test_the_command(tmp_path):
    for made in CONTROLS:
        records.write(tmp_path / "records", made)
    assert run_main("verify", tmp_path)[:2] == (0, "8 records: complete\n")
    records.write(tmp_path / "records", changed("prior", to=None) | {"key": "bad"})
    code, out, _ = run_main("verify", tmp_path)
    assert code == 1
    assert out.splitlines() == [
        f"problem: {tmp_path / 'records' / 'bad.json'}: prior is missing",
        "9 records: 1 problems",
    ]


def test_nothing_to_verify(tmp_path):
    with pytest.raises(UserError, match="There are no records in"):
        verify([tmp_path])
    assert run_main("verify", tmp_path / "nowhere")[0] == 2
