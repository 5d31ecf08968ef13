from dataclasses import replace

import pytest
import torch
from tiny import pictures, tiny_task  # type: ignore[import-not-found]

from benchmark.core.errors import UserError
from benchmark.data.images import ResidentImages
from benchmark.labels import validation


def test_held_out_images_are_real_and_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "BLOCK", 7)
    task = tiny_task(tmp_path / "scratch")
    _, train, _ = task.fitting()
    apart, others = validation.held_out(task, 25)
    assert isinstance(apart, ResidentImages)
    assert (len(apart), len(others)) == (25, 35)
    rest = {image.numpy().tobytes() for image in train.take(others)}
    for image, label in zip(apart.pixels, apart.labels, strict=True):
        (row,) = torch.nonzero((train.take(torch.arange(60)) == image).flatten(1).all(1))
        assert train.labels[row] == label
        assert image.numpy().tobytes() not in rest
    again, _ = validation.held_out(task, 25)
    assert again.digest == apart.digest
    assert validation.held_out(replace(task, seed=1), 25)[0].digest != apart.digest


def test_images_that_students_know_are_not_chosen_by(tmp_path):
    task = tiny_task(tmp_path / "scratch")
    own = pictures(60, seed=2)  # the training set
    some = ResidentImages(own.pixels[:20], own.labels[:20], own.class_names)
    apart, others = validation.held_out(replace(task, images=some), 60)
    assert isinstance(apart, ResidentImages)
    assert (len(apart), len(others)) == (40, 0)
    known = {image.numpy().tobytes() for image in some.pixels}
    assert not known & {image.numpy().tobytes() for image in apart.pixels}
    with pytest.raises(UserError, match=r"All 10 training images .* set held_out higher"):
        validation.held_out(replace(task, images=own), 10)


@pytest.mark.parametrize(
    ("side", "depth"), [(8, 2), (16, 2), (28, 2), (32, 3), (64, 4), (128, 5), (224, 5)]
)
def test_the_usual_convnet(side, depth):
    assert validation.usual_convnet(side, 32) == f"convnet-d{depth}-w32"
