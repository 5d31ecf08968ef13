import copy
import json
from typing import Any

import pytest
from hostile import damaged, torn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import record, world
from test_hostile_records import sentence
from timed import file_of, profile, ratio
from tiny import listing, run_main

from benchmark.core.errors import UserError
from benchmark.records import measurements, store
from benchmark.records.collection import line
from benchmark.report import speed_tables

TRIALS = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.parametrize("made", [profile(), ratio()], ids=["profile", "ratio"])
def test_a_whole_record_is_read_as_it_is(made, tmp_path):
    assert measurements.parse(json.dumps(made).encode()) == made
    assert measurements.read([file_of(tmp_path, made)]) == [made]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            json.dumps(record("hard")),
            "no measurement: its kind is missing. Valid: profile, ratio,",
        ),
        (json.dumps({**ratio(), "kind": "ratoi"}), "Unknown kind of measurement 'ratoi'. Did you"),
        (json.dumps({**ratio(), "kind": 3}), "its kind is missing"),
        ("[]", "its kind is missing"),
        ("{", "no JSON"),
        (json.dumps({**ratio(), "schema": 2}), "schema must be at most 1, got 2"),
        (json.dumps({**ratio(), "more": 1}), "more is no field of it"),
        (json.dumps({**profile(), "batch": 0}), "batch must be at least 1, got 0"),
    ],
)
def test_another_line_is_refused_in_a_sentence(raw, said, tmp_path):
    with pytest.raises(UserError) as caught:
        measurements.parse(raw.encode())
    assert said in str(caught.value)


def test_sides_and_parts_have_as_many_repeats():
    made = ratio()
    made["first"]["seconds"].append(1.0)
    with pytest.raises(UserError, match="unlike numbers of repeats"):
        measurements.parse(json.dumps(made).encode())
    made = profile()
    made["copies"]["host"]["seconds"].pop()
    with pytest.raises(UserError, match=r"unlike numbers of repeats: .*'copies.host': 2"):
        measurements.parse(json.dumps(made).encode())


@TRIALS
@given(st.sampled_from([profile(), ratio()]).flatmap(damaged))
def test_a_changed_record_is_refused_in_a_sentence_or_makes_tables(made):
    try:
        found = measurements.parse(json.dumps(made).encode())
    except UserError as error:
        sentence(error)
        return
    for table in speed_tables.tables([found, profile(), ratio()]):
        assert all(c.isprintable() or c == "\n" for c in table.text())


@TRIALS
@given(torn("".join(map(line, [profile(), ratio()])).encode()))
def test_a_torn_file_costs_the_lines_that_were_torn(tmp_path, raw):
    file = tmp_path / "speed.jsonl"
    file.write_bytes(raw)
    found = measurements.read([file])
    whole = [m for m in (profile(), ratio()) if line(m).strip().encode() in raw.split(b"\n")]
    assert all(made in found for made in whole)


def test_files_of_speed_records_are_no_collections_of_cells(tmp_path, capsys):
    file_of(tmp_path, profile())
    file_of(tmp_path, ratio(), name="profile.jsonl")
    (tmp_path / "some.jsonl").write_text(line(record("hard")))
    assert store.read([tmp_path]) == [record("hard")]
    assert store.read([tmp_path / "speed.jsonl"]) == []
    assert capsys.readouterr().err == ""
    assert (
        len(measurements.read([tmp_path]))
        == len(measurements.read([tmp_path, *tmp_path.iterdir()]))
        == 2
    )


def test_own_json_files_count_beside_a_profile(tmp_path):
    store.write(tmp_path, record("hard"))
    file_of(tmp_path, profile(), name="profile.jsonl")
    assert store.read([tmp_path]) == [record("hard")]


