"""Records and configs as strangers may send them: a sentence, or what they say; never a crash."""

import contextlib
import json
import tomllib

import pytest
from hostile import damaged, torn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import HELLO, SEVERAL, record
from test_record import old
from tiny import run_main

from benchmark.core.errors import UserError
from benchmark.experiment.grid import CONFIGS, cells, make_grid, read_config
from benchmark.records import store
from benchmark.records.collection import line
from benchmark.records.comparison import comparisons
from benchmark.records.record import ADAPTER, contradictions
from benchmark.report.latex import latex
from benchmark.report.leaderboard import tables
from benchmark.report.site import write_site
from benchmark.report.tables import as_json
from benchmark.report.verify import verify_records

WHOLE = [record("hard"), HELLO, old()]
TRIALS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
FEW = settings(TRIALS, max_examples=40)


def sentence(error: UserError) -> None:
    """An error of one line that a terminal can show."""
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 1000


def used(found: list) -> None:
    """All that is made of records, but for pictures."""
    made = comparisons([*found, *SEVERAL])
    for table in tables(made):
        assert all(c.isprintable() or c == "\n" for c in table.text())
        latex(table)
        table.markdown().encode()
    json.dumps(as_json(made), allow_nan=False)


@TRIALS
@given(st.sampled_from(WHOLE).flatmap(damaged))
def test_a_changed_record_is_refused_in_a_sentence_or_says_what_is_true(made):
    try:
        found = store.parse(json.dumps(made).encode())
    except UserError as error:
        sentence(error)
        return
    assert ADAPTER.validate_python(found) == found
    assert [*contradictions(found)] == []
    assert json.loads(line(found)) == found
    used([found])


@TRIALS
@given(st.sampled_from([json.dumps(made).encode() for made in WHOLE]).flatmap(torn))
def test_a_torn_record_is_refused_in_a_sentence_or_says_what_is_true(raw):
    try:
        found = store.parse(raw)
    except UserError as error:
        sentence(error)
        return
    assert [*contradictions(found)] == []
    used([found])


@FEW
@given(torn("".join(map(line, SEVERAL)).encode()))
def test_a_torn_collection_costs_the_records_that_were_torn(tmp_path, raw):
    file = tmp_path / "torn.jsonl"
    file.write_bytes(raw)
    found = store.read([file])
    lines = raw.split(b"\n")
    whole = [made for made in SEVERAL if line(made).strip().encode() in lines]
    assert all(made in found for made in whole)
    report = verify_records([file]) if raw else None
    if report is not None and report.count > len(found):
        assert report.problems or any("a copy of" in text for text in report.warnings)


@FEW
@given(damaged(HELLO))
def test_a_damaged_record_never_stops_the_others(tmp_path, made):
    with contextlib.suppress(OSError):
        (tmp_path / "records").mkdir()
    for file in (tmp_path / "records").iterdir():
        file.unlink()
    (tmp_path / "records" / "made.json").write_text(json.dumps(made))
    for kept in SEVERAL[:3]:
        store.write(tmp_path / "records", kept)
    code, out, err = run_main("leaderboard", tmp_path)
    assert code == 0
    assert "ACCURACY | digits" in out
    assert "Traceback" not in err
    found = store.read([tmp_path])
    assert [made for made in SEVERAL[:3] if made not in found] == []
    if len(found) == 3:
        assert "made.json" in err


@settings(TRIALS, max_examples=15)
@given(damaged(HELLO))
def test_what_was_accepted_makes_a_site(tmp_path, made):
    try:
        found = store.parse(json.dumps(made).encode())
    except UserError:
        return
    write_site(comparisons([found, *SEVERAL]), tmp_path)


GRID = {
    "dataset": "digits",
    "images": ["rded[factor=2]", "path:some/where"],
    "ipc": [1, 10],
    "methods": ["lpqld[k=2,keep=0.1]", "hello"],
    "students": ["convnet-d3"],
    "recipe": "quick",
    "teacher": "resnet18",
    "seeds": 2,
    "budgets": ["40x", "3000"],
    "controls": True,
    "set": {"lpqld.k": 4, "recipe.augmentation.crop_scale": [0.2, 1.0]},
}


@TRIALS
@given(damaged(GRID))
def test_a_changed_grid_is_refused_in_a_sentence_or_expands(values):
    try:
        for cell in cells(make_grid(values)):
            assert cell.label
    except UserError as error:
        sentence(error)


@TRIALS
@given(st.sampled_from(sorted(CONFIGS.glob("*.toml"))).flatmap(lambda p: torn(p.read_bytes())))
def test_a_torn_config_is_refused_in_a_sentence_or_expands(tmp_path, raw):
    file = tmp_path / "torn.toml"
    file.write_bytes(raw)
    try:
        for cell in cells(make_grid(read_config(file))):
            assert cell.label
    except UserError as error:
        sentence(error)


@pytest.mark.parametrize("text", ["ipc = true", 'set = "x"', "seeds = 100000000"])
def test_the_command_says_what_is_wrong_with_a_config(tmp_path, text):
    file = tmp_path / "mine.toml"
    file.write_text(f'dataset = "digits"\n{text}\n')
    assert tomllib.loads(file.read_text())
    code, out, err = run_main("run", "--config", file, "--work", tmp_path / "work", "--dry-run")
    assert (code, out) == (2, "")
    assert err.startswith(f"error: grid.{text.partition(' ')[0]} must be ")
    assert err.count("\n") == 1
    assert not (tmp_path / "work").exists()
