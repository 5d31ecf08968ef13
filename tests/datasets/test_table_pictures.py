"""What an image column may hold: bytes, files beside the table, plain pixels."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from tiny import dataset_of

from benchmark.core.errors import UserError
from benchmark.data import splits
from benchmark.data.images import ResidentImages

GREY = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
COLOUR = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def load(place, images, write_set, column="image"):
    for split in ("train", "test"):
        table = pa.table({column: images, "label": pa.array([0, 1])})
        write_set({f"{split}.parquet": table})
    return dataset_of("parquet").load(place, "set")


def nested(pixels: np.ndarray, large: bool = False) -> pa.Array:
    kind = pa.uint8()
    for _ in pixels.shape[1:]:
        kind = pa.large_list(kind) if large else pa.list_(kind)
    return pa.array(pixels.tolist(), kind)


def fixed(pixels: np.ndarray) -> pa.Array:
    kind = pa.uint8()
    for side in pixels.shape[:0:-1]:
        kind = pa.list_(kind, side)
    return pa.array(pixels.tolist(), kind)


@pytest.mark.parametrize("column", ["image", "img"])
@pytest.mark.parametrize("pixels", [GREY, GREY[..., None], COLOUR], ids=["grey", "one", "colour"])
@pytest.mark.parametrize(
    "made",
    [nested, fixed, lambda p: nested(p, large=True), pa.FixedShapeTensorArray.from_numpy_ndarray],
    ids=["lists", "fixed lists", "large lists", "tensors"],
)
def test_arrays_of_pixels(place, write_set, column, pixels, made):
    found = load(place, made(pixels), write_set, column).train.pixels
    shown = pixels if pixels.ndim == 4 else pixels[..., None]
    assert np.array_equal(found.numpy(), shown.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_plain_bytes(place, write_set, encode, kind):
    dataset = load(place, pa.array([encode(1), encode(2)], kind), write_set)
    assert dataset.train.pixels[:, 0, 0, 0].tolist() == [1, 2]


@pytest.mark.parametrize("with_bytes", [True, False])
def test_files_beside_the_table(place, write_set, encode, with_bytes):
    folder = place.root / "set" / "pictures"
    folder.mkdir(parents=True)
    for name, shade in (("a", 1), ("b", 2)):
        (folder / f"{name}.png").write_bytes(encode(shade))
    rows = [{"path": "pictures/a.png"}, {"path": "pictures/b.png"}]
    if with_bytes:
        rows = [row | {"bytes": None} for row in rows]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        images = pa.array(rows, kind)
    else:
        images = pa.array(rows)
    dataset = load(place, images, write_set)
    assert dataset.train.pixels[:, 0, 0, 0].tolist() == [1, 2]
    (folder / "b.png").write_bytes(encode((9, 8, 7)))  # the table is the same
    assert load(place, images, write_set).train.pixels[1, :, 0, 0].tolist() == [9, 8, 7]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (nested(COLOUR.transpose(0, 3, 1, 2)), r"Row 0 of .* array of shape \(3, 4, 4\); valid: "),
        (pa.array([[[1, 2], [3]], [[1, 2], [3]]], pa.list_(pa.list_(pa.uint8()))), "several leng"),
        (pa.array([[[1, None]], [[1, 2]]], pa.list_(pa.list_(pa.uint8()))), "pixel without a va"),
        (pa.array([[], [[1]]], pa.list_(pa.list_(pa.uint8()))), r"Row 0 .* shape \(0, 0\)"),
        (pa.array([[[1]], None], pa.list_(pa.list_(pa.uint8()))), "Row 1 of .* holds no picture"),
        (pa.array([[[1]], [[1]]]), "must hold encoded bytes.* not list<.*int64"),
        (pa.array([[1], [1]], pa.list_(pa.uint8())), "must hold encoded bytes.* not list<.*uint8"),
        (pa.array([b"", None]), "Row 1 of .* holds no picture|row 0 of .* no picture"),
    ],
    ids=range(8),
)
def test_what_is_no_picture(place, write_set, images, words):
    with pytest.raises(UserError, match=words):
        load(place, images, write_set)


def test_a_table_without_pictures(place, write_set, encode):
    with pytest.raises(UserError, match=r"no image column \(image, img\); it has: photo, label"):
        load(place, pa.array([encode(1), encode(2)]), write_set, "photo")


def test_pictures_in_both_splits_are_counted_once_and_said(
    place, encode, write_table, capsys, monkeypatch
):
    folder = place.root / "set"
    write_table(folder / "train.parquet", [encode(1), encode(2)], [0, 1])
    # Another encoding of the same pixels.
    write_table(folder / "test.parquet", [encode(2, kind="BMP"), encode(3)], [1, 0])
    for again in (False, True):
        if again:
            monkeypatch.setattr(splits, "overlap", None)
        dataset_of("parquet").load(place, "set")
        said = capsys.readouterr().err
        assert "set': 1 of 2 test images are training images too" in said
    write_table(folder / "test.parquet", [encode(4), encode(3)], [1, 0])
    monkeypatch.undo()
    dataset_of("parquet").load(place, "set")
    assert "training images too" not in capsys.readouterr().err


def test_overlap_counts_test_images():
    pixels = torch.arange(5 * 4, dtype=torch.uint8).view(5, 1, 2, 2)
    train = ResidentImages(pixels[:3], torch.zeros(3, dtype=torch.int64), ["a"])
    test = ResidentImages(pixels[[1, 1, 2, 4]], torch.zeros(4, dtype=torch.int64), ["a"])
    assert splits.overlap(train, test) == 3
