"""Records in dataset repositories of a Hub that this machine serves, and behind URLs."""

import pytest
from synthetic import record, repeats, world
from tiny import run_main

from benchmark.core.errors import UserError
from benchmark.core.hub import Repository
from benchmark.records import hub as records_hub
from benchmark.records import store

PLACE = "datasets/ann/records"
HARD = repeats("hard", [0.5, 0.52, 0.51])


def run_of(folder, *found):
    for made in found:
        store.write(folder / "records", made)
    return folder


def push(*paths):
    return records_hub.push(paths, Repository.parse("ann/records", "dataset"))


def pushed(hub):
    return {name for name in hub.repositories[PLACE].files if name.endswith(".jsonl")}


def keys(found):
    return sorted(store.identity(record) for record in found)


def test_pushes_add_up_and_the_same_records_add_nothing(hub, tmp_path):
    one = run_of(tmp_path / "one", HARD[0], record("soft"))
    two = run_of(tmp_path / "two", HARD[0], HARD[1])
    assert push(one) == (2, 2)
    first = pushed(hub)
    assert push(one) == (0, 2)
    assert push(two) == (1, 3)
    assert push(one, two) == (0, 3)
    hosted = hub.repositories[PLACE]
    assert len(hosted.commits) == 3
    assert len(first) == 1
    assert len(pushed(hub)) == 2
    assert pushed(hub) > first
    assert b"leaderboard hf:ann/records" in hosted.files["README.md"]
    found = store.read([records_hub.on_this_machine("hf:ann/records")])
    assert keys(found) == keys([*HARD[:2], record("soft")])
    assert store.read([records_hub.on_this_machine(f"hf:ann/records@{hosted.commits[1][0]}")])


def test_records_of_others_stay_and_are_not_contradicted(hub, tmp_path):
    elsewhere = {**HARD[0], "world": world(torch="2.0")}
    push(run_of(tmp_path / "theirs", elsewhere))
    assert push(run_of(tmp_path / "ours", HARD[0])) == (1, 2)
    before = dict(hub.repositories[PLACE].files)
    changed = {**HARD[0], "result": {**HARD[0]["result"], "seconds_fit": 9.0}}
    with pytest.raises(UserError, match=r"differs from .*key and world are the same"):
        push(run_of(tmp_path / "changed", changed))
    assert hub.repositories[PLACE].files == before


def test_what_is_pushed_at_the_same_time_is_merged(hub, tmp_path):
    push(run_of(tmp_path / "first", HARD[0]))
    hosted = hub.repositories[PLACE]
    mine = run_of(tmp_path / "mine", HARD[1], HARD[2])
    theirs = store.write(tmp_path / "theirs", HARD[1])

    def meanwhile():
        hub.before_commit = lambda: None
        push(theirs)

    hub.before_commit = meanwhile
    assert push(mine) == (1, 3)
    assert len(hosted.commits) == 4
    assert keys(store.read([records_hub.on_this_machine("hf:ann/records")])) == keys(HARD)


def test_nothing_is_made_for_damaged_records(hub, tmp_path):
    folder = run_of(tmp_path / "run", HARD[0])
    (folder / "records" / "x.json").write_text("{}")
    with pytest.raises(UserError, match="no record"):
        push(folder)
    assert hub.repositories == {}
    code, out, _ = run_main("collect", folder, "--push", "ann/records")
    assert (code, "problem: " in out, hub.repositories) == (2, True, {})


def test_the_commands(hub, tmp_path):
    folder = run_of(tmp_path / "run", *HARD)
    to = tmp_path / "some.jsonl"
    code, out, err = run_main("collect", folder, "--to", to, "--push", "ann/records", "--private")
    assert (code, err) == (0, "")
    assert out.splitlines()[-2:] == [
        f"{to}: 3 records added, 3 in all",
        "hf:ann/records: 3 records added, 3 in all",
    ]
    assert hub.repositories[PLACE].private
    (name,) = pushed(hub)
    assert hub.repositories[PLACE].files[name] == to.read_bytes()
    local = run_main("leaderboard", to)
    assert run_main("leaderboard", "hf:ann/records") == local
    assert local[0] == 0
    assert run_main("verify", "hf:ann/records")[0] == 0
    assert run_main("collect", folder)[0] == 2
    code, _, err = run_main("collect", folder, "--to", "hf:ann/records")
    assert (code, "goes --push, not 'hf:ann/records'" in err) == (2, True)
    assert len(hub.repositories[PLACE].commits) == 2
    code, _, err = run_main("leaderboard", "hf:ann/nothing")
    assert (code, "no dataset repository 'ann/nothing'" in err) == (2, True)
    hub.make("datasets/ann/other", {"data.csv": b"x"})
    code, _, err = run_main("leaderboard", "hf:ann/other")
    assert (code, "holds no records" in err) == (2, True)


def test_urls(memory, tmp_path):
    url = "memory://collections/some.jsonl"
    folder = run_of(tmp_path / "run", *HARD)
    code, out, err = run_main("collect", folder, "--to", url)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"{url}: 3 records added, 3 in all"
    run_of(tmp_path / "more", record("soft"))
    assert "1 records added, 4 in all" in run_main("collect", tmp_path / "more", "--to", url)[1]
    assert run_main("collect", folder, "--to", tmp_path / "some.jsonl")[0] == 0
    assert run_main("collect", tmp_path / "more", "--to", tmp_path / "some.jsonl")[0] == 0
    local = run_main("leaderboard", tmp_path / "some.jsonl")
    assert local[0] == 0
    assert run_main("leaderboard", url) == run_main("leaderboard", "memory://collections") == local
    before = memory.cat("/collections/some.jsonl")
    assert before == (tmp_path / "some.jsonl").read_bytes()
    changed = {**HARD[0], "result": {**HARD[0]["result"], "seconds_fit": 9.0}}
    code, _, err = run_main("collect", run_of(tmp_path / "changed", changed), "--to", url)
    assert (code, "differs from" in err) == (2, True)
    assert memory.cat("/collections/some.jsonl") == before
    assert run_main("collect", folder, "--to", "http://127.0.0.1:9/some.jsonl")[0] == 2
