"""Labels that the authors' generators wrote are read as the authors' readers give them.

Their network was a random one, so that what a label names says nothing of its image.
"""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import run_main

from benchmark.data.rendering import render
from benchmark.exchange.convert import read_images
from benchmark.exchange.official import OfficialLabels, open_folder
from benchmark.exchange.shipping import open_labels

BLOCK = 28  # pixels a side, of which the readers' are averages
MODES = {  # form, batches, batches an epoch, logits kept, last batch
    "sre2l": ("SRe2L", 12, 4, 20, 4),
    "lpld": ("LPLD", 9, 3, 20, 32),
    "lpqld": ("LPQLD", 10, None, 5, 32),
    "lpqld_21k": ("LPQLD", 8, None, 5, 32),
}
each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="module")
def images(official):
    return read_images(official / "images")


def opened(official, mode) -> tuple[OfficialLabels, Any]:
    expected = np.load(official / mode / "expected.npz", allow_pickle=False)
    return open_folder(official / mode / "labels", 100, 224, classes=20), expected


@each_mode
def test_each_mode_is_told(mode, official):
    labels, _ = opened(official, mode)
    told = (labels.form, labels.batches, labels.batches_per_epoch, labels.kept, labels.sizes[-1])
    assert told == MODES[mode]


@each_mode
def test_logits_and_their_classes_are_the_readers(mode, official):
    labels, expected = opened(official, mode)
    assert labels.batches == sum(name.startswith("stored.") for name in expected.files)
    for n, batch in enumerate(labels):
        assert torch.equal(batch.values, torch.from_numpy(expected[f"stored.{n}"]))
        if batch.indices is None:
            assert f"extra0.{n}" not in expected.files
        else:
            classes = torch.from_numpy(expected[f"extra0.{n}"])
            assert torch.equal(batch.indices, classes.long())


@each_mode
def test_views_are_the_readers(mode, official, images):
    labels, expected = opened(official, mode)
    for n, batch in enumerate(labels):
        found = F.avg_pool2d(render(images.pixels, batch.views), BLOCK)
        off = (found - torch.from_numpy(expected[f"pixels.{n}"])).abs()
        inside = ~on_an_edge(batch.views)[:, None].expand_as(off)
        assert off[inside].max() < 1 / 255
        assert off.max() < 2 / BLOCK  # a row and a column more, or less


def on_an_edge(views) -> torch.Tensor:
    """Blocks that a Cutout box, or one wider or narrower by a pixel, fills in part; bool."""
    low, size = (views.cutout_box * 224).round().long().split(2, 1)
    at = torch.arange(224)
    wide, narrow = (
        torch.stack(
            [(at >= low[:, i, None] - by) & (at < (low + size)[:, i, None] + by) for i in (0, 1)]
        )
        for by in (1, -1)
    )
    both = [(rows[:, :, None] & columns[:, None, :]).float() for rows, columns in (wide, narrow)]
    filled = [F.avg_pool2d(box[:, None], BLOCK)[:, 0] for box in both]
    return (size.sum(1) > 0)[:, None, None] & (filled[0] > 0) & (filled[1] < 1)


def run(*arguments):
    code, out, err = run_main("labels", *arguments)
    assert code == 0, err
    return out


def taken(official, mode, to, *options) -> Any:
    """What comes of importing the labels of a mode; a random network made them."""
    where = (official / mode / "labels", official / "images", to)
    run("import", *where, "--recipe", "imagenet1k", "--accept", "labels", *options)
    return open_labels(to / "labels", to / "images", "cpu", "fp32").source


@each_mode
def test_imported_they_are_the_same(mode, official, images, tmp_path):
    labels, _ = opened(official, mode)
    source = taken(official, mode, tmp_path / "taken", "--set", "schedule=none")
    assert torch.equal(source.task.images.pixels, images.pixels)
    for theirs, (views, logits) in zip(labels, source.stored_labels(), strict=True):
        assert torch.equal(theirs.logits(20).float(), logits)
        same(theirs.views, views)


def same(one, other):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, field.name


@pytest.mark.parametrize("mode", ["sre2l", "lpld", "lpqld"])
def test_pruned_exported_and_read_again(mode, official, tmp_path):
    labels, _ = opened(official, mode)
    options = ("--set", "quantise=mr", "--set", "k=3", "--set", "keep=0.005")
    source = taken(official, mode, tmp_path / "taken", *options)
    kept = round(0.005 * source.task.plan.steps)
    assert 1 <= source.stored.batches == kept < labels.batches
    run("export", tmp_path / "taken", tmp_path / "given")
    again = open_folder(tmp_path / "given" / "labels", 100, 224, classes=20)
    assert (again.form, again.batches, again.kept) == ("LPQLD", kept, 3)
    for theirs, ours in zip(labels, again, strict=False):
        values, indices = theirs.logits(20).float().topk(3)
        assert torch.equal(ours.values.float(), values)
        assert ours.indices is not None
        assert torch.equal(theirs.logits(20).float().gather(1, ours.indices), values)
        assert indices.shape == ours.indices.shape
        same(theirs.views, ours.views)


def test_cutout_cannot_be_exported(official, tmp_path):
    taken(official, "lpqld_21k", tmp_path / "taken")
    code, _, err = run_main("labels", "export", tmp_path / "taken", tmp_path / "given")
    assert code == 2
    assert "Cutout boxes of the LPQLD form have odd sides" in err


def test_labels_that_seldom_name_the_images_classes_are_refused_unless_accepted(official, tmp_path):
    labels, images = official / "lpqld_21k" / "labels", official / "images"
    for command in (
        ("import", labels, images, tmp_path / "new"),
        ("verify", labels, "--images", images),
    ):
        code, _, err = run_main("labels", *command)
        assert code == 2
        assert "do not fit these images" in err
        assert "--accept labels" in err


@pytest.mark.parametrize("mode", ["sre2l", "lpld", "lpqld"])
def test_the_others_name_them_mostly(mode, official):
    said = run("verify", official / mode / "labels", "--images", official / "images")
    assert float(said.split("in ")[-1].split("%")[0]) > 50
