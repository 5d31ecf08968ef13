"""Work folders and shipped folders hashed again: what is missing, changed, orphaned."""

import json
import shutil

import pytest
from synthetic import record
from tiny import DESCRIBED, contents, pictures, run_main

from benchmark.core import cache, remote
from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.core.files import digest
from benchmark.exchange import image_table
from benchmark.labels import artefact, packed
from benchmark.records import store
from benchmark.report.verify_folders import verify_places


def _write(folder, text):
    (folder / "x").write_text(text)


@pytest.fixture
def work(tmp_path):
    """A work folder: a record, its labels made of its images, and images that nobody refers to."""
    folder = tmp_path / "work"
    stages = Cache(folder / "stages")
    images = {"source": "random"}
    shown = stages.make("images", images, lambda f: _write(f, "pixels"))
    other = stages.make("images", {"source": "noise"}, lambda f: _write(f, "noise"))
    size = 0

    def labels(target):
        nonlocal size
        (target / "artefact").mkdir()
        artefact.write(target / "artefact", DESCRIBED, [])
        size = sum(file.stat().st_size for file in (target / "artefact").iterdir())

    fitted = stages.make("labels", {"images": digest(images)}, labels)
    made = record("hard")
    made["inputs"] |= {"labels": fitted.name, "images_stage": shown.name}
    of = made["storage"]
    of.update(dict.fromkeys(("values", "indices", "views", "weights"), 0))
    of.update(container=size, total=size)
    store.write(folder / "records", made)
    cache._checked.clear()
    return folder, fitted, shown, other


def found(*places):
    _, hashed = verify_places([str(place) for place in places])
    return {(finding.place.rpartition("/")[2], finding.state) for finding in hashed.findings}


def test_a_whole_folder_has_only_orphans(work):
    folder, _, _, other = work
    report, hashed = verify_places([str(folder)])
    assert report.problems == []
    assert found(folder) == {(other.name, "orphaned")}
    assert f"{folder}/{other.name}: orphaned: no record refers to it" in report.warnings
    assert hashed.table().splitlines()[-1].split() == ["stage", "3", "0", "0", "1"]


@pytest.mark.parametrize("far", [False, True])
def test_what_is_changed_or_missing_is_named(work, memory, far):
    folder, fitted, shown, other = work
    (shown / "x").write_text("pixelS")
    shutil.rmtree(fitted)
    (other / "seal.json").unlink()
    place = str(folder)
    if far:
        place = "memory://some/runs"
        remote.put_folder(folder, place)
    assert found(place) == {
        (fitted.name, "missing"),
        (shown.name, "changed"),
        (other.name, "orphaned"),
    }
    code, out, _ = run_main("verify", place)
    assert code == 1
    assert f"problem: {place}/{shown.name}: changed: x was changed" in out
    assert f"problem: {place}/{fitted.name}: missing: record" in out
    assert f"warning: {place}/{other.name}: orphaned: it has no seal: it was never" in out
    assert out.splitlines()[-1] == "1 records: 2 problems"


def test_an_artefact_of_another_size_than_its_record_says(work):
    folder, fitted, *_ = work
    (file,) = (folder / "records").iterdir()
    told = json.loads(file.read_text())
    told["storage"]["container"] += 1
    told["storage"]["total"] += 1
    file.write_text(json.dumps(told))
    report, _ = verify_places([str(folder)])
    assert [line for line in report.problems if "says" in line and fitted.name in line]


def test_a_folder_without_records_and_places_without_anything(work, tmp_path):
    folder, *_ = work
    shutil.rmtree(folder / "records")
    report, hashed = verify_places([str(folder)])
    assert (report.count, hashed.counts["stage"], len(hashed.findings)) == (0, 3, 3)
    with pytest.raises(UserError, match="no records at"):
        verify_places([str(tmp_path / "nowhere")])


@pytest.mark.parametrize("far", [False, True])
def test_a_shipped_folder_is_held_to_its_manifest(tmp_path, memory, far):
    shipped = tmp_path / "shipped"
    for part in ("labels", "images"):
        (shipped / part).mkdir(parents=True)
    images = pictures(20)
    image_table.write(shipped / "images", images)
    artefact.write(shipped / "labels", DESCRIBED | {"images": images.digest}, [])
    place = str(shipped)
    if far:
        place = "memory://given"
        remote.put_folder(shipped, place)
    code, out, _ = run_main("verify", place, "--json")
    assert (code, json.loads(out)["counts"]) == (0, {"shipped folder": 1})
    labels = shipped / "labels" / packed.FILE
    damaged = bytearray(labels.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    labels.write_bytes(damaged)
    if far:
        memory.pipe_file(f"/given/labels/{packed.FILE}", bytes(damaged))
    code, out, _ = run_main("verify", place, "--json")
    told = json.loads(out)
    assert code == 1
    assert [each["state"] for each in told["findings"]] == ["changed"]
    assert "its seal is not that of its bytes" in told["problems"][0]
    assert contents(shipped)  # nothing was taken away
