"""`hf:NAME` through a `datasets` library of our own, which fetches nothing."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pyarrow as pa
import pytest
from tiny import dataset_of

from benchmark.core.errors import UserError
from benchmark.datasets import hf

STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def split(images, labels, names=("cat", "dog"), fingerprint="a", label="label"):
    table = pa.table({"img": images, label: labels})
    told = {"info": {"features": {label: {"names": list(names), "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(told)})
    return SimpleNamespace(
        data=SimpleNamespace(table=table), _fingerprint=fingerprint, _indices=None
    )


@pytest.fixture
def hub(monkeypatch, encode):
    """What the hub has, by name and configuration; the splits of one."""
    held = {}

    def load_dataset(name, config=None):
        if (name, config) not in held:
            raise ConnectionError(f"Couldn't reach {name!r} on the Hub\nat all")
        return held[name, config]

    module = ModuleType("datasets")
    vars(module)["load_dataset"] = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    images = pa.array([{"bytes": encode(shade), "path": None} for shade in (1, 2)], STRUCT)
    held["of/pets", None] = {"train": split(images, [0, 1]), "test": split(images, [1, 1])}
    held["of/pets", "fine"] = {
        "train": split(images, [0, 1], ("tabby", "pug"), "b", "fine_label"),
        "validation": split(images, [1, 1], ("tabby", "pug"), "b", "fine_label"),
    }
    return held


def load(place, argument):
    return dataset_of("hf").load(place, argument)


@pytest.mark.parametrize("argument", ["of/pets", "//of/pets"])
def test_a_dataset(place, hub, argument):
    dataset = load(place, argument)
    assert (dataset.name, dataset.class_names) == ("hf:of/pets", ("cat", "dog"))
    assert dataset.train.labels.tolist() == [0, 1]
    assert dataset.train.pixels[:, 0, 0, 0].tolist() == [1, 2]
    assert dataset.test.labels.tolist() == [1, 1]


def test_a_configuration(place, hub):
    dataset = load(place, "of/pets:fine")
    assert (dataset.name, dataset.class_names) == ("hf:of/pets:fine", ("tabby", "pug"))


def test_withheld_labels_of_the_hub(place, hub, capsys):
    pets = hub["of/pets", None]
    pets["validation"] = split(pets["train"].data.table["img"], [0, 0])
    pets["test"] = split(pets["train"].data.table["img"], [-1, -1])
    assert load(place, "of/pets").test.labels.tolist() == [0, 0]
    assert "withheld" in capsys.readouterr().err


def test_pictures_that_the_library_keeps_as_files(place, hub, encode, tmp_path):
    (tmp_path / "a.png").write_bytes(encode(7))
    rows = [{"bytes": None, "path": str(tmp_path / "a.png")}, {"bytes": encode(8), "path": None}]
    hub["of/pets", None]["train"] = split(pa.array(rows, STRUCT), [0, 1], fingerprint="c")
    assert load(place, "of/pets").train.pixels[:, 0, 0, 0].tolist() == [7, 8]


def test_rows_that_were_chosen(place, hub):
    train = hub["of/pets", None]["train"]
    turned = pa.Table.from_batches(train.data.table.take([1, 0]).to_batches())
    train._indices = [1, 0]
    train.flatten_indices = lambda: SimpleNamespace(data=SimpleNamespace(table=turned))
    assert load(place, "of/pets").train.labels.tolist() == [1, 0]


def test_arrays_of_the_library(place, hub):
    class Array2D(pa.ExtensionType):
        def __init__(self) -> None:
            super().__init__(pa.list_(pa.list_(pa.uint8())), "tests.array2d")

        def __arrow_ext_serialize__(self) -> bytes:
            return b""

        @classmethod
        def __arrow_ext_deserialize__(cls, storage, raw):
            return cls()

    pa.register_extension_type(Array2D())
    try:
        stored = pa.array([[[1, 2], [3, 4]]] * 2, pa.list_(pa.list_(pa.uint8())))
        images = pa.ExtensionArray.from_storage(Array2D(), stored)
        for name in ("train", "test"):
            hub["of/pets", None][name] = split(images, [0, 1], fingerprint="d")
        assert load(place, "of/pets").train.pixels[0].tolist() == [[[1, 2], [3, 4]]]
    finally:
        pa.unregister_extension_type("tests.array2d")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("", "hf: names no dataset of the hub"),
        ("a b", "hf:a b names no dataset of the hub"),
        ("/etc/passwd", "hf:/etc/passwd names no dataset of the hub"),
        ("of/cars", r"library cannot load 'of/cars' \(ConnectionError: Couldn't .* parquet:PATH"),
        ("of/pets:none", r"library cannot load 'of/pets' \(ConnectionError"),
    ],
)
def test_what_is_not_there(place, hub, argument, words):
    with pytest.raises(UserError, match=words):
        load(place, argument)


def test_splits_without_training_images(place, hub):
    del hub["of/pets", None]["train"]
    with pytest.raises(UserError, match="hf:of/pets has no split train; it has: test"):
        load(place, "of/pets")


def test_a_folder_of_the_same_name(place, hub, monkeypatch, tmp_path):
    (tmp_path / "of" / "pets").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"'of/pets' is also here, .* give parquet:of/pets"):
        load(place, "of/pets")


@pytest.mark.parametrize("hidden", [None, ModuleType("datasets")])
def test_without_the_library(place, monkeypatch, hidden):
    monkeypatch.setitem(sys.modules, "datasets", hidden)
    paths = list(sys.path)
    with pytest.raises(
        UserError, match=r"hf:of/pets needs the `datasets` library \(.*`pip install"
    ):
        load(place, "of/pets")
    assert sys.path == paths


def test_the_projects_own_folder_does_not_hide_the_library(place, monkeypatch, tmp_path):
    """As where a run starts in the project's folder."""
    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    (tmp_path / "datasets").mkdir()
    raises = "def load_dataset(name, config): raise OSError('found')"
    (tmp_path / "datasets" / "__init__.py").write_text(raises)
    root = Path(hf.__file__).parents[1]
    monkeypatch.setattr(sys, "path", [str(root), str(tmp_path), *sys.path])
    with pytest.raises(UserError, match=r"cannot load 'of/pets' \(OSError: found\)"):
        load(place, "of/pets")
    del sys.modules["datasets"]
