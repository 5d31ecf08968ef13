import hashlib
import pickle
import struct
from dataclasses import replace
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from tiny import dataset_of
from torchvision import datasets
from torchvision.datasets import CIFAR10, CIFAR100

from benchmark.core.errors import UserError
from benchmark.datasets import cifar10, cifar100


def write_mnist(root: Path, shades: dict[str, list[int]]) -> None:
    """MNIST's four files, each image of one shade and labelled with its place."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split, values in shades.items():
        pixels = np.repeat(np.array(values, np.uint8), 28 * 28).tobytes()
        header = struct.pack(">IIII", 0x803, len(values), 28, 28)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(header + pixels)
        labels = struct.pack(">II", 0x801, len(values)) + bytes(range(len(values)))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(labels)


def write_cifar(root: Path, source: type, key: str, names: list[str], monkeypatch) -> None:
    """torchvision's folder with two images a file, and its checksums."""

    def write(name: str, content: dict) -> str:
        data = pickle.dumps(content)
        (root / source.base_folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    (root / source.base_folder).mkdir()
    pixels = np.arange(2 * 3072).reshape(2, 3072).astype(np.uint8)
    batch = {"data": pixels, key: [1, 0]}
    meta = dict(source.meta)
    meta["md5"] = write(meta["filename"], {meta["key"]: names})
    monkeypatch.setattr(source, "train_list", [["first", write("first", batch)]])
    monkeypatch.setattr(source, "test_list", [["held_out", write("held_out", batch)]])
    monkeypatch.setattr(source, "meta", meta)


def test_mnist_from_its_files(place):
    write_mnist(place.root, {"train": [0, 255, 51], "t10k": [9]})
    dataset = dataset_of("mnist").load(place)
    assert dataset.train.pixels[:, 0, 5, 5].tolist() == [0, 255, 51]
    assert dataset.train.pixels.shape == (3, 1, 28, 28)
    assert dataset.train.labels.tolist() == [0, 1, 2]
    assert dataset.test.pixels.unique().tolist() == [9]
    assert dataset.class_names[0] == "zero"
    assert dataset.class_names[9] == "nine"
    assert dataset.mean == pytest.approx((0.4,))
    assert not dataset.mirror


def test_mnist_from_parquet_has_the_same_class_names(place, encode, write_table):
    digits = [str(digit) for digit in range(10)]
    for split, labels in (("train", list(range(10))), ("test", [3])):
        images = [encode(label, side=28, mode="L") for label in labels]
        write_table(place.root / "mnist" / f"{split}-0.parquet", images, labels, digits)
    dataset = dataset_of("mnist").load(place)
    assert dataset.train.class_names == dataset.test.class_names
    assert dataset.class_names[3] == "three"


@pytest.mark.parametrize(
    ("module", "source", "key"),
    [(cifar10, CIFAR10, "labels"), (cifar100, CIFAR100, "fine_labels")],
)
def test_cifar_from_torchvisions_folder(module, source, key, place, monkeypatch):
    write_cifar(place.root, source, key, ["bus", "cat"], monkeypatch)
    dataset = dataset_of(module.__name__.split(".")[-1]).load(place)
    assert dataset.name == module.__name__.split(".")[-1]
    assert dataset.class_names == ("bus", "cat")
    assert dataset.train.labels.tolist() == [1, 0]
    # The files hold all of red, then green, then blue, row by row.
    expected = np.arange(3072).reshape(3, 32, 32).astype(np.uint8)
    assert (dataset.train.pixels[0].numpy() == expected).all()
    assert dataset.mirror


@pytest.mark.parametrize("damage", ["changed", "cut", "absent"])
def test_a_damaged_folder_is_named(damage, place, monkeypatch):
    write_cifar(place.root, CIFAR10, "labels", ["bus", "cat"], monkeypatch)
    file = place.root / "cifar-10-batches-py" / "held_out"
    if damage == "absent":
        file.unlink()
    else:
        data = file.read_bytes()
        file.write_bytes(data[:-9] if damage == "cut" else data + b"more")
    with pytest.raises(UserError, match=r"'cifar10' is absent or damaged in '.*batches-py'"):
        dataset_of("cifar10").load(place)


def test_a_cut_file_of_mnist_is_named(place):
    write_mnist(place.root, {"train": [0, 1], "t10k": [2]})
    file = place.root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"'mnist' is absent or damaged in '.*MNIST'"):
        dataset_of("mnist").load(place)


def fetch(root: str, train: bool, download: bool) -> None:
    """A download of MNIST that succeeds."""
    if download:
        (Path(root) / "archive.gz").write_bytes(b"left over")
        write_mnist(Path(root), {"train": [1], "t10k": [2]})


def lose(root: str, train: bool, download: bool) -> None:
    """A download that breaks off."""
    (Path(root) / "MNIST").mkdir()
    (Path(root) / "MNIST" / "half.gz").write_bytes(b"1")
    raise URLError("no route to host")


def test_a_download_leaves_the_layout_and_nothing_else(place):
    cifar10.download("mnist", fetch, "MNIST", place.root)
    assert [path.name for path in place.root.iterdir()] == ["MNIST"]
    assert len(dataset_of("mnist").load(place).train) == 1


def test_a_failed_download_says_what_to_put_where_and_leaves_nothing(place, monkeypatch):
    monkeypatch.setattr(datasets, "MNIST", lose)
    with pytest.raises(UserError, match=r"'mnist' could not be downloaded .*no route to host"):
        dataset_of("mnist").load(replace(place, download=True))
    assert list(place.root.iterdir()) == []
    with pytest.raises(UserError, match=r"put torchvision's folder 'MNIST', or a folder 'mnist'"):
        dataset_of("mnist").load(replace(place, download=True))


def test_a_set_that_is_there_is_not_downloaded(place, monkeypatch):
    write_mnist(place.root, {"train": [1], "t10k": [2]})
    monkeypatch.setattr(cifar10, "download", None)
    assert len(dataset_of("mnist").load(replace(place, download=True)).test) == 1
