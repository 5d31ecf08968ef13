import hashlib
import zlib

import pytest
import torch
from hostile import reseal, told_by
from tiny import DESCRIBED

from benchmark.core.errors import ArtefactError, UserError
from benchmark.labels import artefact, packed
from benchmark.labels.artefact import StoredTensor
from benchmark.labels.writer import TensorWriter

TENSORS = {
    "f32": torch.randn(3, 5),
    "f16": torch.randn(7).half(),
    "bf16": torch.randn(2, 1, 2).bfloat16(),
    "i64": torch.tensor([-(2**62), 2**62]),
    "i8": torch.tensor([-128, 127], dtype=torch.int8),
    "u8": torch.arange(256, dtype=torch.uint8),
    "bool": torch.tensor([True, False, True]),
    "number": torch.tensor(2.5),
    "empty": torch.empty(0, 4),
    "strided": torch.arange(12.0).view(3, 4).T,
}


def stored(tensors=TENSORS):
    kinds = ("values", "indices", "views", "weights")
    return [StoredTensor(n, kinds[i % 4], t) for i, (n, t) in enumerate(tensors.items())]


def write(folder, tensors=TENSORS, **more):
    folder.mkdir(exist_ok=True)
    artefact.write(folder, {**DESCRIBED, **more}, stored(tensors))
    return folder / packed.FILE


def test_all_lies_in_one_file_and_comes_back(tmp_path):
    file = write(tmp_path / "a", extra={"b": [1, "ü"]})
    assert [*(tmp_path / "a").iterdir()] == [file]
    found = artefact.read(tmp_path / "a")
    assert found.manifest["extra"] == {"b": [1, "ü"]}
    assert found.manifest["classes"] == DESCRIBED["classes"]
    assert [*found.tensors] == [*TENSORS]
    for name, tensor in TENSORS.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert found.tensors[name].shape == tensor.shape
        assert found.tensors[name].equal(tensor)
    assert found.ledger.total == file.stat().st_size
    values = sum(t.nbytes for n, t in TENSORS.items() if n in ("f32", "i8", "empty"))
    assert found.ledger.values == values


def test_what_lies_on_disk_makes_the_same_file(tmp_path):
    writer = TensorWriter(tmp_path / "rows", torch.float16, (3,))
    rows = torch.randn(5, 3).half()
    writer.add(rows)
    (tmp_path / "b").mkdir()
    artefact.write(tmp_path / "b", DESCRIBED, [StoredTensor("a", "values", writer.stored())])
    assert (tmp_path / "b" / packed.FILE).read_bytes() == write(
        tmp_path / "a", {"a": rows}
    ).read_bytes()


def test_it_holds_the_manifest_that_is_written_in_plain_and_no_more(tmp_path, monkeypatch):
    small = write(tmp_path / "small", {"a": torch.zeros(4)})
    monkeypatch.setattr(packed, "MOST_BYTES", 15)
    write(tmp_path / "large", {"a": torch.zeros(4)})
    plain, found = (artefact.read_manifest(tmp_path / name) for name in ("large", "small"))
    assert (plain["format"], found["format"]) == (3, 4)
    told = found["tensors"]["a"].pop("dtype")
    assert told == "F32"
    assert {**plain, "format": 4, "shards": []} == found
    assert small.stat().st_size - 16 < 160
    assert artefact.read(tmp_path / "large").ledger.container > 700


def test_bytes_are_pinned(tmp_path):
    """Readers depend on the words as on any other part of the format."""
    assert hashlib.sha256(packed.WORDS).hexdigest()[:16] == "a79945931942e352"
    raw = write(tmp_path, {"a": torch.arange(3, dtype=torch.uint8)}).read_bytes()
    assert raw[:65] == bytes([4]) + bytes.fromhex("0" * 64 + "1" * 64)
    opened = zlib.decompressobj(-15, packed.WORDS)
    text = opened.decompress(raw[65:])
    assert text.startswith(b'{"method":"m","plan":{"seed":0,"images":20,')
    assert text.endswith(b'"tensors":{"a":{"kind":"values","shape":[3],"bytes":3,"dtype":"U8"}}}')
    assert opened.unused_data == bytes([0, 1, 2]) + hashlib.sha256(raw[:-8]).digest()[:8]


