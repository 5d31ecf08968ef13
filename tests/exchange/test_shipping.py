import hashlib
import json
import os
import pickle
import re
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import forked
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from hostile import manifest_of, reseal
from PIL import Image
from tiny import NETWORK, pictures, recipe_of, run_main, run_tiny
from torch import nn
from torch.utils.data import DataLoader

from benchmark import open_labels
from benchmark.core.device import Compute
from benchmark.core.errors import ArtefactError, UserError
from benchmark.data import distilled
from benchmark.data.images import ResidentImages, decode
from benchmark.exchange import image_table, shipped
from benchmark.labels import artefact, student
from benchmark.models.classifier import correct

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
    assert f"wrote {to / 'labels'} and {to / 'images'}, and their card, {to / 'README.md'}" in out
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
    images = distilled.read(work / "stages" / record["inputs"]["images_stage"], CPU)
    assert torch.equal(image_table.read(given / "images", CPU).pixels, images.pixels)
    assert sorted(path.name for path in given.iterdir()) == ["README.md", "images", "labels"]


def test_a_folder_is_not_its_makers_alone(work, tmp_path):
    """Caches may hold files of mode 0600."""
    own = tmp_path / "work"
    shutil.copytree(work, own)
    for path in [*(own / "stages").rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
    mask = os.umask(0o022)
    try:
        given = ship(own, "soft", tmp_path / "given")
    finally:
        os.umask(mask)
    paths = [given, *given.rglob("*")]
    assert len(paths) == 6
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644), path


