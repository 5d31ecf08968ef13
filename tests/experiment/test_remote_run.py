"""Whole runs whose work folder is at a URL, on a server of S3 on this machine."""

import json
import shutil
from pathlib import Path

import fsspec
import pytest
from s3_server import BUCKET, KEYS, serving
from tiny import GRID, run_main, run_tiny
from tiny import WORDS as TINY

import benchmark
from benchmark.core import bounded_cache, remote
from benchmark.records import store

pytest.importorskip("moto.server")
pytest.importorskip("s3fs")
WORDS = ["--methods", "hard,soft"]
TIMED = ("seconds_train", "seconds_fit", "batched")


@pytest.fixture(scope="module")
def bucket():
    with serving() as url:
        yield url


@pytest.fixture(scope="module")
def ran(bucket, tmp_path_factory):
    """The same grid in a folder, and at a URL from a machine of its own; what was printed."""
    root, patched = tmp_path_factory.mktemp("ran"), pytest.MonkeyPatch()
    patched.setenv(bounded_cache.FOLDER, str(root / "here"))
    url = f"{bucket}/some/runs"
    told = run_tiny(root / "work", *WORDS), run_tiny(url, *WORDS)
    yield root, url, told
    patched.undo()


def untimed(records):
    """Records without what the clock says, by their keys."""
    found = {}
    for made in records:
        kept = json.loads(json.dumps(made))
        del kept["throughput"]
        for name in TIMED:
            kept["result"].pop(name, None)
        found[store.identity(made)] = kept
    return found


def names(system, folder):
    return {path.rpartition("/")[2] for path in system.ls(f"{BUCKET}/some/runs/{folder}")}


def test_records_are_those_of_a_folder_and_every_stage_is_there(ran):
    root, url, _ = ran
    local = store.read([root / "work"])
    assert len(local) == 2
    assert untimed(benchmark.results(url).records) == untimed(local)
    system = fsspec.filesystem("s3")
    assert names(system, "records") == {p.name for p in (root / "work" / "records").iterdir()}
    stages = {p.name for p in (root / "work" / "stages").glob("*-*") if p.is_dir()}
    assert names(system, "stages") == stages
    for name in stages:
        assert system.exists(f"{BUCKET}/some/runs/stages/{name}/seal.json")


def test_another_machine_finds_all_of_it_and_makes_what_is_missing(ran, monkeypatch, tmp_path):
    _, url, _ = ran
    monkeypatch.setenv(bounded_cache.FOLDER, str(tmp_path / "there"))
    code, out, err = run_main("run", *GRID, *WORDS, "--work", url, "--dry-run", "-v")
    assert (code, out.count("\ncached  "), out.count("\nmissing  ")) == (0, 2, 0)
    assert "2 cells: 2 cached, 0 to run" in err
    stages = names(fsspec.filesystem("s3"), "stages")
    run_tiny(url, "--methods", "soft", "--seeds", "2")
    added = names(fsspec.filesystem("s3"), "stages") - stages
    assert added == set()  # its labels, images and teacher were found
    assert len(benchmark.results(url).records) == 3


@pytest.mark.long
def test_the_quick_start_far_away_is_the_one_here(bucket, monkeypatch, tmp_path):
    monkeypatch.setenv(bounded_cache.FOLDER, str(tmp_path / "here"))
    work, url = tmp_path / "work", f"{bucket}/quick/start"
    for place in (work, url):
        words = ["--methods", "hello,lpqld", "--jobs", "1", "--device", "cpu"]
        code, _, err = run_main("run", *words, "--work", place)
        assert code == 0, err
    local, far = store.read([work]), benchmark.results(url).records
    assert {r["cell"]["method"].partition("[")[0] for r in local} > {"hello", "lpqld", "soft"}
    assert untimed(far) == untimed(local)
    shutil.rmtree(bounded_cache.shared_folder() / "work")  # as on another machine
    assert untimed(benchmark.results(url).records) == untimed(local)
    system = fsspec.filesystem("s3")
    artefacts = sorted(work.glob("stages/labels-*/artefact/*"))
    assert artefacts
    for file in artefacts:
        name = file.relative_to(work).as_posix()
        assert system.cat_file(f"{BUCKET}/quick/start/{name}") == file.read_bytes()


def test_leaderboard_collect_and_ship_take_the_url(ran, bucket, tmp_path):
    root, url, _ = ran
    code, out, _ = run_main("leaderboard", url)
    assert (code, "ACCURACY | digits" in out) == (0, True)
    code, out, err = run_main("collect", url, root / "work", "--to", tmp_path / "all.jsonl")
    # Of the same key and world, from two runs: they differ in their times.
    assert (code, "has its key and world, and differs" in out) == (2, True)
    code, out, err = run_main("collect", url, "--to", tmp_path / "all.jsonl")
    assert code == 0, err
    assert "records added" in out
    far = f"{bucket}/published/all.jsonl"
    for added in (3, 0):  # made, then added to
        code, out, err = run_main("collect", tmp_path / "all.jsonl", "--to", far)
        assert (code, f"{far}: {added} records added, 3 in all" in out) == (0, True), err
    system, there = fsspec.filesystem("s3"), f"{BUCKET}/published/all.jsonl"
    assert system.cat_file(there) == (tmp_path / "all.jsonl").read_bytes()
    assert system.ls(f"{BUCKET}/published", refresh=True) == [there]  # nothing half made beside it
    shutil.rmtree(bounded_cache.shared_folder() / "work")  # as on another machine
    record = next(p.name for p in (root / "work" / "records").iterdir())
    shipped = tmp_path / "shipped"
    code, out, err = run_main("ship", f"{url}/records/{record}", shipped, "--work", url)
    assert code == 0, err
    assert benchmark.open_labels(shipped, device="cpu").epochs == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["clean", "--work"], "nothing is removed there: `verify` names"),
        (["profile", *TINY, "--methods", "hard", "--work"], "name a folder of this machine"),
        (["distortion", *TINY, "--methods", "hard", "--work"], "name a folder of this machine"),
    ],
)
def test_what_takes_no_url_says_so(bucket, words, said):
    code, _, err = run_main(*words, f"{bucket}/runs")
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_bucket_that_is_not_there_is_a_sentence_without_credentials(bucket, monkeypatch):
    monkeypatch.setattr(remote, "WAITS", ())
    code, _, err = run_main("run", *GRID, *WORDS, "--work", "s3://nowhere/runs")
    assert code == 2
    assert "s3://nowhere/runs/labelbench.txt' (The specified bucket does not exist" in err
    assert err.count("\n") == 1
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in err


def test_a_run_goes_on_while_the_network_is_away(ran, monkeypatch, tmp_path):
    _, url, _ = ran
    monkeypatch.setenv(bounded_cache.FOLDER, str(tmp_path / "third"))
    monkeypatch.setattr(remote, "WAITS", ())
    put = remote.put_file

    def away(file: Path, to: str, whole: bool = True) -> None:
        if "/records/" in to:
            raise remote.UserError(f"Cannot write {to!r} (by peer).")
        put(file, to, whole)

    with monkeypatch.context() as patched:
        patched.setattr(remote, "put_file", away)
        words = [*GRID, "--methods", "smoothed", "--work", url]
        code, out, err = run_main("run", *words)
    assert code == 2
    assert "smoothed" in out  # the tables are shown all the same
    assert err.splitlines()[-1].startswith("error: 1 stages and records could not be written to s3")
    code, _, err = run_main("run", *words)
    assert code == 0, err
    assert "1 cells: 1 cached, 0 to run" in err
    assert any(r["cell"]["method"] == "smoothed" for r in benchmark.results(url).records)
