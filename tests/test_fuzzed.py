"""What fuzzing and a reading of the readers found, each as it was found; all are sentences now."""

import re
import zipfile
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoFile
from tiny import pictures

from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.hub import Repository
from benchmark.core.pickles import read_pickled
from benchmark.data.tensors_of_others import read_soft_labels, read_tensors
from benchmark.exchange import image_table
from benchmark.labels.weights import decode, encode

IMAGES, LABELS = torch.rand(4, 3, 8, 8), torch.arange(4)


def refused(read, *arguments):
    with pytest.raises(UserError) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"data": [3]}, "can be read"),
        ({"data": [torch.tensor(1.0)]}, "can be read"),
        ({"images": torch.tensor(1.0), "labels": LABELS}, r"are \(\); they must be"),
        ({"images": IMAGES.to_sparse(), "labels": LABELS}, "stored as|it is damaged"),
        ({"images": IMAGES, "labels": LABELS, "lr": [0.1, 0.2]}, "can be read .TypeError"),
        ({"images": IMAGES, "labels": LABELS, "lr": float("nan")}, "learning rate .* is nan"),
        ({"images": IMAGES, "labels": LABELS * float("inf")}, "is not finite"),
        ({"images": IMAGES, "labels": torch.rand(4, 2) * 1j}, "or complex"),
        ({"images": IMAGES, "labels": LABELS, "mean": {}, "std": [1.0]}, "can be read"),
        ({"images": IMAGES, "labels": LABELS, "mean": [1.0], "std": ["x"]}, "can be read"),
    ],
    ids=range(10),
)
def test_tensors_of_others_that_are_none(tmp_path, held, said):
    file = tmp_path / "some.pt"
    torch.save(held, file)
    told = refused(read_tensors, file)
    assert re.search(said, told), told


def test_labels_of_others_that_are_none(tmp_path):
    torch.save(torch.full((4, 2), float("nan")), tmp_path / "some.pt")
    assert "not finite" in refused(read_soft_labels, tmp_path / "some.pt")


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path):
    file = tmp_path / "some.pt"
    torch.save({"images": torch.zeros(64, 3, 32, 32), "labels": torch.arange(64)}, file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    assert read_pickled(file)["labels"].tolist() == [*range(64)]
    assert "its members have" in refused(read_pickled, tmp_path / "bomb.pt")


def test_arrays_that_unpack_to_far_more_are_refused(tmp_path, monkeypatch):
    file = tmp_path / "some.npz"
    np.savez_compressed(file, images=np.zeros((4, 3, 8, 8), np.float32), labels=np.arange(4))
    assert len(read_tensors(file).labels) == 4
    monkeypatch.setattr("benchmark.data.tensors_of_others.MOST_BYTES", 1000)
    assert "its members have" in refused(read_tensors, file)


def test_a_column_whose_name_is_no_text_is_refused(tmp_path):
    image_table.write(tmp_path, pictures(20))
    (file,) = image_table.tables(tmp_path)
    file.write_bytes(file.read_bytes().replace(b"label", b"l\xf4bel"))
    assert "can't decode byte" in refused(image_table.read, tmp_path, torch.device("cpu"))


@pytest.mark.parametrize("form", ["fp16", "fp32", "int8", "int4"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(form, number):
    whole = [torch.rand(3, 4), torch.rand(3)]
    made: Any = encode(whole, form)
    shipped = {part.name: part.tensor for part in made}
    assert [part.shape for part in decode(shipped, form, [(3, 4), (3,)])] == [(3, 4), (3,)]
    for name, tensor in shipped.items():
        if tensor.is_floating_point():
            damaged = tensor.clone()
            damaged[-1] = number
            with pytest.raises(ArtefactError, match="no finite number"):
                decode(shipped | {name: damaged}, form, [(3, 4), (3,)])


def test_files_of_the_hub_whose_paths_are_no_text(hub, monkeypatch):
    hub.make("datasets/ann/labels", {"x": b"1"})
    listed = [RepoFile(path=path, size=1, oid="c" * 40) for path in ("x", 1)]
    monkeypatch.setattr(HfApi, "list_repo_tree", lambda *_, **__: iter(listed))
    told = refused(Repository("ann/labels", "dataset").listing)
    assert "TypeError: it lists a file as [1, 1, 'ccc" in told
