import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hostile import reseal
from tiny import pictures, run_main, run_tiny
from torch import nn

from benchmark import open_labels
from benchmark.core.errors import ArtefactError, UserError
from benchmark.data import distilled
from benchmark.data.images import ResidentImages
from benchmark.labels import artefact

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A work folder with the tiny grid's records of three methods."""
    folder = tmp_path_factory.mktemp("work")
    methods = "soft,lpqld[keep=0.5,k=3],teacher"
    run_tiny(folder, "--methods", methods, "--set", "recipe.batch_size=8")
    return folder


def record_of(work, method):
    for file in (work / "records").iterdir():
        if json.loads(file.read_text())["cell"]["method"].startswith(method):
            return file
    raise LookupError(method)


def ship(work, method, to):
    code, out, err = run_main("ship", record_of(work, method), to, "--work", work)
    assert code == 0, err
    assert f"wrote {to / 'labels'} and {to / 'images'}" in out
    return to


@pytest.fixture(params=["soft", "lpqld", "teacher"])
def given(request, work, tmp_path):
    """A folder that was given away."""
    return ship(work, request.param, tmp_path / "given")


def test_what_is_shipped_is_what_the_record_counts(work, given):
    files = [path for path in (given / "labels").iterdir() if path.is_file()]
    method = artefact.read_manifest(given / "labels")["method"]
    record = json.loads(record_of(work, method).read_text())
    assert sum(file.stat().st_size for file in files) == record["storage"]["total"]
    assert (given / "images" / distilled.FILE).stat().st_size == record["storage"]["images"]


def test_five_lines_train_a_student(given):
    torch.manual_seed(0)
    layer = nn.Linear(64, 10)
    student = nn.Sequential(nn.Flatten(), layer)
    before = layer.weight.detach().clone()
    optimiser = torch.optim.SGD(student.parameters(), 0.1)

    labels = open_labels(given / "labels", given / "images", device="cpu")
    for epoch in range(labels.epochs):
        for images, targets in labels.epoch(epoch):
            loss = F.cross_entropy(student(images), targets)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    assert labels.epochs == 2
    assert loss.isfinite()
    assert not layer.weight.equal(before)


