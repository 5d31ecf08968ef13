from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from benchmark.core.errors import ArtefactError
from benchmark.data.recipe import Augmentation
from benchmark.data.views import ViewBatch, ViewPlan
from benchmark.labels.stored_views import StoredViews, ViewWriter, batch_bytes
from benchmark.labels.writer import Stored

AUGMENTATIONS = {
    "cutmix": Augmentation(),
    "mixup": Augmentation(mix="mixup"),
    "none": Augmentation(mix="none"),
    "cutout": Augmentation(mix="none", flip=0.0, cutout=0.5),
}


def spooled(folder: Path, plan: ViewPlan) -> StoredViews:
    writer = ViewWriter(folder, plan.images, plan.resolution, plan.batch_size)
    for epoch in range(plan.epochs):
        for views in plan.epoch(epoch):
            writer.add(views)
    return writer.stored()


def same(found: ViewBatch, expected: ViewBatch) -> None:
    for field in fields(ViewBatch):
        one, other = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(one, torch.Tensor):
            assert one.dtype == other.dtype, field.name
            assert torch.equal(one, other), field.name
    assert (found.mixed, found.filled) == (expected.mixed, expected.filled)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
@pytest.mark.parametrize("side", [32, 224])
def test_views_come_back_to_the_bit(kind, side, tmp_path):
    plan = ViewPlan(3, 50, side, batch_size=7, epochs=3, augmentation=AUGMENTATIONS[kind])
    views = spooled(tmp_path, plan)
    tensors = {blob.name: blob.tensor for blob in views.tensors()}
    assert all(name.startswith("views.") for name in tensors)
    assert ("views.partner" in tensors) == (kind in ("cutmix", "mixup"))
    assert ("views.cutout" in tensors) == (kind == "cutout")
    tensors = {n: t[:] if isinstance(t, Stored) else t for n, t in tensors.items()}
    other = {"values": torch.zeros(1)}
    restored = StoredViews.restore(tensors | other, 50, side, 7)
    assert views.batches == restored.batches == 3 * plan.batches
    for number in range(views.batches):
        epoch, batch = divmod(number, plan.batches)
        expected = plan.batch(epoch, batch)
        assert views.rows(number) == plan.rows(epoch, batch)
        for source in (views, restored):
            same(source.batch(number), expected)
            assert (source.batch(number).epoch, source.batch(number).batch) == (0, number)


def test_views_are_packed(tmp_path):
    plan = ViewPlan(3, 1000, 224, batch_size=125, epochs=4, augmentation=Augmentation())
    tensors = {blob.name: blob.tensor for blob in spooled(tmp_path, plan).tensors()}
    taken = sum(t.shape.numel() * t.dtype.itemsize for t in tensors.values())
    labels, batches = 4 * 1000, 4 * 8
    # Image 10 bits, crop 4 x 8, flip 1, partner 7; size 4 bytes, box 4, weight 4.
    assert taken <= labels * 50 / 8 + batches * 12 + 5
    assert taken <= batches * batch_bytes(1000, 224, 125) < 1.01 * taken


def test_what_cannot_be_packed_is_refused(tmp_path):
    plan = ViewPlan(3, 8, 32, batch_size=8, epochs=1, augmentation=Augmentation())
    views = plan.batch(0, 0)
    opacity = views.mix_opacity.clone()
    opacity[3] = 0.5
    boxes = views.mix_box.clone()
    boxes[3] = 0.5
    writer = ViewWriter(tmp_path, 8, 32, 4)
    with pytest.raises(ArtefactError, match="Batch 0 has 8 views; valid: 1 to 4"):
        writer.add(views)
    assert writer.stored().batches == 0
    writer = ViewWriter(tmp_path, 8, 32, 8)
    for wrong, message in [
        (replace(views, mix_box=boxes), "Batch 0 has several mix boxes or weights"),
        (replace(views, mix_opacity=opacity), "Batch 0 has several mix boxes or weights"),
        (replace(views, crop=views.crop * 0.99), "The crops of batch 0 must fall on whole"),
        (replace(views, mix_box=views.mix_box * 0.99), "The mix box of batch 0 must fall"),
    ]:
        with pytest.raises(ArtefactError, match=message):
            writer.add(wrong)
    writer.add(views)  # nothing of the refused ones was kept
    same(writer.stored().batch(0), views)


def test_damaged_views_are_refused(tmp_path):
    plan = ViewPlan(3, 9, 32, batch_size=5, epochs=1, augmentation=Augmentation())
    stored = {blob.name: blob.tensor[:] for blob in spooled(tmp_path, plan).tensors()}
    for change, message in [
        ({"views.sizes": torch.tensor([5, 6], dtype=torch.int32)}, "batches that are not 1 to 5"),
        (
            {"views.crop": stored["views.crop"][:-1]},
            r"crop is torch.uint8 \(26,\) where 2 .* torch.uint8 \(27,\)",
        ),
        (
            {"views.mix_opacity": torch.ones(3)},
            r"mix_opacity is torch.float32 \(3,\) where 2 .* \(2,\)",
        ),
    ]:
        with pytest.raises(ArtefactError, match=message):
            StoredViews.restore(stored | change, 9, 32, 5)
    lacking = {name: t for name, t in stored.items() if name != "views.flip"}
    with pytest.raises(ArtefactError, match="lack flip"):
        StoredViews.restore(lacking, 9, 32, 5)
    lacking = {name: t for name, t in stored.items() if name != "views.mix_box"}
    with pytest.raises(ArtefactError, match=r"mix_box is torch.float32 \(0,\) where"):
        StoredViews.restore(lacking, 9, 32, 5)
    stored["views.index"] = torch.full_like(stored["views.index"], 255)
    with pytest.raises(ArtefactError, match="batch 1 shows what is not there"):
        StoredViews.restore(stored, 9, 32, 5).batch(1)
