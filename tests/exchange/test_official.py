import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torch.serialization import get_safe_globals, safe_globals
from torch.utils.data import BatchSampler, RandomSampler
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import hflip, resized_crop

from benchmark.core import files
from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.images import ResidentImages
from benchmark.data.recipe import Augmentation
from benchmark.data.rendering import render
from benchmark.data.views import ViewBatch, ViewPlan
from benchmark.datasets.distilled.path import folder_sources
from benchmark.exchange.official import OfficialBatch, open_folder, write_images, write_lpqld

IMAGES, SIDE, CLASSES, SIZE = 10, 32, 6, 4
TENSORS = [f.name for f in fields(ViewBatch) if f.name not in ("epoch", "batch", "mixed", "filled")]


def drawn(count: int, seed: int, mix: str = "cutmix", side: int = SIDE) -> list[Any]:
    """A batch's parts as the scripts of SRe2L and LPLD make them: crop to mix box, and logits."""
    rng = np.random.default_rng(seed)
    size = rng.integers(side // 4, side + 1, (count, 2))
    start = rng.integers(0, side - size + 1)
    crop = torch.tensor(np.concatenate([start, size], 1) / side, dtype=torch.float32)
    flip = torch.tensor(rng.random(count) < 0.5)
    logits = torch.tensor(rng.normal(0, 3, (count, CLASSES)), dtype=torch.float16)
    if mix == "none":
        return [crop, flip, None, None, None, logits]
    partner, weight = torch.tensor(rng.permutation(count)), np.float64(rng.beta(1, 1))
    low, high = np.sort(rng.integers(0, side + 1, (2, 2)), axis=0)
    box = [np.clip(int(edge), 0, side) for edge in (*low, *high)]
    return [crop, flip, partner, weight, None if mix == "mixup" else box, logits]


def pruned(parts: list[Any], kept: int = 3) -> list[Any]:
    """The same as LPQLD's script stores them."""
    crop, *flip_and_cutout, partner, weight, box, logits = parts
    values, indices = logits.float().topk(kept)
    partner = None if partner is None else partner.to(torch.uint8)
    box = None if box is None else [torch.tensor(edge, dtype=torch.uint8) for edge in box]
    return [
        crop.half(),
        *flip_and_cutout,
        partner,
        weight,
        box,
        values.half(),
        indices.short(),
    ]


def by_epoch(folder: Path, epochs: int = 2, mix: str = "cutmix") -> list[list[Any]]:
    """Write SRe2L's form; returns all batches' parts."""
    written = []
    for epoch in range(epochs):
        (folder / f"epoch_{epoch}").mkdir(parents=True)
        for b, count in enumerate((4, 4, 2)):
            written.append(drawn(count, 10 * epoch + b, mix))
            torch.save(written[-1], folder / f"epoch_{epoch}" / f"batch_{b}.tar")
    return written


def flat(folder: Path, batches: list[Any] | None = None) -> list[list[int]]:
    """Write LPQLD's form; returns the images of each batch."""
    folder.mkdir(exist_ok=True)
    batches = batches or [pruned(drawn(SIZE, n)) for n in range(3)]
    orders = [torch.randperm(IMAGES)[:SIZE].tolist() for _ in batches]
    for n, parts in enumerate(batches):
        torch.save(parts, folder / f"batch_{n}.tar")
    rows = {str(n): order for n, order in enumerate(orders)}
    (folder / "sampler_indices_batch.json").write_text(json.dumps(rows))
    return orders


def same_views(found: ViewBatch, expected: ViewBatch) -> None:
    for name in TENSORS:
        one, other = getattr(found, name), getattr(expected, name)
        assert one.dtype == other.dtype, name
        assert torch.equal(one, other), name
    assert (found.mixed, found.filled) == (expected.mixed, expected.filled)


# Reading


def test_sre2l_replays_the_order_of_its_images(tmp_path):
    written = by_epoch(tmp_path, epochs=3)
    labels = open_folder(tmp_path, IMAGES, SIDE)
    assert (labels.form, labels.batches, labels.batches_per_epoch) == ("SRe2L", 9, 3)
    assert (labels.kept, labels.classes, labels.labels) == (CLASSES, CLASSES, 30)
    sampler = RandomSampler(range(IMAGES), generator=torch.Generator().manual_seed(42))
    replayed = [rows for _ in range(3) for rows in BatchSampler(sampler, SIZE, drop_last=False)]
    assert [batch.views.index.tolist() for batch in labels] == replayed
    assert [labels.batch(n).views.index.tolist() for n in (7, 0, 5)] == [
        replayed[n] for n in (7, 0, 5)
    ]
    for n, (batch, parts) in enumerate(zip(labels, written, strict=True)):
        assert (batch.views.epoch, batch.views.batch) == (0, n)
        assert torch.equal(batch.values, parts[-1])
        assert batch.indices is None


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("key", ["{}", "epoch_{}"])
def test_lpld_reads_the_order_of_its_images(nested, key, tmp_path):
    by_epoch(tmp_path)
    orders = [torch.randperm(IMAGES).tolist() for _ in range(4)]  # more epochs than are stored
    batches = [[order[:4], order[4:8], order[8:]] for order in orders]
    rows = {key.format(e): row for e, row in enumerate(batches if nested else orders)}
    (tmp_path / "sampler_indices_epoch.json").write_text(json.dumps(rows))
    labels = open_folder(tmp_path, IMAGES, SIDE, batch_size=SIZE, classes=CLASSES)
    assert labels.form == "LPLD"
    assert [b.views.index.tolist() for b in labels] == [*batches[0], *batches[1]]


def test_lpqld_reads_values_and_their_classes(tmp_path):
    written = [pruned(drawn(SIZE, n)) for n in range(3)]
    orders = flat(tmp_path, written)
    labels = open_folder(tmp_path, IMAGES, SIDE, classes=CLASSES)
    assert (labels.form, labels.batches, labels.batches_per_epoch) == ("LPQLD", 3, None)
    assert (labels.kept, labels.classes, labels.labels) == (3, CLASSES, 12)
    assert open_folder(tmp_path, IMAGES, SIDE).classes is None
    for batch, parts, order in zip(labels, written, orders, strict=True):
        assert batch.views.index.tolist() == order
        assert torch.equal(batch.values, parts[-2])
        assert batch.indices is not None
        assert torch.equal(batch.indices, parts[-1].long())
        assert (batch.values.dtype, batch.indices.dtype) == (torch.float16, torch.int64)


def test_an_epoch_may_end_early_but_no_batch_may_be_missing(tmp_path):
    by_epoch(tmp_path, epochs=3)
    (tmp_path / "epoch_2/batch_2.tar").unlink()
    assert open_folder(tmp_path, IMAGES, SIDE).labels == 28
    (tmp_path / "epoch_1/batch_2.tar").unlink()
    with pytest.raises(ArtefactError, match="holds 2 batches, but 10 images in batches of 4 make"):
        open_folder(tmp_path, IMAGES, SIDE)
    (tmp_path / "epoch_0/batch_1.tar").unlink()
    with pytest.raises(ArtefactError, match=r"has batch_2\.tar, but lacks number 1"):
        open_folder(tmp_path, IMAGES, SIDE)


def test_pruned_lpld_leaves_out_the_last_batch_of_each_epoch(tmp_path):
    by_epoch(tmp_path, epochs=3)
    for epoch in range(3):
        (tmp_path / f"epoch_{epoch}/batch_2.tar").unlink()
    (tmp_path / "epoch_2/batch_1.tar").unlink()
    orders = [torch.randperm(IMAGES)[:shown].tolist() for shown in (8, 8, 4)]
    file = tmp_path / "sampler_indices_epoch.json"
    file.write_text(json.dumps(dict(enumerate(orders))))
    labels = open_folder(tmp_path, IMAGES, SIDE)
    assert (labels.form, labels.batches_per_epoch, labels.sizes) == ("LPLD", 2, [4] * 5)
    found = [image for batch in labels for image in batch.views.index.tolist()]
    assert found == [image for order in orders for image in order]
    for wrong, message in [
        ([orders[0][:4], *orders[1:]], "orders 4 images under 0, but there are 10"),
        ([orders[0], orders[2], orders[1]], "orders 4 images under 1"),
        ([*orders[:2], orders[1][:5]], "orders 5 images under 2"),
    ]:
        file.write_text(json.dumps(dict(enumerate(wrong))))
        with pytest.raises(ArtefactError, match=message):
            open_folder(tmp_path, IMAGES, SIDE)


def test_sre2l_without_the_last_batch_counts_the_batches_that_are_there(tmp_path):
    by_epoch(tmp_path)
    for epoch in range(2):
        (tmp_path / f"epoch_{epoch}/batch_2.tar").unlink()
    labels = open_folder(tmp_path, IMAGES, SIDE)
    assert (labels.form, labels.batches_per_epoch, labels.labels) == ("SRe2L", 2, 16)


@pytest.mark.parametrize("crop", [torch.float16, torch.float32])
def test_logits_in_single_precision_are_read_as_they_are(crop, tmp_path):
    written = [drawn(SIZE, n) for n in range(3)]
    for parts in written:
        parts[0], parts[-1] = parts[0].to(crop), parts[-1].float() + 1e-4
    flat(tmp_path, written)
    labels = open_folder(tmp_path, IMAGES, SIDE)
    for batch, parts in zip(labels, written, strict=True):
        assert torch.equal(batch.values, parts[-1])
        assert torch.equal(batch.logits(CLASSES), parts[-1])
        assert not torch.equal(batch.values, batch.values.half().float())
    assert labels.ledger.values == 3 * SIZE * CLASSES * 4
    written[1][-1][2, 3] = -7e4
    flat(tmp_path, written)
    with pytest.raises(
        ArtefactError, match=r"a logit is -70000, beyond 65504, the last of float16"
    ):
        labels.batch(1)


def test_classes_of_imagenet_21k_are_read(tmp_path):
    parts = [*drawn(SIZE, 0)[:-1], torch.zeros(SIZE, 2).half()]
    classes = torch.tensor([[999, 1000], [10449, 0], [255, 256], [4096, 10448]])
    flat(tmp_path, [[*parts, classes.short()]])
    batch = open_folder(tmp_path, IMAGES, SIDE, classes=10450).batch(0)
    assert torch.equal(pair(batch)[0], classes)
    assert batch.logits(10450).isfinite().sum(1).tolist() == [2] * SIZE
    with pytest.raises(ArtefactError, match="a logit for class 10449, but there are 10449 classes"):
        open_folder(tmp_path, IMAGES, SIDE, classes=10449).batch(0)


@pytest.mark.parametrize("kept", [None, 3])
def test_randaugment_is_named(kept, tmp_path):
    parts = drawn(SIZE, 0) if kept is None else pruned(drawn(SIZE, 0), kept)
    triplet = [torch.randint(15, (SIZE,)), torch.rand(SIZE).half(), torch.rand(SIZE).half()]
    flat(tmp_path, [[*parts[:2], [triplet, triplet], *parts[2:]]])
    with pytest.raises(ArtefactError, match=r"made with RandAugment \(--use_rand_aug\), which"):
        open_folder(tmp_path, IMAGES, SIDE)


def test_files_are_read_only_when_asked_for(tmp_path):
    flat(tmp_path)
    (tmp_path / "batch_2.tar").write_bytes(b"damaged")
    labels = open_folder(tmp_path, IMAGES, SIDE)
    labels.batch(1)
    with pytest.raises(ArtefactError, match=r"batch_2\.tar' does not fit .* it is damaged"):
        labels.batch(2)


def rewritten(file: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the pickle inside a `torch.save` file."""
    with zipfile.ZipFile(file) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(file, "w") as archive:
        for info, data in members:
            archive.writestr(info, change(data) if info.filename.endswith("data.pkl") else data)


def test_numbers_that_numpy_1_wrote_are_read(tmp_path):
    by_epoch(tmp_path, epochs=1, mix="mixup")
    expected = open_folder(tmp_path, IMAGES, SIDE).batch(0)

    def as_numpy_1(data: bytes) -> bytes:
        data, renamed = re.subn(rb"cnumpy\._?core", b"cnumpy.core", data)
        data, flags = re.subn(rb"\x89\x88\x87", b"K\x00K\x01\x87", data)
        assert min(renamed, flags) > 0
        return data

    rewritten(tmp_path / "epoch_0/batch_0.tar", as_numpy_1)
    same_views(open_folder(tmp_path, IMAGES, SIDE).batch(0).views, expected.views)


@pytest.mark.parametrize("mix", ["cutmix", "mixup", "none"])
@pytest.mark.parametrize("form", ["LPLD", "LPQLD"])
def test_rendering_gives_the_pixels_the_teacher_saw(mix, form, tmp_path):
    parts = drawn(SIZE, 3, mix)
    parts[1][0] = True
    if mix == "cutmix":
        parts[4] = [3, 20, 11, 32]  # 8 rows and 12 columns: not to be swapped
    orders = flat(tmp_path, [pruned(parts) if form == "LPQLD" else parts])
    views = open_folder(tmp_path, IMAGES, SIDE).batch(0).views
    pixels = torch.randint(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8)
    expected = []
    for image, share, flip in zip(orders[0], parts[0], parts[1], strict=True):
        top, left, height, width = (share * SIDE).round().int().tolist()
        look = pixels[image].float() / 255
        look = resized_crop(look, top, left, height, width, [SIDE, SIDE], antialias=False)
        expected.append(hflip(look) if flip else look)
    batch = torch.stack(expected)
    _, _, partner, weight, box, _ = parts
    if mix == "cutmix":
        x1, y1, x2, y2 = box
        batch[:, :, x1:x2, y1:y2] = batch[partner, :, x1:x2, y1:y2]
    elif mix == "mixup":
        batch = float(weight) * batch + (1 - float(weight)) * batch[partner]
    assert torch.allclose(render(pixels, views), batch, atol=1e-4)


def test_cutout_fills_what_pillow_fills(tmp_path):
    crop, _, *mix, logits = drawn(SIZE, 1, "none")
    crop = torch.tensor([[0.0, 0, 1, 1]]).repeat(SIZE, 1)
    middle = np.array([[10, 20], [0, 31], [31, 0], [15, 3]])
    half = (SIDE // 2) // 2
    colour = torch.tensor([[0.0, 128, 255]]).repeat(SIZE, 1)
    cutout = torch.cat([torch.tensor(middle / SIDE).float(), torch.full((SIZE, 2), 0.5)], 1)
    flat(tmp_path, [pruned([crop, torch.cat([cutout, colour], 1), *mix, logits])])
    views = open_folder(tmp_path, IMAGES, SIDE).batch(0).views
    assert not views.flip.any()
    pixels = torch.randint(0, 256, (IMAGES, 3, SIDE, SIDE), dtype=torch.uint8)
    for shown, image, (y, x) in zip(render(pixels, views), views.index, middle, strict=True):
        picture = Image.fromarray(pixels[image].permute(1, 2, 0).numpy())
        edges = [np.clip(edge, 0, SIDE) for edge in (x - half, y - half, x + half, y + half)]
        ImageDraw.Draw(picture).rectangle([int(e) for e in edges], fill=(0, 128, 255))
        expected = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
        assert torch.allclose(shown, expected, atol=1e-5)


def test_the_bytes_are_split(tmp_path):
    flat(tmp_path)
    ledger = open_folder(tmp_path, IMAGES, SIDE).ledger
    table = (tmp_path / "sampler_indices_batch.json").stat().st_size
    assert (ledger.values, ledger.indices) == (3 * 4 * 3 * 2, 3 * 4 * 3 * 2)
    assert ledger.views == 3 * 4 * (8 + 1 + 1) + 3 * (8 + 4) + table
    assert ledger.total == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert ledger.blocks == 4 * 4096


# Refusals


class Evil:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    flat(tmp_path)
    trace = tmp_path / "trace"
    parts = pruned(drawn(SIZE, 0))
    for evil, name in [
        (Evil(os.system, f"touch {trace}"), r"\w+\.system"),
        (Evil(eval, f"open({str(trace)!r}, 'w')"), "eval"),
        (Evil(Path.touch, trace), "getattr"),
    ]:
        torch.save([*parts[:3], evil, *parts[4:]], tmp_path / "batch_0.tar")
        with pytest.raises(ArtefactError, match=f"it carries {name}, neither tensor nor number"):
            open_folder(tmp_path, IMAGES, SIDE)
    torch.save([*parts[:3], Evil(print, "allowed elsewhere"), *parts[4:]], tmp_path / "batch_0.tar")
    with safe_globals([print]):
        before = set(get_safe_globals())
        with pytest.raises(ArtefactError, match="it carries print"):
            open_folder(tmp_path, IMAGES, SIDE)
        assert set(get_safe_globals()) == before
    assert not trace.exists()


def replaced(position: int, value: Any) -> Callable[[list[Any]], list[Any]]:
    return lambda parts: [*parts[:position], value, *parts[position:][1:]]


def changed(position: int, at: Any, value: Any) -> Callable[[list[Any]], list[Any]]:
    def change(parts: list[Any]) -> list[Any]:
        parts[position] = parts[position].clone()
        parts[position][at] = value
        return parts

    return change


DAMAGE = {
    "it holds dict instead of a list": lambda parts: {"labels": parts[5]},
    "it holds 8 parts beside class indices; valid: 6 or 7": lambda p: [p[0], p[1], *p],
    "the flips must be bool (4,), got list": replaced(1, [True] * 4),
    "the crops must be float16 or float32 (3, 4), got float16 (3, 3)": replaced(
        0, torch.zeros(3, 3).half()
    ),
    "it holds 3 views, but the order of the images gives it 4": lambda p: [
        part[:3] if isinstance(part, Tensor) else part for part in p
    ],
    "crops do not fall on whole pixels of 32 x 32: were these labels": changed(0, (0, 0), 0.017),
    "its crops do not fall": changed(0, (0, 0), float("nan")),
    "a crop is empty or not inside the image": changed(0, (0, 2), 0.0),
    "a crop is empty or not inside": changed(0, 0, torch.tensor([0.5, 0, 0.75, 1])),
    "the mix permutation must be int64 or uint8 (4,), got uint8 (2,)": lambda p: replaced(
        2, p[2][:2]
    )(p),
    "the mix permutation is none of 4 views": changed(2, slice(0, 2), 1),
    "it has a mix weight or box, but no mix permutation": replaced(2, None),
    "the mix weight must be a number in 0..1, got 1.5": replaced(3, np.float64(1.5)),
    "the mix weight must be a number in 0..1, got None": replaced(3, None),
    "the mix box [0, 9, 33, 9] is not inside 32 x 32 pixels": replaced(4, [0, 9, 33, 9]),
    "the mix box [9, 0, 3, 9] is not inside": replaced(4, [9, 0, 3, 9]),
    "the mix box must be 4 integers, got str": replaced(4, "0123"),
    "the mix box must be 4 integers, got int, int, int": replaced(4, [1, 2, 3]),
    "the mix box must be 4 integers, got int, int, float, int": replaced(4, [1, 2, 3.0, 4]),
    "the logits must be float16 or float32 (4, 3), got float64 (4, 3)": lambda p: replaced(
        5, p[5].double()
    )(p),
    "the logits must be float16 or float32 (4, 3), got float16 (4, 3)": replaced(
        5, torch.zeros(4, 1).half().expand(4, 3)
    ),
    "a logit is not finite": changed(5, (1, 1), float("inf")),
    "the class indices must be int64 or int32 or int16 or uint8 (4, 3)": lambda p: replaced(
        6, p[6][:, :2].contiguous()
    )(p),
    "it has a logit for class -1": changed(6, (1, 1), -1),
    "a label names one class twice": changed(6, 1, 2),
    "keeps 2 logits a label with class indices; the first file keeps 3 with": lambda p: [
        *p[:5],
        p[5][:, :2].contiguous(),
        p[6][:, :2].contiguous(),
    ],
    "keeps 3 logits a label without class indices; the first file": lambda p: p[:6],
    "has a logit for class 6, but there are 6 classes": changed(6, (0, 0), 6),
    "it holds a NumPy number of kind 'c16'": replaced(3, np.complex128(0.5)),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_a_file_that_does_not_fit_is_refused(message, tmp_path):
    flat(tmp_path)
    torch.save(DAMAGE[message](pruned(drawn(SIZE, 1))), tmp_path / "batch_1.tar")
    labels = open_folder(tmp_path, IMAGES, SIDE, classes=CLASSES)
    with pytest.raises(ArtefactError, match=re.escape(message)) as caught:
        labels.batch(1)
    assert "batch_1.tar" in str(caught.value)


def test_a_mix_of_another_kind_and_cutout_outside_are_refused(tmp_path):
    crop, _, *mix, logits = drawn(SIZE, 1, "none")
    cutout = torch.tensor([[0.5, 0.5, 0.5, 0.5, 1, 2, 3]]).repeat(SIZE, 1)
    for position, value, message in [(0, 1.5, "box is not inside"), (4, 256, "colour is not in")]:
        wrong = changed(1, (0, position), value)([crop, cutout, *mix, logits])
        flat(tmp_path, [wrong])
        with pytest.raises(ArtefactError, match=f"a Cutout {message}"):
            open_folder(tmp_path, IMAGES, SIDE).batch(0)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"0": [1, 2], "1": [3]}, "has no images for number 2"),
        ({str(n): [1] for n in range(4)}, r"lacks batch_3\.tar"),
        ({"0": [1], "1": [2], "2": [9, 10]}, "names images 9 to 10 under 2, but there are 10"),
        ({"0": [1], "1": [2], "2": [-1]}, "names images -1 to -1"),
        ({"0": [1], "1": [2], "2": ["a"]}, "damaged: a list of image numbers holds something else"),
        ({"0": [1], "1": [2], "2": []}, "damaged: a list of image numbers"),
        ({"0": [1], "1": [2], "x": [3]}, "is damaged"),
        ([[1], [2], [3]], "is damaged"),
    ],
)
def test_an_order_of_images_that_does_not_fit_is_refused(table, message, tmp_path):
    flat(tmp_path)
    file = tmp_path / "sampler_indices_batch.json"
    file.write_text(json.dumps(table))
    with pytest.raises(ArtefactError, match=message):
        open_folder(tmp_path, IMAGES, SIDE)
    file.write_text("{")
    with pytest.raises(ArtefactError, match="is damaged"):
        open_folder(tmp_path, IMAGES, SIDE)
    file.unlink()
    with pytest.raises(ArtefactError, match=r"lacks sampler_indices_batch\.json"):
        open_folder(tmp_path, IMAGES, SIDE)


def test_labels_of_other_images_or_classes_are_refused(tmp_path):
    with pytest.raises(ArtefactError, match="holds neither"):
        open_folder(tmp_path, IMAGES, SIDE)
    by_epoch(tmp_path)
    with pytest.raises(ArtefactError, match="logits of 6 classes, but there are 7"):
        open_folder(tmp_path, IMAGES, SIDE, classes=7)
    with pytest.raises(ArtefactError, match="21 images in batches of 4 make 6"):
        open_folder(tmp_path, 21, SIDE, batch_size=4)
    with pytest.raises(ArtefactError, match="do not fall on whole pixels of 37 x 37"):
        open_folder(tmp_path, IMAGES, 37).batch(0)
    (tmp_path / "sampler_indices_epoch.json").write_text(json.dumps({"0": [1, 2], "1": [1]}))
    with pytest.raises(ArtefactError, match="orders 2 images under 0, but there are 10, and"):
        open_folder(tmp_path, IMAGES, SIDE)


# Writing


def labelled(plan: ViewPlan, kept: int | None = 3) -> Iterator[OfficialBatch]:
    """Labels of two epochs of a plan: `kept` logits of each view, or all."""
    generator = torch.Generator().manual_seed(0)
    for epoch in range(2):
        for views in plan.epoch(epoch):
            values = torch.randn(len(views), CLASSES, generator=generator).half()
            if kept is None:
                yield OfficialBatch(views, values, None)
            else:
                top, indices = values.float().topk(kept)
                yield OfficialBatch(views, top.half(), indices)


@pytest.mark.parametrize("mix", ["cutmix", "mixup", "none"])
@pytest.mark.parametrize("side", [32, 224])
def test_what_is_written_is_read_back_to_the_bit(mix, side, tmp_path):
    plan = ViewPlan(5, 50, side, batch_size=12, epochs=2, augmentation=Augmentation(mix=mix))
    write_lpqld(tmp_path / "labels", labelled(plan), side, CLASSES)
    labels = open_folder(tmp_path / "labels", 50, side)
    assert (labels.form, labels.batches, labels.labels) == ("LPQLD", 2 * plan.batches, 100)
    for found, expected in zip(labels, labelled(plan), strict=True):
        same_views(found.views, expected.views)
        assert torch.equal(found.values, expected.values)
        assert found.indices is not None
        assert expected.indices is not None
        assert torch.equal(found.indices, expected.indices)
    assert [path.name for path in tmp_path.iterdir()] == ["labels"]


def test_it_is_written_in_the_published_types(tmp_path):
    plan = ViewPlan(5, 12, SIDE, batch_size=12, epochs=2, augmentation=Augmentation())
    batch = next(labelled(plan))
    write_lpqld(tmp_path / "labels", [batch], SIDE, CLASSES)
    file = tmp_path / "labels/batch_0.tar"
    crop, flip, partner, weight, box, values, indices = torch.load(file, weights_only=False)
    types = [part.dtype for part in (crop, flip, partner, *box, values, indices)]
    small = torch.uint8
    assert types == [torch.float16, torch.bool, *[small] * 5, torch.float16, torch.int16]
    assert isinstance(weight, np.float64)
    assert weight == pytest.approx(float(batch.views.mix_weight[0]))
    table = json.loads((tmp_path / "labels/sampler_indices_batch.json").read_text())
    assert table == {"0": batch.views.index.tolist()}


def test_files_are_as_large_as_the_published_ones(tmp_path):
    plan = ViewPlan(0, 128, 224, 128, 1, Augmentation())
    values, indices = torch.randn(128, 1000).topk(10)
    batch = OfficialBatch(plan.batch(0, 0), values.half(), indices)
    write_lpqld(tmp_path / "labels", [batch], 224, 1000)
    size = (tmp_path / "labels/batch_0.tar").stat().st_size
    assert size == pytest.approx(9673, abs=300)  # as LPQLD's script writes, torch 2.15


def test_labels_of_all_classes_are_sorted(tmp_path):
    plan = ViewPlan(5, 12, SIDE, batch_size=12, epochs=2, augmentation=Augmentation())
    batch = next(labelled(plan, kept=None))
    write_lpqld(tmp_path / "labels", [batch], SIDE, CLASSES)
    found = open_folder(tmp_path / "labels", 12, SIDE).batch(0)
    assert (found.values.diff(dim=1) <= 0).all()
    assert torch.equal(torch.zeros(12, CLASSES).half().scatter(1, *pair(found)), batch.values)


def pair(batch: OfficialBatch) -> tuple[Tensor, Tensor]:
    assert batch.indices is not None
    return batch.indices, batch.values


@pytest.mark.parametrize(
    ("plan", "classes", "message"),
    [
        (ViewPlan(0, 300, 8, 300, 1, Augmentation()), 6, "Batch 0 has 300 views"),
        (ViewPlan(0, 4, 256, 4, 1, Augmentation()), 6, "mix boxes of 255 pixels a side"),
        (ViewPlan(0, 4, 512, 4, 1, Augmentation()), 6, "crops of 409 pixels a side at most"),
        (ViewPlan(0, 4, 8, 4, 1, Augmentation()), 32768, "32767 classes at most, not 32768"),
        (ViewPlan(0, 4, 8, 4, 1, Augmentation(cutout=0.5)), 6, "Cutout boxes of the LPQLD form"),
    ],
)
def test_what_the_form_cannot_hold_is_refused(plan, classes, message, tmp_path):
    with pytest.raises(UserError, match=message):
        write_lpqld(tmp_path / "labels", labelled(plan), plan.resolution, classes)
    assert not list(tmp_path.iterdir())
    with pytest.raises(UserError, match="exists already"):
        write_lpqld(tmp_path, labelled(plan), 8, 6)


# Images


def test_images_are_read_by_imagefolder_in_our_order(tmp_path):
    pixels = torch.randint(0, 256, (12, 3, 8, 8), dtype=torch.uint8)
    labels = torch.arange(3).repeat_interleave(4)
    images = ResidentImages(pixels, labels, ("zero", "one", "two"))
    write_images(tmp_path / "images", images)
    assert (tmp_path / "images/new002/class002_id003.png").is_file()
    found: Any = ImageFolder(str(tmp_path / "images"))
    assert [label for _, label in found] == labels.tolist()
    for (picture, _), expected in zip(found, pixels, strict=True):
        assert torch.equal(torch.from_numpy(np.array(picture)).permute(2, 0, 1), expected)
    grey = ResidentImages(pixels[:, :1], labels, images.class_names)
    write_images(tmp_path / "grey", grey)
    with Image.open(tmp_path / "grey/new000/class000_id001.png") as picture:
        assert torch.equal(torch.from_numpy(np.array(picture)), pixels[1, 0])


def test_more_than_a_thousand_classes_keep_their_order(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "finish_folder", Path.rename)  # syncing takes seconds
    labels = torch.arange(1001)
    pixels = (labels % 256).byte().view(-1, 1, 1, 1)
    images = ResidentImages(pixels, labels, [str(label) for label in range(1001)])
    write_images(tmp_path / "images", images)
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names[:2] + names[-1:] == ["new0000", "new0001", "new1000"]


@pytest.mark.parametrize("labels", [[1, 0], [0, 0], [1, 1]])
def test_images_that_class_folders_would_reorder_are_refused(labels, tmp_path):
    images = ResidentImages(
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.tensor(labels), ("zero", "one")
    )
    with pytest.raises(UserError, match="in label order"):
        write_images(tmp_path / "images", images)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        "new{:03d}/class{:03d}_id{:03d}.jpg",
        "{:05d}/class{:05d}_id{:05d}.jpg",
        "{:02d}/{:02d}_{}.jpg",
    ],
)
def test_distilled_folders_keep_the_order_stored_labels_count_in(name, tmp_path):
    for label in range(11):
        for number in range(12):
            file = tmp_path / name.format(label, label, number)
            file.parent.mkdir(exist_ok=True)
            file.touch()
    dataset: Any = SimpleNamespace(name="eleven", class_names=tuple(map(str, range(11))))
    ours = [str(file) for found in folder_sources(tmp_path, dataset) for file in found]
    assert ours == [file for file, _ in ImageFolder(str(tmp_path)).samples]
