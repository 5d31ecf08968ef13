import json
import time
from typing import Any

import numpy as np
import pytest
from synthetic import record, repeats, world

from benchmark.core.errors import UserError
from benchmark.records import store
from benchmark.records.collection import line
from benchmark.records.record import world_digest

HARD: Any = record("hard")
SOFT: Any = record("soft")
SLOWER: Any = {**HARD, "result": {**HARD["result"], "seconds_fit": 9.0}}  # its key and world


def changed(made: Any, **changes: Any) -> Any:
    return {**made, **changes}


def keys(*paths) -> list[str]:
    return sorted(found["key"] for found in store.read(paths))


def test_a_record_comes_back(tmp_path):
    path = store.write(tmp_path / "new", HARD)
    assert path == store.path_of(tmp_path / "new", HARD["key"], world_digest(world()))
    assert path.name == f"{HARD['key']}-{world_digest(world())}.json"
    assert store.read([tmp_path / "new"]) == [HARD]
    assert path.read_text().endswith("}\n")


def test_what_no_reader_takes_is_not_written(tmp_path):
    for change in ({"accuracy": 0.9999}, {"seconds_fit": float("nan")}):
        with pytest.raises(UserError, match=r"cannot be written: .*(accuracy|seconds_fit|NaN)"):
            store.write(tmp_path, changed(HARD, result={**HARD["result"], **change}))
    assert [*tmp_path.iterdir()] == []


def test_copies_count_once_and_are_told(tmp_path, capsys):
    one, two = (store.write(tmp_path / folder, HARD) for folder in ("a/records", "b/records"))
    store.write(tmp_path / "b/records", SOFT)
    (tmp_path / "a/key.json").write_text("{}")  # of a stage; no record
    assert keys(tmp_path, tmp_path / "a") == sorted([HARD["key"], SOFT["key"]])
    assert capsys.readouterr().err == f"{two} is a copy of {one}\n"


def test_one_key_in_two_worlds_is_two_records(tmp_path, capsys):
    elsewhere = changed(HARD, world=world(torch="2.0"))
    assert store.write(tmp_path, HARD) != store.write(tmp_path, elsewhere)
    assert len(store.read([tmp_path])) == 2
    assert capsys.readouterr().err == ""


def test_of_records_that_differ_the_first_by_path_counts_and_both_are_named(tmp_path, capsys):
    one, two = store.write(tmp_path / "a", HARD), store.write(tmp_path / "b", SLOWER)
    for paths in ([tmp_path / "a", tmp_path / "b"], [two, one]):
        assert store.read(paths) == [HARD]
        assert capsys.readouterr().err == f"conflict: {two} differs from {one}, which counts\n"


def test_a_file_named_twice_is_no_copy(tmp_path, capsys):
    path = store.write(tmp_path, HARD)
    assert len(store.read([tmp_path, path, tmp_path / ".." / tmp_path.name])) == 1
    assert capsys.readouterr().err == ""


def test_what_is_to_be_said_of_many_records_is_summed_up(tmp_path, capsys):
    for made in repeats("hard", [0.5] * 10):
        store.write(tmp_path / "a", made)
        store.write(tmp_path / "b", made)
    assert len(store.read([tmp_path / "a", tmp_path / "b"])) == 10
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[-1] == "... and 7 more like this"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 0}', '{"schema": 4}', '{"schema": 2, "key": "x"', "\x00"]
)
def test_a_damaged_record_is_named_and_left_out(tmp_path, capsys, text):
    (tmp_path / "bad.json").write_text(text)
    store.write(tmp_path, HARD)
    assert store.read([tmp_path]) == [HARD]
    err = capsys.readouterr().err
    assert err.startswith(f"left out {tmp_path / 'bad.json'}: ")
    assert err.count("\n") == 1


def test_an_accuracy_that_its_bits_deny_is_left_out(tmp_path, capsys):
    path = store.write(tmp_path, HARD)
    path.write_text(path.read_text().replace('"accuracy": 0.5', '"accuracy": 0.9999'))
    assert store.read([tmp_path]) == []
    assert "result.accuracy is 0.9999, but 50 of 100" in capsys.readouterr().err


def test_half_written_records_are_not_read(tmp_path):
    path = store.write(tmp_path, HARD)
    path.with_name(f".{path.name}.123.partial").write_text('{"schema": 1, "ke')
    assert store.read([tmp_path]) == [HARD]


def test_a_collection_holds_a_record_a_line_and_errors_name_the_line(tmp_path, capsys):
    file = tmp_path / "some.jsonl"
    file.write_text(line(HARD) + "{}\n" + line(SOFT) + line(SOFT))
    store.write(tmp_path / "run/records", record("ld"))
    assert keys(tmp_path) == sorted([HARD["key"], SOFT["key"], record("ld")["key"]])
    assert capsys.readouterr().err.splitlines() == [
        f"left out {file}:2: no record",
        f"{file}:4 is a copy of {file}:3",
    ]
    assert keys(file) == sorted([HARD["key"], SOFT["key"]])


def test_a_line_or_file_without_end_is_not_taken_whole(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(store, "MOST_BYTES", 20_000)
    (tmp_path / "a.jsonl").write_text(line(HARD) + " " * 50_000 + line(SOFT))
    (tmp_path / "b.json").write_text(" " * 50_000 + line(SOFT))
    assert store.read([tmp_path / "a.jsonl", tmp_path / "b.json"]) == [HARD]
    lines = capsys.readouterr().err.splitlines()
    assert [text.partition(": larger than 20,000 bytes")[0] for text in lines] == [
        f"left out {tmp_path / where}" for where in ("a.jsonl:2", "b.json")
    ]


def test_nothing_there(tmp_path):
    with pytest.raises(UserError, match=r"There are no records at .*nowhere"):
        store.read([tmp_path / "nowhere"])
    assert store.read([tmp_path]) == []


def test_a_file_that_cannot_be_opened_is_named(tmp_path, capsys):
    (tmp_path / "x.json").mkdir()
    store.write(tmp_path, HARD)
    assert store.read([tmp_path]) == [HARD]
    assert "x.json: it cannot be read: Is a directory" in capsys.readouterr().err


def test_a_record_is_json_that_others_read(tmp_path):
    path = store.write(tmp_path, changed(HARD, options={"name": "é"}))
    assert json.loads(path.read_bytes())["options"] == {"name": "é"}


def test_ten_thousand_records_are_read_in_seconds(tmp_path):
    right = np.arange(10_000) < 5_000
    made = record("hard", right=right, recipe={"epochs": 300, "name": "x"})
    made["result"]["train_loss"] = [1 / (epoch + 3) for epoch in range(300)]
    text = [line(changed(made, key=f"{number:024x}")) for number in range(1_000)]
    (tmp_path / "many.jsonl").write_text("".join(text))
    started = time.process_time()
    assert len(store.read([tmp_path])) == 1_000
    assert time.process_time() - started < 1.5
