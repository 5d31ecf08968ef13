import json
import math
from pathlib import Path

import pytest
from synthetic import record, repeats, world
from test_record import old
from tiny import listing, run_main

from benchmark.core.errors import UserError
from benchmark.records import store
from benchmark.records.collection import collect

RESULTS = Path(__file__).parents[2] / "results"
HARD = repeats("hard", [0.5, 0.52, 0.51])


def run_of(folder: Path, *found) -> Path:
    for made in found:
        store.write(folder / "records", made)
    return folder


def test_runs_become_one_sorted_file(tmp_path):
    one = run_of(tmp_path / "one", HARD[2], record("soft"), HARD[0])
    two = run_of(tmp_path / "two", HARD[1], HARD[0])
    target = tmp_path / "results" / "some.jsonl"
    assert collect([one], target) == (3, 3)
    assert collect([two], target) == (1, 4)
    assert collect([two, one], target) == (0, 4)
    lines = target.read_text().splitlines()
    assert [json.loads(text) for text in lines] == [*HARD, record("soft")]
    assert all(text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
               for text in lines)  # fmt: skip
    other = tmp_path / "other.jsonl"
    collect([two, one], other)
    assert other.read_bytes() == target.read_bytes()


def test_another_world_is_held_beside_and_older_schemas_are_upgraded(tmp_path):
    target = tmp_path / "some.jsonl"
    elsewhere = {**HARD[0], "world": world(torch="2.0")}
    collect([run_of(tmp_path / "a", HARD[0]), run_of(tmp_path / "b", elsewhere)], target)
    (tmp_path / "old.json").write_text(json.dumps(old()))
    assert collect([tmp_path / "old.json"], target) == (1, 3)
    assert [json.loads(text)["schema"] for text in target.read_text().splitlines()] == [3] * 3


@pytest.mark.parametrize("damage", ["differs", "damaged", "target"])
def test_nothing_is_written_if_anything_is_wrong(tmp_path, damage):
    target = tmp_path / "some.jsonl"
    collect([run_of(tmp_path / "a", HARD[0])], target)
    other = run_of(tmp_path / "b", HARD[1])
    if damage == "differs":
        changed = {**HARD[0], "result": {**HARD[0]["result"], "seconds_fit": 9.0}}
        run_of(tmp_path / "b", changed)
    elif damage == "damaged":
        (other / "records" / "x.json").write_text("{}")
    else:
        target.write_text(target.read_text() + "{}\n")
    before = listing(tmp_path)
    words = {"differs": "differs from", "damaged": "x.json: no record", "target": "some.jsonl:2: "}
    with pytest.raises(UserError, match=words[damage]):
        collect([other], target)
    code, out, err = run_main("collect", other, "--to", target)
    assert code == 2
    assert words[damage] in out + err
    assert listing(tmp_path) == before


def test_the_command_shows_warnings_and_counts(tmp_path):
    code, out, err = run_main(
        "collect", run_of(tmp_path / "a", *HARD), "--to", tmp_path / "x.jsonl"
    )
    assert (code, err) == (0, "")
    assert "warning: digits, IPC 10" in out
    assert out.splitlines()[-1] == f"{tmp_path / 'x.jsonl'}: 3 records added, 3 in all"
    assert run_main("collect", tmp_path / "a", "--to", tmp_path / "x.json")[0] == 2


def test_the_published_records_survived_their_upgrade():
    """They were measured under schema 1: sums of what they said then."""
    found = store.read([RESULTS / "learned-labels-cpu.jsonl"])
    right = [r["result"]["accuracy"] * r["result"]["test_images"] for r in found]
    losses = [loss or 0.0 for r in found for loss in r["result"]["train_loss"]]
    assert len(found) == 269
    assert sum(map(round, right)) == 625_723
    assert sum(r["storage"]["total"] for r in found) == 910_560
    assert math.fsum(losses) == pytest.approx(27643.15329384494, rel=1e-12)
    threads = [r["world"]["threads"] for r in found]
    precisions = [r["precision"] for r in found]
    assert (threads.count(1), threads.count(2)) == (269, 0)
    assert (precisions.count("bf16"), precisions.count("fp32")) == (0, 269)


def test_measurements_alone_are_no_collection_of_cells(tmp_path):
    (tmp_path / "distortion.jsonl").write_text("")
    with pytest.raises(UserError, match=r"no cells' records in .* collected into speed\.jsonl and"):
        collect([tmp_path], tmp_path / "some.jsonl")
    assert not (tmp_path / "some.jsonl").exists()