def test_the_readmes_loop(work, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "open_labels" in block]
    (folder,) = set(re.findall(r'"([^"]+)/(?:labels|images)"', code))
    ship(work, "lpqld", tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    layer = nn.Linear(64, 10)
    student = nn.Sequential(nn.Flatten(), layer)
    before = layer.weight.detach().clone()
    names = {"student": student, "optimiser": torch.optim.SGD(student.parameters(), 0.1)}
    exec(code.replace('device="auto"', 'device="cpu"'), names)
    assert not layer.weight.equal(before)


def test_batches_are_normalised_views_with_probabilities(given):
    labels = open_labels(given / "labels", given / "images", device="cpu")
    assert len(labels.class_names) == 10
    task, batches = labels.source.task, list(labels.epoch(1))
    assert len(batches) == task.plan.batches
    assert sum(len(images) for images, _ in batches) == 20
    for images, targets in batches:
        assert images.shape[1:] == (1, 8, 8)
        pixels = images * task.std[0] + task.mean[0]
        assert -1e-5 < pixels.min() < pixels.max() < 1 + 1e-5
        assert targets.shape == (len(images), 10)
        assert torch.allclose(targets.sum(1), torch.ones(len(images)))
        assert targets.min() >= 0


def fingerprint(given, seed=0):
    """SHA-256 over all images and targets of the shipped labels."""
    labels = open_labels(given / "labels", given / "images", device="cpu", seed=seed)
    sha = hashlib.sha256()
    for epoch in range(labels.epochs):
        for images, targets in labels.epoch(epoch):
            sha.update(images.numpy().tobytes())
            sha.update(targets.numpy().tobytes())
    return sha.hexdigest()


def test_a_new_process_replays_the_same_images_and_targets(work, tmp_path):
    given = ship(work, "lpqld", tmp_path / "given")
    code = "import sys, pathlib, test_shipping as t\n"
    code += "print(t.fingerprint(pathlib.Path(sys.argv[1]), 7))"
    replayed = subprocess.run(
        [sys.executable, "-c", code, str(given)],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert replayed.stdout.strip() == fingerprint(given, 7)
    assert fingerprint(given, 8) != fingerprint(given, 7)


def replace_images(given, images):
    (given / "images" / distilled.FILE).unlink()
    distilled.write(given / "images", images)


def test_other_images_and_classes_are_refused(given):
    own = distilled.read(given / "images", CPU)
    replace_images(given, ResidentImages(own.pixels, own.labels, ["nought", *own.class_names[1:]]))
    with pytest.raises(ArtefactError, match="made for other classes than nought, one, two"):
        open_labels(given / "labels", given / "images", device="cpu")
    replace_images(given, pictures(20))
    with pytest.raises(ArtefactError, match=f"not for these .{pictures(20).digest[:16]}"):
        open_labels(given / "labels", given / "images", device="cpu")


def test_changed_images_are_refused(given):
    file = given / "images" / distilled.FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtefactError, match="were changed: copy them again"):
        open_labels(given / "labels", given / "images", device="cpu")
    file.write_bytes(whole[:-1])
    with pytest.raises(ArtefactError, match="holds no distilled images that can be read"):
        open_labels(given / "labels", given / "images", device="cpu")


def test_an_unknown_method_is_named(given):
    reseal(given / "labels" / artefact.MANIFEST, lambda told: told.update(method="lpqd"))
    with pytest.raises(UserError, match=r"Unknown method 'lpqd'. Did you mean 'lpqld' or 'ld'\?"):
        open_labels(given / "labels", given / "images", device="cpu")


def test_shipping_refuses_what_it_cannot_give(work, tmp_path):
    own = tmp_path / "work"
    shutil.copytree(work, own)
    record, to = record_of(own, "soft"), tmp_path / "given"
    labels = own / "stages" / json.loads(record.read_text())["inputs"]["labels"] / "artefact"
    shard = labels / "labels-00000.safetensors"

    def refused(*arguments):
        before = sorted(tmp_path.rglob("*"))
        code, _, err = run_main("ship", *arguments)
        assert sorted(tmp_path.rglob("*")) == before
        assert code == 2
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        return err

    assert "There are no records" in refused(tmp_path / "absent.json", to)
    assert "is not there: is --work" in refused(record, to, "--work", tmp_path)
    assert "holds 3 records; name one" in refused(own / "records", to, "--work", own)
    images = own / "stages" / json.loads(record.read_text())["inputs"]["images_stage"]
    whole = (images / distilled.FILE).read_bytes()
    (images / distilled.FILE).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert "were changed" in refused(record, to, "--work", own)
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "it is truncated" in refused(record, to, "--work", own)
    to.mkdir()
    assert "exists already" in refused(record, to, "--work", own)


def test_labels_for_whitened_pixels_serve_this_suites_students_only(tmp_path):
    run_tiny(tmp_path, "--methods", "soft", "--recipe", "qin")
    (record,) = (tmp_path / "records").iterdir()
    told = json.loads(record.read_text())
    assert told["recipe"]["pixels"] == "whitened"
    assert len(told["recipe"]["augmentation"]["dsa"]) == 6
    code, _, err = run_main("ship", record, tmp_path / "given", "--work", tmp_path)
    assert code == 2
    assert "they serve no other training loop" in err
    assert not (tmp_path / "given").exists()
    stages = tmp_path / "stages"
    labels = stages / told["inputs"]["labels"] / "artefact"
    with pytest.raises(UserError, match="they serve no other training loop"):
        open_labels(labels, stages / told["inputs"]["images_stage"], device="cpu")
