"""LADD by hand: where sub-images lie, what each view is trained towards, and its bytes."""

from dataclasses import replace

import pytest
import torch
from tiny import reloaded, shipped  # type: ignore[import-not-found]

from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.rendering import render
from benchmark.labels.task import TaskShape
from benchmark.methods.ladd import LADD, boxes

SHAPE = TaskShape(classes=1000, images=10_000, batches=100, epochs=300, resolution=224)


def settled(shape, budget=None, **options):
    return LADD.resolve_options(LADD.Options(**options), shape, budget)


def fitted(task, **options):
    return LADD.fit(task, settled(task.shape, **options))


def test_where_sub_images_lie():
    # 5 of 8 pixels leave 3: four places from 0 to 3.
    found = boxes(4, 0.625, 8) * 8
    assert found[:, :2].tolist() == [[t, left] for t in range(4) for left in range(4)]
    assert found[:, 2:].eq(5).all()
    assert (boxes(2, 0.5, 8) * 8)[:, :2].tolist() == [[0, 0], [0, 4], [4, 0], [4, 4]]
    assert (boxes(1, 0.5, 8) * 8).tolist() == [[2, 2, 4, 4]]
    paper = boxes(5, 0.625, 128) * 128  # 80 pixels, 12 apart
    assert paper[:5].tolist() == [[0, 12 * i, 80, 80] for i in range(5)]


def test_dense_labels_are_the_teachers_of_enlarged_sub_images(task):
    source = fitted(task, n=2, side=0.5, temperature=4.0)
    small = task.images.pixels[7, :, 4:, :4]  # the third of image 7
    views = replace(
        task.plan.batch(0, 0),
        index=torch.tensor([7]),
        crop=torch.tensor([[0.5, 0.0, 0.5, 0.5]]),
        flip=torch.tensor([False]),
        mixed=False,
    )
    pixels = render(task.images.pixels, views)
    corners = pixels[0, :, ::7, ::7] * 255  # enlarged, its corners are those of the sub-image
    assert corners.round().equal(small[:, ::3, ::3].float())
    expected = (task.teacher(pixels) / 4).softmax(1)[0]
    assert source.labels[7 * 4 + 2].allclose(expected, atol=1e-3)
    assert not source.labels[7 * 4 + 1].allclose(expected, atol=1e-2)


def test_views_show_sub_images_by_lot_and_targets_follow(task, tmp_path):
    source = reloaded(fitted(task, n=2, side=0.5), tmp_path / "saved")
    kinds = set()
    for epoch in range(4):
        for views, planned in zip(source.views(epoch), task.plan.epoch(epoch), strict=True):
            own = []
            for row, image in enumerate(views.index.tolist()):
                at = [n for n, box in enumerate(source.boxes) if views.crop[row].equal(box)]
                kinds.add(at[0] if at else "whole")
                if at:
                    own.append(source.labels[4 * image + at[0]])
                else:
                    assert views.crop[row].equal(planned.crop[row])
                    own.append(torch.eye(10)[task.images.labels[image]])
            weight = views.mix_weight[:, None]
            mixed = weight * torch.stack(own) + (1 - weight) * torch.stack(own)[views.partner]
            assert source.targets(views, torch.empty(0), epoch).allclose(mixed, atol=1e-6)
            assert views.flip.equal(planned.flip)
    assert kinds == {"whole", 0, 1, 2, 3}


@pytest.mark.parametrize("local", [0.0, 1.0])
def test_all_or_none_of_the_views_are_local(task, local):
    source = fitted(task, n=2, side=0.5, local=local)
    for views, planned in zip(source.views(0), task.plan.epoch(0), strict=True):
        assert views.crop.equal(planned.crop) == (local == 0)
        hard = task.hard_labels(views)
        assert source.targets(views, torch.empty(0), 0).equal(hard) == (local == 0)


@pytest.mark.parametrize("form", ["fp16", "int8", "top-k"])
def test_bytes_are_foretold_in_every_form(task, tmp_path, form):
    options = settled(task.shape, form=form, n=3, k=4)
    source = LADD.fit(task, options)
    ledger = source.storage()
    assert ledger.values + ledger.indices == LADD.label_bytes(options, task.shape)
    assert ledger.values == 20 * 9 * {"fp16": 20, "int8": 10, "top-k": 4}[form]
    assert reloaded(source, tmp_path / "saved").labels.equal(source.labels)


def test_there_are_no_more_sub_images_than_places(task):
    assert settled(task.shape).n == 4
    assert settled(task.shape, side=1.0).n == 1
    assert settled(SHAPE).n == 5


@pytest.mark.parametrize(
    ("budget", "form", "n"),
    [
        (9000, "fp16", 4),
        (5000, "int8", 4),
        (2800, "top-k", 4),
        (1100, "int8", 2),
        (650, "fp16", 1),
        (340, "top-k", 1),
    ],
)
def test_a_budget_takes_fewer_sub_images_before_fewer_than_k_classes(task, budget, form, n):
    options = settled(task.shape, budget)
    assert (options.form, options.n) == (form, n)
    assert LADD.fit(task, options).storage().total <= budget
    assert form != "top-k" or n == 1 or options.k >= 5


def test_what_cannot_be(task, tmp_path):
    for option, value in [("n", 0), ("side", 0.0), ("side", 1.5), ("local", -1.0), ("k", 0)]:
        with pytest.raises(ValueError, match=option):
            LADD.Options(**{option: value})
    with pytest.raises(ValueError, match="temperature"):
        LADD.Options(temperature=0.0)
    with pytest.raises(UserError, match="ladd cannot meet a budget of 180 bytes"):
        settled(task.shape, 180)
    source = fitted(task, n=3)
    source.options = replace(source.options, n=2)
    (tmp_path / "saved").mkdir()
    source.save(tmp_path / "saved")
    with pytest.raises(ArtefactError, match="does not hold 80 labels of 10 classes"):
        LADD.load(tmp_path / "saved", shipped(task))
