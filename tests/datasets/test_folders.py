import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import dataset_of

from benchmark.core.errors import UserError
from benchmark.data.images import IMAGENET_MEAN
from benchmark.data.streamed import StreamedImages

WNIDS = ["n01440764", "n02123045"]


def write_tiny(folder: Path, encode) -> None:
    """The original archive's layout: two classes of two training images, and three of test."""
    for label, wnid in enumerate(WNIDS):
        images = folder / "train" / wnid / "images"
        images.mkdir(parents=True)
        for i in range(2):
            shade = 100 * label + 10 * i
            (images / f"{wnid}_{i}.JPEG").write_bytes(encode(shade, side=64, kind="JPEG"))
    (folder / "val" / "images").mkdir(parents=True)
    rows = []
    for i, label in enumerate((1, 0, 1)):
        data = encode(50 + i, side=64, mode="L", kind="JPEG")
        (folder / "val" / "images" / f"val_{i}.JPEG").write_bytes(data)
        rows.append(f"val_{i}.JPEG\t{WNIDS[label]}\t0\t0\t62\t62\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(rows))
    (folder / "words.txt").write_text(
        "n01440764\ttench, Tinca tinca\nn02123045\ttabby\nn9\tother\n"
    )


def write_imagenet(folder: Path, encode, held_out: str = "val") -> None:
    for split, count in (("train", 3), (held_out, 1)):
        for label, wnid in enumerate(WNIDS):
            (folder / split / wnid).mkdir(parents=True)
            for i in range(count):
                data = encode(100 * label + 20 * i, side=(300, 240), kind="JPEG")
                (folder / split / wnid / f"{wnid}_{i}.JPEG").write_bytes(data)


def test_the_original_tiny_imagenet(place, encode):
    write_tiny(place.root / "tiny-imagenet-200", encode)
    dataset = dataset_of("tiny_imagenet").load(place)
    assert dataset.class_names == ("tench, Tinca tinca", "tabby")
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert dataset.train.pixels[:, 0, 9, 9].tolist() == [0, 10, 100, 110]
    assert dataset.test.labels.tolist() == [1, 0, 1]
    assert dataset.test.pixels[:, :, 9, 9].tolist() == [[50] * 3, [51] * 3, [52] * 3]
    assert dataset.mean == pytest.approx((55 / 255,) * 3, abs=1e-5)


def test_some_classes_of_tiny_imagenet(place, encode):
    write_tiny(place.root / "tiny-imagenet-200", encode)
    assert dataset_of("tiny_imagenet").load(place, "2").train.digest
    for wrong in ("1", "3", "all"):
        with pytest.raises(UserError, match=f"tiny_imagenet:{wrong} names no number of classes"):
            dataset_of("tiny_imagenet").load(place, wrong)


@pytest.mark.parametrize("held_out", ["val", "test"])
def test_imagenet_is_decoded_on_demand(held_out, place, encode):
    write_imagenet(place.root / "imagenet", encode, held_out)
    dataset = dataset_of("imagenet1k").load(place)
    assert isinstance(dataset.train, StreamedImages)
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.test.labels.tolist() == [0, 1]
    pixels = dataset.train.take(torch.tensor([5, 1]))
    assert pixels.shape == (2, 3, 224, 224)
    assert pixels[:, 0, 9, 9].tolist() == [140, 20]
    assert dataset.mean == IMAGENET_MEAN
    assert dataset.mirror


def test_imagenet_class_names(place, encode):
    folder = place.root / "imagenet"
    write_imagenet(folder, encode)
    assert dataset_of("imagenet1k").load(place).class_names == tuple(WNIDS)
    (folder / "words.txt").write_text("n01440764\ttench, Tinca tinca\n\n")
    assert dataset_of("imagenet1k").load(place).class_names == ("tench, Tinca tinca", "n02123045")
    (folder / "LOC_synset_mapping.txt").write_text("n01440764 tench\nn02123045 tabby, tabby cat\n")
    assert dataset_of("imagenet1k").load(place).class_names == ("tench", "tabby, tabby cat")


def test_the_imagenet_digest_is_that_of_names_and_sizes(place, encode):
    folder = place.root / "imagenet"
    write_imagenet(folder, encode)
    digest = dataset_of("imagenet1k").load(place).train.digest
    moved = place.root / "moved"
    moved.mkdir()
    shutil.copytree(folder, moved / "imagenet")
    assert dataset_of("imagenet1k").load(replace(place, root=moved)).train.digest == digest
    file = moved / "imagenet" / "train" / WNIDS[0] / f"{WNIDS[0]}_0.JPEG"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content + b" ")
    assert dataset_of("imagenet1k").load(replace(place, root=moved)).train.digest != digest


def test_imagenet_that_is_not_whole_is_refused(place, encode):
    folder = place.root / "imagenet"
    write_imagenet(folder, encode)
    for file in (folder / "val" / WNIDS[1]).iterdir():
        file.unlink()
    with pytest.raises(UserError, match=r"Class folder '.*val/n02123045' holds no images"):
        dataset_of("imagenet1k").load(place)
    (folder / "val" / WNIDS[1]).rmdir()
    with pytest.raises(UserError, match=r"train' has 2 classes .* has 1.*only: n02123045"):
        dataset_of("imagenet1k").load(place)
    shutil.rmtree(folder / "val")
    with pytest.raises(UserError, match="val' holds no class folders"):
        dataset_of("imagenet1k").load(place)
