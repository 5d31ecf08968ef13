"""`folder:PATH`: which pictures count as which class, and which folders are refused."""

import os

import pytest
from PIL import Image
from tiny import dataset_of
from torchvision.datasets import ImageFolder

from benchmark.core.errors import UserError
from benchmark.data.class_folders import SUFFIXES

KINDS = {
    ".bmp": "BMP",
    ".pgm": "PPM",
    ".ppm": "PPM",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}


def load(place):
    return dataset_of("folder").load(place, "pets")


@pytest.fixture
def write(place, encode):
    """Pictures of rising shades under these names."""

    def write(*names: str, mode: str = "RGB", first: int = 1, side: int = 4) -> None:
        for shade, name in enumerate(names, first):
            file = place.root / "pets" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            kind = KINDS.get(file.suffix.lower(), "JPEG")
            file.write_bytes(encode(shade, mode=mode, kind=kind, side=side))

    return write


@pytest.mark.parametrize("held_out", ["test", "val", "valid", "validation"])
def test_class_folders(place, write, held_out, capsys):
    write("train/cat/1.png", "train/cat/10.png", "train/cat/2.png", "train/dog/0.png")
    write(f"{held_out}/dog/0.png", f"{held_out}/cat/0.png", first=9)
    dataset = load(place)
    assert (dataset.name, dataset.class_names) == ("folder:pets", ("cat", "dog"))
    assert dataset.train.labels.tolist() == [0, 0, 0, 1]
    assert dataset.train.pixels[:, 0, 0, 0].tolist() == [1, 2, 3, 4]
    assert dataset.test.labels.tolist() == [0, 1]
    assert dataset.test.pixels[:, 0, 0, 0].tolist() == [10, 9]
    assert capsys.readouterr().err == ""


def test_the_first_held_out_split_is_taken(place, write):
    write("train/cat/0.png")
    for shade, split in enumerate(("validation", "valid", "val", "test"), 50):
        write(f"{split}/cat/0.png", first=shade)
        assert load(place).test.pixels.unique().tolist() == [shade]


def test_pictures_are_counted_as_imagefolder_counts_them(place, write):
    inner = ["a/1.png", "B.PNG", "a.png", "a/b/0.png", "a-b/0.png", "Z/9.png", "b.png", "0.txt"]
    names = [f"train/cat/{name}" for name in inner if not name.endswith(".txt")]
    names += [f"train/dog/{i}{suffix}" for i, suffix in enumerate(SUFFIXES)]
    write(*names, mode="L")
    write("test/cat/0.png", "test/dog/0.png", mode="L", first=90)
    (place.root / "pets" / "train" / "cat" / "0.txt").write_text("no picture")
    (place.root / "pets" / "train" / "cat" / "._0.png").write_text("what macOS leaves behind")
    (place.root / "pets" / "train" / ".checkpoints").mkdir()
    dataset = load(place)
    os.remove(place.root / "pets" / "train" / "cat" / "._0.png")
    (place.root / "pets" / "train" / ".checkpoints").rmdir()
    theirs = ImageFolder(str(place.root / "pets" / "train"))
    assert list(dataset.class_names) == theirs.classes
    assert dataset.train.labels.tolist() == theirs.targets
    for found, (path, _) in zip(dataset.train.pixels[:, 0, 0, 0], theirs.samples, strict=True):
        with Image.open(path) as picture:
            assert int(found) == picture.convert("L").getpixel((0, 0)), path


def test_shape_and_content(place, write):
    write("train/cat/0.png", "train/cat/1.png", mode="L", side=6)
    write("train/cat/2.png", "test/cat/0.png", mode="L", side=9)
    first = load(place)
    assert first.train.pixels.shape == (3, 1, 6, 6)
    write("train/cat/2.bmp", side=6)
    assert load(place).train.pixels.shape == (4, 3, 6, 6)
    digest = load(place).train.digest
    write("train/cat/2.bmp", side=6, first=99)  # of the same size in bytes
    again = load(place).train
    assert again.digest != digest
    assert 99 in again.pixels


def test_pictures_in_both_splits_are_said(place, write, capsys):
    write("train/cat/0.png", "train/cat/1.png")
    write("test/cat/0.png")
    load(place)
    assert "pets': 1 of 1 test images are training images too" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "folder:pets names no folder. Give folder:PATH with PATH/train/CLASS"),
        (["cat/0.png", "dog/0.png"], r"holds no splits: put PATH/train/CLASS.* in it: cat, dog"),
        (["train/cat/0.png"], r"pets' holds no splits: put .*\. Folders in it: train"),
        (["test/cat/0.png"], r"pets' holds no splits: put .*\. Folders in it: test"),
        (["train/0.png", "test/0.png"], "train' holds no class folders"),
        (
            ["train/cat/0.png", "train/dog/0.png", "test/cat/0.png", "test/cow/0.png"],
            r"\(2\) and .*\(2\) must be the same; only in '.*train': dog; only in '.*test': cow",
        ),
        (["train/cat/0.png", "test/cat/0.gif"], "Class folder '.*test/cat' holds no pictures"),
        (["train/cat/a.txt", "test/cat/0.png"], "Class folder '.*train/cat' holds no pictures"),
    ],
)
def test_what_is_refused(place, write, names, words):
    write(*names)
    with pytest.raises(UserError, match=words):
        load(place)


def test_links(place, write):
    write("train/cat/0.png", "test/cat/0.png", "more/1.png")
    cats = place.root / "pets" / "train" / "cat"
    (cats / "more").symlink_to(place.root / "pets" / "more")
    assert len(load(place).train) == 2
    (cats / "0" / "1").mkdir(parents=True)
    (cats / "0" / "1" / "back").symlink_to(cats)
    with pytest.raises(UserError, match=r"cat/0/1/back' links to a folder that is in .*cat' alre"):
        load(place)
    (cats / "0" / "1" / "back").unlink()
    (cats / "9.png").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"cat/9\.png' is no plain file, or a link to nowhere"):
        load(place)
    (cats / "9.png").unlink()
    os.mkfifo(cats / "9.png")
    with pytest.raises(UserError, match=r"cat/9\.png' is no plain file"):
        load(place)


@pytest.mark.parametrize("name", ["parquet", "folder"])
@pytest.mark.parametrize("argument", ["", "a" * 5000, "a\0b", "absent"])
def test_names_of_no_folder(place, name, argument):
    with pytest.raises(UserError, match=rf"{name}:.* names no folder"):
        dataset_of(name).load(place, argument)
