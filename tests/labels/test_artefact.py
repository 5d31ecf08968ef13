import os
import pickle
import re

import pytest
import torch
from hostile import reseal
from safetensors.torch import load_file
from tiny import DESCRIBED

from benchmark.core.errors import ArtefactError
from benchmark.labels import artefact, packed
from benchmark.labels import shards as shards_
from benchmark.labels.artefact import StoredTensor
from benchmark.labels.writer import Stored, TensorWriter


@pytest.fixture(autouse=True)
def in_shards(monkeypatch):
    """However small, as large ones are written; `test_packed` has the others."""
    monkeypatch.setattr(packed, "MOST_BYTES", -1)


TENSORS = {
    "f32": torch.randn(3, 5),
    "f16": torch.randn(7).half(),
    "bf16": torch.randn(2, 1, 2).bfloat16(),
    "i64": torch.tensor([-(2**62), 2**62]),
    "i32": torch.tensor([[-(2**30)], [2**30]], dtype=torch.int32),
    "i16": torch.tensor([-300, 300], dtype=torch.int16),
    "i8": torch.tensor([-128, 127], dtype=torch.int8),
    "u8": torch.arange(256, dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "number": torch.tensor(2.5),
    "empty": torch.empty(0, 4),
    "strided": torch.arange(12.0).view(3, 4).T,
}


def write(folder, tensors=TENSORS, **more):
    folder.mkdir(exist_ok=True)
    kinds = ("values", "indices", "views", "weights")
    tensors = [StoredTensor(n, kinds[i % 4], t) for i, (n, t) in enumerate(tensors.items())]
    artefact.write(folder, {**DESCRIBED, **more}, tensors)
    return folder


def shards(folder):
    return sorted(folder.glob("*.safetensors"))


def size_on_disk(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("shard_bytes", [artefact.SHARD_BYTES, 64, 16])
def test_round_trip(tmp_path, monkeypatch, shard_bytes):
    monkeypatch.setattr(artefact, "SHARD_BYTES", shard_bytes)
    monkeypatch.setattr(shards_, "CHUNK_BYTES", 24)
    found = artefact.read(write(tmp_path, method="m"))
    assert found.manifest["method"] == "m"
    assert found.tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert found.tensors[name].shape == tensor.shape
        assert found.tensors[name].equal(tensor)


def on_disk(folder, tensors=TENSORS):
    """The same tensors, stored in files."""
    folder.mkdir()
    found = {}
    for name, tensor in tensors.items():
        writer = TensorWriter(folder / name, tensor.dtype, tensor.shape[1:])
        writer.add(tensor[: len(tensor) // 2])
        writer.add(tensor[len(tensor) // 2 :])
        found[name] = writer.stored()
    return found


@pytest.mark.parametrize("shard_bytes", [artefact.SHARD_BYTES, 64, 16])
def test_stored_tensors_make_the_same_files(tmp_path, monkeypatch, shard_bytes):
    monkeypatch.setattr(artefact, "SHARD_BYTES", shard_bytes)
    monkeypatch.setattr(shards_, "CHUNK_BYTES", 24)
    tensors = {name: tensor for name, tensor in TENSORS.items() if tensor.ndim}
    memory = write(tmp_path / "memory", tensors)
    disk = write(tmp_path / "disk", on_disk(tmp_path / "scratch", tensors))
    assert listed(memory) == listed(disk)
    found = artefact.read(disk).tensors
    for name, tensor in tensors.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert found[name].equal(tensor)


def listed(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_stored_tensor_is_read_a_chunk_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(artefact, "SHARD_BYTES", 1000)
    monkeypatch.setattr(shards_, "CHUNK_BYTES", 96)
    stored = on_disk(tmp_path / "scratch", {"a": torch.randn(300, 2).half()})
    chunks = []
    read = Stored.__getitem__

    def counted(self, rows):
        chunks.append(read(self, rows))
        return chunks[-1]

    monkeypatch.setattr(Stored, "__getitem__", counted)
    write(tmp_path / "saved", stored)
    assert max(chunk.nbytes for chunk in chunks) == 96
    assert sum(chunk.nbytes for chunk in chunks) == 1200
    assert len(shards(tmp_path / "saved")) == 2


def test_small_shards_are_many_and_none_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(artefact, "SHARD_BYTES", 64)
    sizes = {"a": 10, "b": 40, "c": 3, "d": 13}
    write(tmp_path, {name: torch.zeros(size) for name, size in sizes.items()})
    data = [sum(t.nbytes for t in load_file(shard).values()) for shard in shards(tmp_path)]
    assert data == [40, 64, 64, 32, 12 + 52]


def test_another_library_opens_our_shard(tmp_path):
    (shard,) = shards(write(tmp_path))
    loaded = load_file(shard)
    assert loaded["u8"].equal(TENSORS["u8"])
    assert loaded["f32"].view(3, 5).equal(TENSORS["f32"])


def test_the_ledger_is_what_lies_on_disk(tmp_path):
    ledger = artefact.read(
        write(tmp_path, {"v": torch.zeros(5), "i": torch.zeros(3).half()})
    ).ledger
    assert (ledger.values, ledger.indices, ledger.views, ledger.weights) == (20, 6, 0, 0)
    assert ledger.total == size_on_disk(tmp_path)
    assert ledger.blocks == 2 * 4096


def test_what_must_be_present_stands_beside_the_total(tmp_path):
    public = {"name": "a network", "sha256": "2" * 64}
    requires = {"prior": {**public, "bytes": 70}, "teacher": {**public, "bytes": 9}}
    tensors = [StoredTensor("w", "weights", torch.zeros(2, 3).half())]
    artefact.write(tmp_path, {**DESCRIBED, "requires": requires}, tensors)
    ledger = artefact.read(tmp_path).ledger
    assert (ledger.prior, ledger.teacher, ledger.parameters, ledger.weights) == (70, 9, 6, 12)
    assert ledger.total == size_on_disk(tmp_path)


def test_no_tensors_at_all(tmp_path):
    found = artefact.read(write(tmp_path, {}))
    assert found.tensors == {}
    assert found.ledger.total == found.ledger.container == size_on_disk(tmp_path)


@pytest.mark.parametrize("names", [("a", "a"), ("a#1", "b"), ("__metadata__",)])
def test_names_that_would_be_mistaken(tmp_path, names):
    with pytest.raises(ValueError, match="taken or holds '#'"):
        artefact.write(
            tmp_path, DESCRIBED, [StoredTensor(name, "values", torch.zeros(1)) for name in names]
        )


def test_a_truncated_shard(tmp_path):
    (shard,) = shards(write(tmp_path))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match=r"labels-00000.* bytes where its manifest says"):
        artefact.read(tmp_path)


def test_any_flipped_bit(tmp_path):
    (shard,) = shards(write(tmp_path, {"a": torch.zeros(8)}))
    whole = shard.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        shard.write_bytes(changed)
        with pytest.raises(ArtefactError, match=r"labels-00000.* is damaged: its SHA-256"):
            artefact.read(tmp_path)


def test_a_missing_shard(tmp_path):
    shards(write(tmp_path))[0].unlink()
    with pytest.raises(ArtefactError, match=r"lacks its shard labels-00000"):
        artefact.read(tmp_path)


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (99, "has format version 99, and this labelbench reads 3 and 4: make"),
        (1, "has format version 1, and .* make the labels again"),
    ],
)
def test_another_format_version(tmp_path, version, words):
    reseal(write(tmp_path) / artefact.MANIFEST, lambda told: told.update(format=version))
    with pytest.raises(ArtefactError, match=words):
        artefact.read(tmp_path)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"{}", b'{"format":3}', b"\x00\xff", b"[" * 10**5]
)
def test_a_damaged_manifest(tmp_path, raw):
    (write(tmp_path) / artefact.MANIFEST).write_bytes(raw)
    with pytest.raises(ArtefactError, match=r"labels\.json' is damaged") as caught:
        artefact.read(tmp_path)
    assert len(str(caught.value)) < 500


def test_no_artefact(tmp_path):
    with pytest.raises(ArtefactError, match="is no artefact"):
        artefact.read(tmp_path / "nowhere")


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was read",))


def test_a_pickle_is_never_read(tmp_path):
    file = write(tmp_path) / "labels-00000.safetensors"
    file.write_bytes(pickle.dumps(Bomb()))
    vouched = {"bytes": 10**4, "sha256": "3" * 64}
    reseal(tmp_path / artefact.MANIFEST, lambda told: told.update(shards=[vouched]))
    with pytest.raises(ArtefactError, match="bytes where its manifest says 10000"):
        artefact.read(tmp_path)
    # Not even where the manifest vouches for it.
    file.write_bytes(file.read_bytes() + bytes(10**4 - file.stat().st_size))
    vouched["sha256"] = artefact.file_digest(file)
    reseal(tmp_path / artefact.MANIFEST, lambda told: told.update(shards=[vouched]))
    with pytest.raises(ArtefactError, match="cannot be read"):
        artefact.read(tmp_path)


@pytest.mark.parametrize("name", ["labels.pkl", "labels-00001.safetensors", ".labels.json.swp"])
def test_a_file_that_is_not_of_the_artefact(tmp_path, name):
    (write(tmp_path) / name).write_bytes(b"")
    told = artefact.read_manifest(tmp_path)
    for look in (artefact.read, lambda folder: artefact.measure(folder, told)):
        with pytest.raises(ArtefactError, match=f"holds '{re.escape(name)}', which is not of"):
            look(tmp_path)


@pytest.mark.parametrize("name", [artefact.MANIFEST, "labels-00000.safetensors"])
def test_links_and_pipes_are_not_opened(tmp_path, name):
    file = write(tmp_path / "labels") / name
    whole = file.read_bytes()
    file.rename(tmp_path / "outside")
    for make in (
        lambda: file.symlink_to("../outside"),
        lambda: os.mkfifo(file),
        file.mkdir,
    ):
        make()
        with pytest.raises(ArtefactError, match=f"{name}' is no plain file"):
            artefact.read(tmp_path / "labels")
        file.rmdir() if file.is_dir() else file.unlink()
    file.write_bytes(whole)
    assert artefact.read(tmp_path / "labels").tensors.keys() == TENSORS.keys()


def test_a_sparse_shard_is_refused_by_its_size(tmp_path):
    (shard,) = shards(write(tmp_path))
    with shard.open("r+b") as file:
        file.truncate(200 * 10**9)
    told = {"bytes": 200 * 10**9, "sha256": "0" * 64}
    reseal(tmp_path / artefact.MANIFEST, lambda manifest: manifest.update(shards=[told]))
    with pytest.raises(ArtefactError, match="200,000,000,000 bytes, more than any shard has"):
        artefact.read(tmp_path)


def test_bytes_are_digested_once_a_process_unless_the_file_changes(tmp_path, monkeypatch):
    (shard,) = shards(write(tmp_path))
    digested = []
    whole = artefact.file_digest
    monkeypatch.setattr(artefact, "file_digest", lambda file: digested.append(file) or whole(file))
    artefact.read(tmp_path)
    artefact.read(tmp_path)
    assert len(digested) == 2  # a file so young may change within one tick of its clock
    os.utime(shard, (1, 1))
    artefact.read(tmp_path)
    artefact.read(tmp_path)
    assert len(digested) == 3
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtefactError, match="is damaged"):
        artefact.read(tmp_path)


def test_a_tensor_is_what_the_manifest_says(tmp_path):
    write(tmp_path, {"a": torch.zeros(4, 2)})

    def told(**change):
        reseal(tmp_path / artefact.MANIFEST, lambda m: m["tensors"]["a"].update(change))
        with pytest.raises(ArtefactError) as caught:
            artefact.read(tmp_path)
        return str(caught.value)

    assert "do not hold what the manifest says of 'a'" in told(shape=[2, 2], bytes=32)
    assert "tensor a has 32 bytes for 1000000000000 numbers" in told(shape=[10**6, 10**6])
    assert "its tensors have 4000000000000 bytes, and only 96 are there" in told(
        shape=[10**6, 10**6], bytes=4 * 10**12
    )
    assert "tensor a has 0 bytes for 0 numbers" in told(shape=[0, 2**53, 2**53], bytes=0)
