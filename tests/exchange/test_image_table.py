"""Images to give away: the very pixels as PNG in Parquet, in Hugging Face's layout."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from tiny import NAMES, pictures

from benchmark.core.errors import ArtefactError
from benchmark.data import distilled
from benchmark.data.images import UNLABELLED, ResidentImages, decode
from benchmark.datasets.parquet import describe, labels_of, sources_of
from benchmark.exchange import image_table

CPU = torch.device("cpu")
FILE = "train-00000-of-00001.parquet"


def colours(count: int) -> ResidentImages:
    pixels = torch.randint(0, 256, (count, 3, 5, 5), generator=torch.Generator().manual_seed(3))
    return ResidentImages(pixels.to(torch.uint8), torch.arange(count) % 3, ("a", 'b "c"', "d\n|é"))


def moved() -> ResidentImages:
    """Images that others count in another order."""
    images = pictures(20)
    places = torch.arange(20).flip(0)
    return ResidentImages(images.pixels, images.labels, NAMES, positions=places)


def noise() -> ResidentImages:
    """Images that show none of the classes."""
    return ResidentImages(pictures(20).pixels, torch.full((20,), UNLABELLED), NAMES)


def same(images: ResidentImages, other: ResidentImages) -> None:
    assert torch.equal(images.pixels, other.pixels)
    assert torch.equal(images.labels, other.labels)
    assert images.class_names == other.class_names
    assert images.digest == other.digest
    if images.positions is None:
        assert other.positions is None
    else:
        assert other.positions is not None
        assert torch.equal(images.positions, other.positions)


@pytest.mark.parametrize("images", [pictures(20), colours(7), moved(), noise()])
def test_images_come_back_to_the_bit(tmp_path, images):
    image_table.write(tmp_path, images)
    assert [file.name for file in image_table.tables(tmp_path)] == [FILE]
    same(image_table.read(tmp_path, CPU), images)


def test_many_images_are_several_files(tmp_path, monkeypatch):
    monkeypatch.setattr(image_table, "SHARD_BYTES", 500)
    monkeypatch.setattr(image_table, "GROUP", 3)
    images = pictures(20)  # of 64 bytes each
    image_table.write(tmp_path, images)
    files = image_table.tables(tmp_path)
    assert [file.name for file in files] == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    assert [pq.ParquetFile(file).metadata.num_rows for file in files] == [7, 7, 6]
    same(image_table.read(tmp_path, CPU), images)
    files[1].unlink()
    with pytest.raises(ArtefactError, match="must hold train-00000-of-00002"):
        image_table.read(tmp_path, CPU)
    image_table.write(tmp_path, pictures(7))
    with pytest.raises(ArtefactError, match="each part once"):
        image_table.read(tmp_path, CPU)


def test_hugging_faces_tools_find_what_they_look_for(tmp_path):
    """As `datasets` writes tables of its features Image and ClassLabel."""
    images = colours(7)
    image_table.write(tmp_path, images)
    table = pq.read_table(tmp_path / FILE)
    assert table.schema.field("image").type == pa.struct(
        [("bytes", pa.binary()), ("path", pa.string())]
    )
    assert table.schema.field("label").type == pa.int64()
    told = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert told == {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": list(images.class_names)},
    }
    for row, pixels in zip(table.to_pylist(), images.pixels, strict=True):
        picture = Image.open(io.BytesIO(row["image"]["bytes"]))
        assert picture.format == "PNG"
        assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), pixels.numpy())
        assert row["image"]["path"].endswith(".png")


def test_what_reads_tables_of_others_reads_them(tmp_path):
    """`--images path:FILE.parquet` goes this way."""
    images = colours(7)
    image_table.write(tmp_path, images)
    assert describe([tmp_path / FILE], tmp_path) == (3, 5, images.class_names)
    assert labels_of(tmp_path / FILE, 3).tolist() == images.labels.tolist()
    for source, pixels in zip(sources_of(tmp_path / FILE), images.pixels, strict=True):
        assert np.array_equal(decode(source, 3, 5), pixels.numpy())


def rewritten(folder, change, metadata=None):
    """Write the table again with some of its columns changed."""
    table = pq.read_table(folder / FILE)
    columns = {name: table[name].to_pylist() for name in table.schema.names}
    types = dict(zip(table.schema.names, table.schema.types, strict=True))
    change(columns, types)
    told = table.schema.metadata if metadata is None else metadata
    schema = pa.schema(types, told)
    pq.write_table(pa.table(columns, schema), folder / FILE)


def png(array, kind="PNG", **how) -> dict:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **how)
    return {"bytes": file.getvalue(), "path": "a.png"}


GREY = np.zeros((8, 8), np.uint8)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("image", png(GREY), "were changed: copy them again"),
        ("label", 3, "were changed: copy them again"),
        ("label", 10, "Labels run from 0 to 10, but there are 10 class names"),
        ("label", None, "lacks some pictures or labels"),
        ("image", {"bytes": None, "path": "a.png"}, "lacks some pictures or labels"),
        ("image", png(GREY[:4, :4]), "of several sizes"),
        ("image", png(GREY[:4]), "it has 8 x 4 pixels"),
        ("image", png(np.zeros((8, 8, 3), np.uint8)), "some are grey and others are not"),
        ("image", png(GREY, "JPEG"), "it is no PNG in grey or RGB"),
        ("image", png(np.zeros((8, 8), np.uint16)), "it is no PNG in grey or RGB"),
        ("image", {"bytes": b"no picture", "path": "a.png"}, "it is no picture"),
    ],
)
def test_changed_images_are_refused(tmp_path, column, value, said):
    image_table.write(tmp_path, pictures(20))
    rewritten(tmp_path, lambda columns, _: columns[column].__setitem__(4, value))
    with pytest.raises(ArtefactError, match=said):
        image_table.read(tmp_path, CPU)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda columns, types: (columns.pop("label"), types.pop("label")), "columns are image"),
        (
            lambda columns, types: (columns.update(more=[1] * 20), types.update(more=pa.int64())),
            "columns are image, label, more",
        ),
        (lambda _, types: types.update(label=pa.int32()), "columns are image, label"),
        (lambda columns, _: [column.clear() for column in columns.values()], "holds 0 images"),
    ],
)
def test_other_tables_are_refused(tmp_path, change, said):
    image_table.write(tmp_path, pictures(20))
    rewritten(tmp_path, change)
    with pytest.raises(ArtefactError, match=said):
        image_table.read(tmp_path, CPU)


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ({}, "no JSON"),
        ({"huggingface": "{}", "labelbench": "{}"}, r"huggingface\.info is missing"),
        (
            {"huggingface": '{"info": {"features": {"label": {"names": []}}}}', "labelbench": "{}"},
            "at least 1",
        ),
        (
            {
                "huggingface": json.dumps(
                    {"info": {"features": {"label": {"names": list(NAMES)}}}}
                ),
                "labelbench": "[]",
            },
            "were changed",
        ),
    ],
)
def test_tables_that_do_not_say_what_they_are_are_refused(tmp_path, metadata, said):
    image_table.write(tmp_path, pictures(20))
    rewritten(tmp_path, lambda *_: None, metadata)
    with pytest.raises(ArtefactError, match=said):
        image_table.read(tmp_path, CPU)


def test_damaged_files_are_refused(tmp_path):
    image_table.write(tmp_path, pictures(20))
    whole = (tmp_path / FILE).read_bytes()
    for damaged in (b"", whole[:-1], whole[:100], b"x" * 1000):
        (tmp_path / FILE).write_bytes(damaged)
        with pytest.raises(ArtefactError, match="holds no distilled images that can be read"):
            image_table.read(tmp_path, CPU)
    for place in range(0, len(whole), 97):
        flipped = bytearray(whole)
        flipped[place] ^= 0xFF
        (tmp_path / FILE).write_bytes(flipped)
        try:
            same(image_table.read(tmp_path, CPU), pictures(20))
        except ArtefactError:
            continue


def test_images_of_before_are_read(tmp_path):
    distilled.write(tmp_path, moved())
    same(image_table.read(tmp_path, CPU), moved())
