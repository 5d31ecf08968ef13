"""`clean`: what nothing refers to goes, and nothing else."""

import os
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image
from tiny import listing, run_main, run_tiny

from benchmark.core import bounded_cache, facts
from benchmark.core.bounded_cache import held, idle
from benchmark.core.files import digest
from benchmark.experiment import fitter
from benchmark.experiment.clean import referred
from benchmark.experiment.run_cell import LOCKS, RUN

METHODS = ("--methods", "hard,soft", "--recipe", "quick")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work = tmp_path_factory.mktemp("clean") / "work"
    run_tiny(work, *METHODS)
    return work


@pytest.fixture
def work(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "work"))


def cleaned(work, *arguments):
    code, out, err = run_main("clean", "--work", work, *arguments)
    return code, out + err


def stages(work, kind=""):
    found = {path.name for path in (work / "stages").glob(f"{kind}*") if path.is_dir()}
    return found - {facts.FOLDER}  # a few numbers, which nothing is made from


def test_all_that_records_refer_to_stays(work):
    before = stages(work)
    code, out = cleaned(work)
    assert code == 0
    assert stages(work) == before
    assert not [*work.glob("stages/*.lock"), *work.glob("locks/*.lock")]
    assert out.endswith("0 B removed\n")
    again = listing(work / "records")
    run_tiny(work, *METHODS)  # finds all there
    assert listing(work / "records") == again


def test_stages_without_a_record_go(work):
    records = {file: file.read_text() for file in work.glob("records/*.json")}
    soft = next(file for file, text in records.items() if '"method": "soft"' in text)
    soft.unlink()
    before = stages(work)
    plain = cleaned(work, "--dry-run")[1]
    assert stages(work) == before
    out = cleaned(work)[1]
    assert out.replace("removed", "would go") == plain
    (gone,) = before - stages(work)
    assert gone.startswith("labels-")
    assert f"{gone}: a stage that no record refers to" in out
    for file in work.glob("records/*.json"):
        file.unlink()
    (work / "failures").mkdir()
    (work / "failures" / "x.txt").write_text("why")
    cleaned(work)
    assert stages(work) == set()
    assert (work / "failures" / "x.txt").exists()
    assert (work / "tables").exists()


def test_what_a_killed_process_was_writing_goes(work):
    before = listing(work / "tables")
    places = ("tables/.t.csv.7.partial", "checkpoints/a-b.partial", "site/data/.x.js.7.partial")
    for place in (*places, f"stages/{facts.FOLDER}/.x.7.partial"):
        (work / place).parent.mkdir(parents=True, exist_ok=True)
        (work / place).write_text("half")
    code, out = cleaned(work)
    assert (code, "t.csv.7.partial: a file of a process that has ended" in out) == (0, True)
    assert not list(work.rglob("*.partial"))
    assert listing(work / "tables") == before


def test_what_an_interrupted_run_goes_on_from_stays_unless_it_is_given_up(work):
    for file in work.glob("records/*.json"):
        file.unlink()
    half, checkpoint = work / "stages" / "labels-0.partial", work / "checkpoints" / "a-b.pt"
    half.mkdir()
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.write_bytes(b"weights")
    before = stages(work)
    cleaned(work)
    assert stages(work) == before
    assert checkpoint.exists()
    cleaned(work, "--unfinished")
    assert stages(work) == set()
    assert not checkpoint.exists()


def test_checkpoints_of_recorded_students_go(work):
    recorded = next(work.glob("records/*.json"))
    checkpoint = work / "checkpoints" / f"{recorded.stem}.pt"
    checkpoint.parent.mkdir(exist_ok=True)
    checkpoint.write_bytes(b"weights")
    cleaned(work)
    assert not checkpoint.exists()


def test_nothing_goes_while_a_run_is_at_work(work):
    before = listing(work)
    with held(work / LOCKS / RUN):
        code, out = cleaned(work)
    assert code == 2
    assert "A run is at work in" in out
    assert listing(work).keys() >= before.keys()
    assert cleaned(work)[0] == 0


def test_nothing_goes_while_a_record_cannot_be_read(work):
    before = stages(work)
    next(work.glob("records/*.json")).write_text("{")
    code, out = cleaned(work)
    assert code == 2
    assert "nobody knows which stages it refers to" in out
    assert stages(work) == before


def test_decoded_pixels_go_with_their_source(tmp_path, monkeypatch):
    monkeypatch.setenv(bounded_cache.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setattr(bounded_cache, "_in_use", {})
    monkeypatch.setattr(facts, "SETTLED", 0.0)  # or files as new as these would be read again
    root = tmp_path / "pictures"
    for split in ("train", "test"):
        for number, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for shade in range(4):
                file = root / split / name / f"{shade}.png"
                Image.new("L", (8, 8), 20 * shade + 100 * number + (split == "test")).save(file)
    run_tiny(tmp_path / "work", "--dataset", f"folder:{root}", "--methods", "hard")

    def decoded():
        return [path for path in (tmp_path / "cache").glob("decoded-*") if path.is_dir()]

    assert len(decoded()) == 2
    cleaned(tmp_path / "work")
    assert len(decoded()) == 2
    before, known = listing(tmp_path), ("--dataset", f"folder:{root}")
    looked = run_tiny(tmp_path / "work", *known, "--methods", "hard,smoothed", "--dry-run", "-v")
    cells = [line for line in looked.splitlines() if line.startswith(("cached  ", "missing  "))]
    assert [line.split()[0] for line in cells] == ["cached", "missing"]
    assert listing(tmp_path) == before
    shutil.rmtree(root)
    cleaned(tmp_path / "work")  # this process, and the one that fits, still use them
    assert len(decoded()) == 2
    fitter.stop()
    for handle in bounded_cache._in_use.values():
        os.close(handle)
    until = time.monotonic() + 20
    while not all(map(idle, decoded())) and time.monotonic() < until:
        time.sleep(0.05)
    out = cleaned(tmp_path / "work")[1]
    assert f"pixels of {root / 'train' / 'cat'}, which is gone" in out
    assert decoded() == []


def test_a_key_refers_to_digests_and_to_keys_within():
    inner = {"a": [1, {"b": 2}]}
    other = digest("x")
    found = referred({"base": inner, "images": other, "name": "short"})
    assert {digest(inner)[:20], digest({"b": 2})[:20], other[:20]} < found
    assert len(found) == 4