def readmes_loop(device="cpu", precision="fp32", seed=3):
    """The documentation's code, for this device, and the name of the folder that it opens."""
    page = (ROOT / "docs" / "exchange.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (code,) = [block for block in blocks if "open_labels" in block]
    (folder,) = re.findall(r'open_labels\("([^"]+)"', code)
    place = f'device="{device}", precision="{precision}", seed={seed}'
    return code.replace('device="auto"', place), folder


class Watched:
    """An optimiser that writes down the loss of each step."""

    def __init__(self, optimiser, names):
        self.optimiser, self.names, self.losses = optimiser, names, []

    def zero_grad(self):
        self.optimiser.zero_grad()

    def step(self):
        self.losses.append(self.names["loss"].item())
        self.optimiser.step()


def harness(given, folder):
    """The harness's student on a folder given away, its curve, and the parts of a loop like it."""
    source = open_labels(given, device="cpu", precision="fp32", seed=3).source
    recipe = replace(recipe_of("quick"), epochs=2, batch_size=8)
    learner = student.build(NETWORK, source, 3)
    curve = student.train(learner, source, recipe, folder / "checkpoint", "harness")
    network = student.untrained(NETWORK, source, 3).train()
    optimiser, schedule = student.optimisation(recipe, source).build(network)
    return learner, curve, {"student": network, "optimiser": optimiser, "schedule": schedule}


def same_weights(network, other):
    for name, weight in network.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name


def test_the_readmes_loop_trains_the_harness_student(given, tmp_path, monkeypatch):
    code, folder = readmes_loop()
    given.rename(tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    learner, curve, names = harness(tmp_path / folder, tmp_path)
    test = pictures(30, seed=5)
    names |= {"optimiser": Watched(names["optimiser"], names), "test_pixels": test.pixels}
    exec(code, names)

    means = torch.tensor(names["optimiser"].losses).view(2, -1).mean(1)
    assert curve == pytest.approx(means.tolist(), abs=1e-6)
    same_weights(learner.network, names["student"])
    right = names["predicted"] == test.labels
    assert torch.equal(right, correct(learner, test, names["labels"].source.task.compute))


@pytest.mark.parametrize("whole", [True, False], ids=["all epochs", "epoch by epoch"])
def test_workers_train_the_harness_student(given, tmp_path, whole):
    learner, _, parts = harness(given, tmp_path)
    network, optimiser = parts["student"], parts["optimiser"]
    labels = open_labels(given, device="cpu", precision="fp32", seed=3)
    shown = [labels] if whole else [labels.epoch(epoch) for epoch in range(labels.epochs)]
    for part in shown:
        for images, targets in DataLoader(part, batch_size=None, num_workers=2):
            optimiser.zero_grad()
            labels.loss(network(images), targets).backward()
            optimiser.step()
            parts["schedule"].step()
    same_weights(learner.network, network)


def test_a_network_of_torchvision_learns(work, tmp_path):
    labels = open_labels(ship(work, "soft", tmp_path / "given"), device="cpu", precision="fp32")
    torch.manual_seed(0)
    network = torchvision.models.shufflenet_v2_x0_5(num_classes=10)
    network.conv1[0] = nn.Conv2d(1, 24, 3, padding=1, bias=False)
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    losses = []
    for _ in range(6):
        for images, targets in labels:
            losses.append(labels.loss(network(images), targets))
            optimiser.zero_grad()
            losses[-1].backward()
            optimiser.step()
    first, last = (torch.stack(some).mean() for some in (losses[:6], losses[-6:]))
    assert last < 0.8 * first


def test_another_loss_takes_probabilities(given):
    layer = nn.Linear(64, 10)
    before = layer.weight.detach().clone()
    optimiser = torch.optim.SGD(layer.parameters(), 0.1)
    labels = open_labels(given, device="cpu")
    for images, targets in labels.epoch(1):
        rows = labels.probabilities(targets)
        assert rows.shape == (len(targets), 10)
        assert torch.allclose(rows.sum(1), torch.ones(len(images)))
        assert rows.min() >= 0
        F.cross_entropy(layer(images.flatten(1)), rows).backward()
        optimiser.step()
    assert not layer.weight.equal(before)


def test_losses_of_several_batches_in_flight_are_each_their_own(given):
    labels = open_labels(given, device="cpu", precision="fp32")
    held = list(labels.epoch(0))
    logits = [torch.randn(len(images), 10) for images, _ in held]
    late = [labels.loss(rows, targets) for rows, (_, targets) in zip(logits, held, strict=True)]
    other = open_labels(given, device="cpu", precision="fp32")
    at_once = [
        other.loss(rows, targets) for rows, (_, targets) in zip(logits, other.epoch(0), strict=True)
    ]
    assert torch.equal(torch.stack(late), torch.stack(at_once))


def test_workers_share_the_batches_of_an_epoch(given):
    labels = open_labels(given, device="cpu", precision="fp32")
    expected = list(labels.epoch(1))
    sent = pickle.loads(pickle.dumps(labels.epoch(1)))  # as to workers that are not forked
    assert torch.equal(next(iter(sent))[0], expected[0][0])
    loader = DataLoader(labels.epoch(1), batch_size=None, num_workers=2)
    assert len(loader) == len(expected) == 3
    assert len(labels) == 2 * len(expected)
    for (images, targets), (own, owned) in zip(loader, expected, strict=True):
        assert torch.equal(images, own)
        assert torch.equal(targets.rows, owned.rows)
        assert torch.equal(targets.views.index, owned.views.index)
        logits = torch.randn(len(images), 10)
        assert torch.equal(labels.loss(logits, targets), labels.loss(logits, owned))


def test_workers_do_not_share_a_gpu(given, monkeypatch):
    labels = open_labels(given, device="cpu")
    monkeypatch.setattr(shipped, "get_worker_info", lambda: SimpleNamespace(id=0, num_workers=2))
    assert len(list(labels.epoch(0))) == 2
    far = Compute(torch.device("meta"), bf16=False)
    labels.source.task = replace(labels.source.task, compute=far)
    with pytest.raises(UserError, match="open the labels with device='cpu'"):
        iter(labels.epoch(0))


def test_what_the_loop_cannot_ask_is_refused(given):
    labels = open_labels(given, device="cpu")
    for epoch in (-1, 2):
        with pytest.raises(UserError, match=f"made for epochs 0 to 1, not for {epoch}"):
            labels.epoch(epoch)
    images, targets = next(iter(labels.epoch(0)))
    wrong: Any = targets.rows
    with pytest.raises(UserError, match=r"takes the targets that come with the images, got Tensor"):
        labels.loss(images.flatten(1)[:, :10], wrong)
    with pytest.raises(UserError, match=r"for logits of shape \([67], 10\), got \([67], 64\)"):
        labels.loss(images.flatten(1), targets)


def test_pixels_are_normalised_as_students_are_shown_them(given):
    labels = open_labels(given, device="cpu")
    task, pixels = labels.source.task, pictures(4).pixels
    expected = (pixels.float() / 255 - task.mean[0]) / task.std[0]
    assert torch.equal(labels.normalise(pixels), expected)
    assert torch.equal(labels.normalise(pixels.float() / 255), expected)
    for wrong, message in [
        (pixels.float(), r"floats in 0\.\.1, got some from 1 to 255"),
        (pixels.int(), r"uint8 or floats in 0\.\.1, got torch\.int32"),
        (pixels[0], r"pixels \(B, 1, R, R\), got \(1, 8, 8\)"),
        (pixels.repeat(1, 3, 1, 1), r"got \(4, 3, 8, 8\)"),
    ]:
        with pytest.raises(UserError, match=message):
            labels.normalise(wrong)


@pytest.mark.parametrize(
    ("mode", "size"), [("L", (8, 8)), ("L", (20, 13)), ("1", (9, 9)), ("I;16", (9, 8))]
)
def test_test_pictures_are_read_as_the_harness_reads_them(work, tmp_path, mode, size):
    labels = open_labels(ship(work, "soft", tmp_path / "given"), device="cpu")
    noise = np.random.default_rng(0).integers(0, 256, size[::-1]).astype(np.uint8)
    picture = Image.fromarray(noise.astype(np.uint16) * 257 if mode == "I;16" else noise)
    picture = picture.convert("1") if mode == "1" else picture
    exif = Image.Exif()
    exif[274] = 6  # lies on its side
    picture.save(tmp_path / "picture.png", exif=exif)
    pixels = torch.tensor(decode(tmp_path / "picture.png", 1, 8))
    assert torch.equal(
        labels.transform(Image.open(tmp_path / "picture.png")), labels.normalise(pixels[None])[0]
    )
    assert torch.equal(labels.transform(pixels), labels.normalise(pixels[None])[0])
    assert torch.equal(labels.transform(pixels / 255), labels.normalise(pixels[None])[0])


def test_pictures_that_students_cannot_be_shown_are_refused(given):
    labels = open_labels(given, device="cpu")
    colours = Image.fromarray(np.full((8, 8, 3), (255, 0, 0), np.uint8))
    with pytest.raises(UserError, match="it has colours, and the set it is for is grey"):
        labels.transform(colours)
    with pytest.raises(UserError, match=r"takes pixels \(1, 8, 8\) or a picture, got \(1, 9, 9\)"):
        labels.transform(torch.zeros(1, 9, 9))


def test_batches_are_normalised_views_with_targets(given):
    labels = open_labels(given, device="cpu")
    assert len(labels.class_names) == 10
    task, batches = labels.source.task, list(labels.epoch(1))
    assert len(batches) == task.plan.batches
    assert labels.device == CPU
    assert sum(len(images) for images, _ in batches) == 20
    for images, targets in batches:
        assert images.shape[1:] == (1, 8, 8)
        pixels = images * task.std[0] + task.mean[0]
        assert -1e-5 < pixels.min() < pixels.max() < 1 + 1e-5
        assert targets.rows.shape == (len(images), 10)
        assert len(targets) == len(images)


def fingerprint(given, seed=0):
    """SHA-256 over all images and targets of the shipped labels."""
    return fingerprint_of(open_labels(given, device="cpu", seed=seed))


def fingerprint_of(labels):
    sha = hashlib.sha256()
    for images, targets in labels:
        sha.update(images.numpy().tobytes())
        sha.update(targets.rows.numpy().tobytes())
    return sha.hexdigest()


def test_a_new_process_replays_the_same_images_and_targets(work, tmp_path):
    given = ship(work, "lpqld", tmp_path / "given")
    code = "import sys, pathlib, test_shipping as t\n"
    code += "print(t.fingerprint(pathlib.Path(sys.argv[1]), 7))"
    replayed = forked.run(code, [given], Path(__file__).parent)
    assert replayed.stdout.strip() == fingerprint(given, 7)
    assert fingerprint(given, 8) != fingerprint(given, 7)


def replace_images(given, images):
    for file in image_table.tables(given / "images"):
        file.unlink()
    image_table.write(given / "images", images)


def test_other_images_and_classes_are_refused(given):
    own = image_table.read(given / "images", CPU)
    replace_images(given, ResidentImages(own.pixels, own.labels, ["nought", *own.class_names[1:]]))
    with pytest.raises(ArtefactError, match="made for other classes than nought, one, two"):
        open_labels(given, device="cpu")
    replace_images(given, pictures(20))
    with pytest.raises(ArtefactError, match=f"not for these .{pictures(20).digest[:16]}"):
        open_labels(given, device="cpu")


def test_folders_of_before_still_open(given):
    """Their images were `images.safetensors`, and there was no card."""
    expected = fingerprint(given)
    images = image_table.read(given / "images", CPU)
    shutil.rmtree(given / "images")
    (given / "README.md").unlink()
    with pytest.raises(UserError, match="does not hold both `labels` and `images`"):
        open_labels(given, device="cpu")
    (given / "images").mkdir()
    with pytest.raises(ArtefactError, match=r"neither \*.parquet nor images\.safetensors"):
        open_labels(given, device="cpu")
    distilled.write(given / "images", images)
    assert fingerprint(given) == expected
    assert run_main("labels", "verify", given)[0] == 0
    file = given / "images" / distilled.FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtefactError, match="were changed: copy them again"):
        open_labels(given, device="cpu")
    file.write_bytes(whole[:-1])
    with pytest.raises(ArtefactError, match="holds no distilled images that can be read"):
        open_labels(given, device="cpu")


def test_labels_and_images_may_lie_apart(given, tmp_path):
    expected = fingerprint(given)
    for part in ("labels", "images"):
        (given / part).rename(tmp_path / part)
    with pytest.raises(UserError, match="does not hold both"):
        open_labels(given, device="cpu")
    labels = open_labels(tmp_path / "labels", tmp_path / "images", "cpu")
    assert fingerprint_of(labels) == expected


def test_an_unknown_method_is_named(given):
    reseal(manifest_of(given / "labels"), lambda told: told.update(method="lpqd"))
    with pytest.raises(UserError, match=r"Unknown method 'lpqd'. Did you mean 'lpqld' or 'ld'"):
        open_labels(given, device="cpu")


def test_shipping_refuses_what_it_cannot_give(work, tmp_path):
    own = tmp_path / "work"
    shutil.copytree(work, own)
    record, to = record_of(own, "soft"), tmp_path / "given"
    labels = own / "stages" / json.loads(record.read_text())["inputs"]["labels"] / "artefact"
    shard = labels / "labels.packed"

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
    assert "so it was changed" in refused(record, to, "--work", own)
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


def test_labels_of_no_byte_are_not_given_away(tmp_path):
    run_tiny(tmp_path, "--methods", "transform[form=hard]")
    (record,) = (tmp_path / "records").iterdir()
    code, _, err = run_main("ship", record, tmp_path / "given", "--work", tmp_path)
    assert code == 2
    assert "they are the images' own classes, so there is no file" in err
    assert not (tmp_path / "given").exists()
