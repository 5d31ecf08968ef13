import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark import records
from benchmark.errors import UserError
from benchmark.records import pack_bits, unpack_bits


def store(folder, key, **changes):
    record = {"schema": records.SCHEMA, "key": key, "cell": {}, **changes}
    return records.write(folder, record)  # type: ignore[arg-type]


@given(st.lists(st.booleans(), max_size=70))
def test_bits_come_back(bits):
    text = pack_bits(np.array(bits, bool))
    assert unpack_bits(text, len(bits)).tolist() == bits


def test_eight_bits_a_byte_first_one_highest():
    assert (
        pack_bits(np.array([True, False, False, False, False, False, False, True, True])) == "gYA="
    )


def test_a_record_comes_back(tmp_path):
    path = store(tmp_path / "new", "abc", result={"accuracy": 0.1 + 0.2})
    assert path == records.path_of(tmp_path / "new", "abc")
    (found,) = records.read([tmp_path / "new"])
    assert found["result"] == {"accuracy": 0.1 + 0.2}
    assert path.read_text().endswith("}\n")


def test_one_key_counts_once_and_copies_are_told(tmp_path, capsys):
    one, two = (store(tmp_path / folder, "same") for folder in ("a/records", "b/records"))
    store(tmp_path / "b/records", "other")
    (tmp_path / "a/key.json").write_text("{}")  # of a stage; no record
    assert sorted(r["key"] for r in records.read([tmp_path, tmp_path / "a"])) == ["other", "same"]
    assert capsys.readouterr().err == f"{two} is a copy of {one}\n"


def test_of_records_that_differ_the_first_by_path_counts_and_both_are_named(tmp_path, capsys):
    one = store(tmp_path / "a", "same", result={"accuracy": 0.1})
    two = store(tmp_path / "b", "same", result={"accuracy": 0.2})
    for paths in ([tmp_path / "a", tmp_path / "b"], [two, one]):
        (found,) = records.read(paths)
        assert found["result"]["accuracy"] == 0.1
        assert capsys.readouterr().err == f"conflict: {two} differs from {one}, which counts\n"


def test_a_file_named_twice_is_no_copy(tmp_path, capsys):
    path = store(tmp_path, "one")
    assert len(records.read([tmp_path, path, tmp_path / ".." / tmp_path.name])) == 1
    assert capsys.readouterr().err == ""


def test_what_is_to_be_said_of_many_records_is_summed_up(tmp_path, capsys):
    for number in range(10):
        store(tmp_path / "a", f"k{number}")
        store(tmp_path / "b", f"k{number}")
    assert len(records.read([tmp_path / "a", tmp_path / "b"])) == 10
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[-1] == "... and 7 more like this"


def test_another_schema_is_named_and_left_out(tmp_path, capsys):
    path = store(tmp_path, "old", schema=0)
    store(tmp_path, "new")
    assert [r["key"] for r in records.read([tmp_path])] == ["new"]
    assert f"left out {path}: schema 0, this labelbench reads 1" in capsys.readouterr().err


def test_half_written_records_are_not_read(tmp_path):
    path = store(tmp_path, "whole")
    path.with_name(f".{path.name}.123.partial").write_text('{"schema": 1, "ke')
    assert [r["key"] for r in records.read([tmp_path])] == ["whole"]


@pytest.mark.parametrize("text", ["", '{"schema": 1, "key": "x"', "[]", '{"schema": 1}', "\x00"])
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(UserError, match=r"bad\.json' is no record"):
        records.read([tmp_path])


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match=r"There are no records at .*nowhere"):
        records.read([tmp_path / "nowhere"])
    assert records.read([tmp_path]) == []


def test_a_record_is_json_that_others_read(tmp_path):
    path = store(tmp_path, "k", environment={"name": "é"})
    assert json.loads(path.read_bytes())["environment"] == {"name": "é"}