def test_any_changed_bit_is_seen_and_any_end(tmp_path):
    file = write(tmp_path, {"a": torch.zeros(8)})
    whole = file.read_bytes()
    for place in range(1, len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        file.write_bytes(changed)
        with pytest.raises(ArtefactError, match=r"labels\.packed' is damaged: its seal"):
            artefact.read(tmp_path)
    for end in (*range(1, 80), len(whole) - 1):
        file.write_bytes(whole[:end])
        with pytest.raises(ArtefactError, match=r"is damaged: its seal"):
            artefact.read(tmp_path)


@pytest.mark.parametrize(("first", "said"), [(b"\x05", "5"), (b"", "None"), (b"{", "123")])
def test_another_format_is_named(tmp_path, first, said):
    file = write(tmp_path)
    file.write_bytes(first + file.read_bytes()[1:] if first else b"")
    with pytest.raises(ArtefactError, match=f"version {said}, and this labelbench reads 3 and 4"):
        artefact.read(tmp_path)


def test_what_unpacks_to_more_than_any_manifest_is_refused_unread(tmp_path):
    file = write(tmp_path, {})
    coder = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = file.read_bytes()[:65] + coder.compress(b" " * 10**8) + coder.flush()
    file.write_bytes(body + hashlib.sha256(body).digest()[:8])
    with pytest.raises(ArtefactError, match="cut off, or longer than 1,048,576 bytes"):
        artefact.read(tmp_path)


def test_tensors_must_be_what_the_manifest_says(tmp_path):
    def told(change):
        file = write(tmp_path, {"a": torch.zeros(4, 2)})
        reseal(file, lambda m: m["tensors"]["a"].update(change))
        with pytest.raises(ArtefactError) as caught:
            artefact.read(tmp_path)
        return str(caught.value)

    assert "tensor a is not what its dtype and shape say" in told({"dtype": "F16"})
    assert "tensor a is not what its dtype and shape say" in told({"shape": [8, 2]})
    assert "its tensors have 16 bytes, and 32 lie there" in told({"shape": [2, 2], "bytes": 16})
    assert "its tensors have 64 bytes, and only 32 are there" in told({"shape": [16], "bytes": 64})
    file = write(tmp_path, {"a": torch.zeros(4, 2)})
    assert told_by(file)["tensors"]["a"]["dtype"] == "F32"
    reseal(file, lambda m: m["tensors"]["a"].pop("dtype") and None)
    with pytest.raises(ArtefactError, match="its dtype"):
        artefact.read(tmp_path)


def test_what_no_reader_would_take_is_not_written(tmp_path):
    with pytest.raises(UserError, match=r"cannot be written: std\.0 must be at least"):
        write(tmp_path, std=[0.0])
    with pytest.raises(ValueError, match="taken or holds '#'"):
        artefact.write(tmp_path, DESCRIBED, stored({"a": torch.zeros(1)}) * 2)


def test_no_other_file_lies_beside_it(tmp_path):
    write(tmp_path)
    for name in ("labels.json", "labels-00000.safetensors", "x"):
        (tmp_path / name).write_bytes(b"{}")
        with pytest.raises(ArtefactError, match=f"holds '{name}', which is not of"):
            artefact.read(tmp_path)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("most", [packed.MOST_BYTES, 0])
def test_what_the_container_takes_is_foretold(tmp_path, monkeypatch, most):
    monkeypatch.setattr(packed, "MOST_BYTES", most)
    monkeypatch.setattr(artefact, "SHARD_BYTES", 100)
    (tmp_path / "a").mkdir()
    artefact.write(tmp_path / "a", DESCRIBED, stored())
    ghosts = [
        StoredTensor(s.name, s.kind, torch.empty(s.tensor.shape, dtype=s.tensor.dtype).to("meta"))
        for s in stored()
    ]
    ledger = artefact.read(tmp_path / "a").ledger
    assert artefact.container_bytes(DESCRIBED, ghosts, 10**5) == ledger.container