def test_a_speed_record_among_cells_is_named(tmp_path, capsys):
    file_of(tmp_path, record("hard"), ratio(), name="some.jsonl")
    assert store.read([tmp_path]) == [record("hard")]
    assert (
        "a measurement, which only speed.jsonl, profile.jsonl, distortion.jsonl"
        in capsys.readouterr().err
    )


def test_a_long_line_ends_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measurements, "MOST_BYTES", 3000)
    long = {**ratio(), "settings": {"x": "y" * 4000}}
    assert measurements.read([file_of(tmp_path, profile(), long, ratio())]) == [profile()]
    assert "speed.jsonl:2: larger than 3,000 bytes" in capsys.readouterr().err


def test_a_new_measurement_takes_the_place_of_the_same(tmp_path):
    file = tmp_path / "profile.jsonl"
    again: Any = {**profile(), "seconds_fit": 9.0}
    other = profile(method="hard")
    for made in (profile(), other, again):
        measurements.replace(file, made)
    assert measurements.read([file]) == [other, again]
    elsewhere: Any = {**again, "world": world()}
    wrong: Any = {**profile(), "batch": 0}
    measurements.replace(file, elsewhere)
    assert len(measurements.read([file])) == 3
    with pytest.raises(UserError, match="batch must be at least 1"):
        measurements.replace(file, wrong)
    assert len(measurements.read([file])) == 3


def test_a_damaged_file_is_not_written_over(tmp_path):
    file = file_of(tmp_path, {}, name="profile.jsonl")
    with pytest.raises(UserError, match=r"profile\.jsonl:1: no measurement"):
        measurements.replace(file, profile())
    assert file.read_text() == "{}\n"


def test_collect_gathers_runs_into_one_sorted_file(tmp_path):
    file_of(tmp_path / "a", ratio(), profile(), name="profile.jsonl")
    file_of(tmp_path / "b", profile(), profile(method="hard"), name="profile.jsonl")
    target = tmp_path / "results" / "speed.jsonl"
    code, out, _ = run_main("collect", tmp_path / "a", tmp_path / "b", "--to", target)
    assert (code, out) == (0, f"{target}: 3 measurements added, 3 in all\n")
    held = [json.loads(text) for text in target.read_text().splitlines()]
    assert held == [profile(method="hard"), profile(), ratio()]
    code, out, _ = run_main("collect", tmp_path / "b", "--to", target)
    assert (code, out) == (0, f"{target}: 0 measurements added, 3 in all\n")


@pytest.mark.parametrize("wrong", ["differs", "damaged", "nothing"])
def test_nothing_is_collected_if_anything_is_wrong(tmp_path, wrong):
    target = file_of(tmp_path / "results", profile())
    made = copy.deepcopy(profile())
    made["seconds_fit"] = 3.0
    found = {"differs": [made], "damaged": [ratio(), {}], "nothing": []}[wrong]
    file_of(tmp_path / "run", *found, name="profile.jsonl")
    before = listing(tmp_path)
    code, out, err = run_main("collect", tmp_path / "run", "--to", target)
    assert (code, out) == (2, "")
    said = {
        "differs": "would hold two figures of 'lpqld, convnet-d3', of one world and commit",
        "damaged": "profile.jsonl:2: no measurement",
        "nothing": "they stand in speed.jsonl, profile.jsonl, distortion.jsonl",
    }
    assert said[wrong] in err
    assert err.count("\n") == 1
    assert listing(tmp_path) == before


def test_verify_looks_at_speed_records_too(tmp_path):
    file = file_of(tmp_path, profile(), ratio())
    assert run_main("verify", tmp_path)[:2] == (0, "2 records: complete\n")
    made = {**profile(), "seconds_fit": 3.0}
    file_of(tmp_path, profile(), made, {"kind": "x"})
    code, out, _ = run_main("verify", file)
    assert code == 1
    assert f"problem: {file}:2: {file}:1 is of the same, its world and commit, and differs" in out
    assert f"problem: {file}:3: Unknown kind of measurement 'x'" in out
