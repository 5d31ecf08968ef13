"""Files as strangers may send them: a sentence, or what was meant; never a crash, a hang, a flood.

Damage is of three kinds: bytes, values of a manifest that is sealed again, and files that are
added, gone, or links.
"""

import json
import resource
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hostile import DEEP, VALUES, damaged, manifest_of, reseal, told_by, torn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from test_convert import labels as run_labels
from test_convert import ship
from test_official import CLASSES, IMAGES, SIDE, TENSORS, by_epoch, drawn, flat, pruned
from tiny import NETWORK, dataset_of, pictures, tiny_task
from torch import Tensor

from benchmark.core.cache import Cache
from benchmark.core.errors import ArtefactError, UserError
from benchmark.data import distilled
from benchmark.data.images import MOST_PIXELS
from benchmark.data.place import Place
from benchmark.exchange.convert import inspect, read_images
from benchmark.exchange.official import open_folder
from benchmark.exchange.shipping import open_labels
from benchmark.labels import artefact
from benchmark.labels.artefact import StoredTensor
from benchmark.methods.hard import Hard
from benchmark.methods.ld import LD
from benchmark.methods.lpqld import LPQLD
from benchmark.methods.soft import Soft
from benchmark.methods.teacher import ShippedTeacher
from benchmark.models import teachers

TRIALS = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CPU = torch.device("cpu")
MOST_GROWTH = 600 * 2**20  # bytes of memory that all these trials may touch together


@pytest.fixture(scope="module", autouse=True)
def _no_flood() -> Iterator[None]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_GROWTH


def sentence(error: UserError) -> None:
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 1500


# Artefacts


def saved(folder: Path, source: Any) -> Path:
    for part in ("labels", "images"):
        (folder / part).mkdir(parents=True)
    source.save(folder / "labels")
    distilled.write(folder / "images", source.task.images)
    return folder


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> dict[str, Path]:
    """Small artefacts of all families, with their images."""
    root = tmp_path_factory.mktemp("shipped")
    found = {}
    wished: list[tuple[str, Any, dict[str, Any]]] = [
        ("hard", Hard, {}),
        ("soft", Soft, {}),
        ("quantised", LPQLD, {"keep": 0.5, "k": 3, "select": "random"}),
        ("adaptive", LPQLD, {"keep": 0.5, "quantise": "adaptive", "values": "int4"}),
        ("pruned", ShippedTeacher, {"shrink": "prune", "weights": "int8", "bytes": 2400}),
    ]
    for name, method, options in wished:
        task = tiny_task(root / f"scratch of {name}")
        settled = method.resolve_options(method.Options(**options), task.shape, None)
        found[name] = saved(root / name, method.fit(task, settled))
    task = tiny_task(root / "scratch of learned")
    shares = torch.rand(20, 10, generator=torch.Generator().manual_seed(0)) + 0.01
    made = LD(task, LD.Options(form="top-k", k=3), shares / shares.sum(1, keepdim=True))
    found["learned"] = saved(root / "learned", made)
    (root / "exchanged").mkdir()
    theirs, _ = ship(root / "exchanged", LPQLD, keep=0.5, k=3)
    run_labels("export", theirs, root / "official")
    official = [root / "official" / part for part in ("labels", "images")]
    run_labels("import", *official, root / "imported", "--recipe", "quick")
    found["imported"] = root / "imported"
    return found


KINDS = ["hard", "soft", "quantised", "adaptive", "pruned", "learned", "imported"]


def replayed(folder: Path, batches: int | None = None) -> list[Tensor]:
    """Images and targets of the first and last epoch, or of their first batches."""
    opened = open_labels(folder / "labels", folder / "images", "cpu")
    pairs = [
        pair for epoch in (0, opened.epochs - 1) for pair in islice(opened.epoch(epoch), batches)
    ]
    return [tensor for images, targets in pairs for tensor in (images, targets.rows)]


def copied(tmp_path: Path, folder: Path) -> Path:
    target = tmp_path / "copy"
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(folder, target)


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return len(found) == len(expected) and all(map(torch.equal, found, expected))


@pytest.mark.parametrize("kind", KINDS)
@settings(TRIALS, max_examples=25)
@given(st.data())
def test_torn_files_are_refused_or_give_the_same(shipped, tmp_path, kind, data):
    expected, folder = replayed(shipped[kind]), copied(tmp_path, shipped[kind])
    file = data.draw(st.sampled_from(sorted(p for p in folder.rglob("*") if p.is_file())))
    file.write_bytes(data.draw(torn(file.read_bytes())))
    try:
        found = replayed(folder)
    except UserError as error:
        sentence(error)
        return
    assert same(found, expected)


@pytest.mark.parametrize("kind", KINDS)
@settings(TRIALS, max_examples=50)
@given(st.data())
def test_whoever_seals_nonsense_is_refused_and_what_else_is_sealed_works(
    shipped, tmp_path, kind, data
):
    folder = copied(tmp_path, shipped[kind])
    manifest = manifest_of(folder / "labels")
    told = told_by(manifest)
    part = data.draw(st.sampled_from([*told, None]))
    if part is None:
        changed = data.draw(damaged(told))
    else:
        changed = told | data.draw(damaged({part: told[part]}))
    reseal(manifest, lambda _: changed)
    try:
        assert all(text.isprintable() for text in inspect(folder, None).values())
        found = replayed(folder, 2)
    except UserError as error:
        sentence(error)
        return
    assert all(tensor.isfinite().all() for tensor in found)
    assert all(len(tensor) for tensor in found)


@st.composite
def other(draw: st.DrawFn, tensor: Tensor) -> Tensor:
    """A tensor of other values, of another type, or of another shape."""
    kind = draw(st.sampled_from(["values", "values", "type", "shape", "length"]))
    if kind == "values":
        flat = tensor.flatten().clone()
        size = draw(st.integers(1, 8))
        words = torch.tensor(
            draw(st.lists(st.integers(0, 255), min_size=8 * size, max_size=8 * size))
        )
        raw = flat.view(torch.uint8)
        at = draw(st.integers(0, len(raw) - 1))
        piece = raw[at : at + len(words)]
        piece.copy_(words[: len(piece)].byte())
        return raw.view(flat.dtype).view(tensor.shape)
    if kind == "type":
        return tensor.to(draw(st.sampled_from(list(artefact.DTYPES))))
    if kind == "shape":
        shapes = [(-1, 1), (1, -1), (-1,), (1, 1, -1), (0,) if not tensor.numel() else (-1,)]
        return tensor.reshape(draw(st.sampled_from(shapes)))
    rows = tensor.repeat(2, *[1] * (tensor.ndim - 1))
    return rows[: draw(st.integers(0, len(rows)))]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hard"])
@settings(TRIALS, max_examples=50)
@given(st.data())
def test_other_tensors_are_refused_or_labels(shipped, tmp_path, kind, data):
    folder = copied(tmp_path, shipped[kind])
    whole = artefact.read(folder / "labels")
    tensors: dict[str, Any] = {
        n: (told["kind"], whole.tensors[n]) for n, told in whole.manifest["tensors"].items()
    }
    name = data.draw(st.sampled_from(sorted(tensors)))
    what = data.draw(st.sampled_from(["other", "other", "other", "gone", "more"]))
    if what == "other":
        tensors[name] = (tensors[name][0], data.draw(other(tensors[name][1])))
    elif what == "gone":
        del tensors[name]
    else:
        tensors["more"] = tensors[name]
    shutil.rmtree(folder / "labels")
    (folder / "labels").mkdir()
    described: Any = dict(whole.manifest)
    for part in ("format", "tensors", "shards"):
        del described[part]
    made = [StoredTensor(n, k, tensor.contiguous()) for n, (k, tensor) in tensors.items()]
    artefact.write(folder / "labels", described, made)
    try:
        found = replayed(folder)
    except UserError as error:
        sentence(error)
        return
    expected = replayed(shipped[kind])
    assert {t.shape[1:] for t in found} == {t.shape[1:] for t in expected}


@settings(TRIALS, max_examples=40)
@given(st.data())
def test_files_that_come_go_or_point_elsewhere_are_refused(shipped, tmp_path, data):
    folder = copied(tmp_path, shipped["quantised"])
    file = data.draw(st.sampled_from(sorted((folder / "labels").iterdir())))
    outside = tmp_path / "outside"
    kind = data.draw(st.sampled_from(["gone", "link", "folder", "renamed", "more", "empty"]))
    if kind == "more":
        name = data.draw(st.sampled_from(["a", ".hidden", "labels-00007.safetensors", "x\ny"]))
        (folder / "labels" / name).write_bytes(b"x")
    elif kind == "renamed":
        file.rename(file.with_name("labels-1.safetensors"))
    elif kind == "empty":
        file.write_bytes(b"")
    else:
        file.replace(outside)
        if kind == "link":
            file.symlink_to(outside)
        elif kind == "folder":
            file.mkdir()
    with pytest.raises(ArtefactError) as caught:
        replayed(folder)
    sentence(caught.value)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("objective", "temperature"), 0.0, "objective.temperature must be at least"),
        (("objective", "temperature"), float("nan"), "NaN is no number"),
        (("std",), [0.0], r"std.0 must be at least .*, got 0.0"),
        (("std",), [], r"std must have at least 1 entries"),
        (("mean",), [0.5, 0.5], "different lengths"),
        (("mean",), ["0.5"], r"mean.0 must be a number, got '0.5'"),
        (("plan", "augmentation", "crop_scale"), [0.5, 7.0], "crop_scale.1 must be at most 1"),
        (("plan", "augmentation", "crop_scale"), [0.5, 0.2], "crop_scale must satisfy"),
        (("plan", "seed"), -1, "plan.seed must be at least 0"),
        (("plan", "seed"), 2**64, "plan.seed"),
        (("plan", "batch_size"), -1, "plan.batch_size must be at least 1"),
        (("plan", "epochs"), 10**12, "plan.epochs must be at most 10,000,000"),
        (("plan", "images"), 10**12, "plan.images must be at most"),
        (("plan", "images"), 10**8, "made for 100000000 images of 8 pixels, not for 20"),
        (("plan", "resolution"), 2**13, "of 8192 pixels, not for 20 of 8"),
        (("options", "k"), 10**9, "labels of 10 classes cannot keep 1000000000"),
        (("options", "k"), 4, "indices are missing, or not"),
        (("options", "batches"), 10**9, "1000000000 batches of labels are more than it holds"),
        (("options", "batches"), -1, "must not be negative"),
        (("options", "hidden"), 1, "Unknown option of options 'hidden'"),
        (("options", "k"), DEEP, "nested too deeply"),
        (("extra",), {"a": 1}, None),  # nobody asks for it
        (("nothing",), 1, "nothing is no field of it"),
        (("images",), "x", "it is no manifest"),
        (("format",), 5, "format version 5, and this labelbench reads 3 and 4"),
        (("requires",), {"prior": {"name": "x", "bytes": -5, "sha256": "0" * 64}}, "at least 0"),
        (("shards",), [{"bytes": 1, "sha256": "0" * 64}], "it is no manifest"),
        (("tensors", "indices", "dtype"), "F64", "dtype"),
        (("tensors", "indices", "dtype"), "F32", "not what its dtype and shape say"),
        (("tensors", "indices"), {"kind": "indices", "shape": [1], "bytes": 1}, "its dtype and"),
        (("tensors", "indices", "shape"), [2**60], "shape.0 must be at most"),
        (("tensors", "indices", "shape"), [10**9], "bytes for 1000000000 numbers"),
        (("tensors", "indices", "kind"), "free", "kind"),
    ],
)
def test_what_a_manifest_may_not_say(shipped, tmp_path, path, value, words):
    folder = copied(tmp_path, shipped["quantised"])

    def change(told: Any) -> None:
        for name in path[:-1]:
            told = told[name]
        told[path[-1]] = value

    reseal(manifest_of(folder / "labels"), change)
    if words is None:
        assert same(replayed(folder), replayed(shipped["quantised"]))
        return
    with pytest.raises(UserError, match=f"(?i){words}") as caught:
        replayed(folder)
    sentence(caught.value)


def test_a_name_that_stands_twice_and_a_manifest_without_end(shipped, tmp_path):
    folder = copied(tmp_path, shipped["quantised"])
    manifest = manifest_of(folder / "labels")
    with manifest.open("r+b") as file:
        file.truncate(200 * 10**9)
    with pytest.raises(ArtefactError, match="longer than 1,310,720 bytes"):
        replayed(folder)
    manifest.unlink()
    manifest = folder / "labels" / artefact.MANIFEST
    manifest.write_bytes(b'{"format":3,"format":3}')
    with pytest.raises(ArtefactError, match="stands twice"):
        replayed(folder)
    with manifest.open("r+b") as file:
        file.truncate(200 * 10**9)
    with pytest.raises(ArtefactError, match="longer than 1,048,576 bytes"):
        replayed(folder)


@pytest.mark.parametrize("width", [10**5, 10**9])
def test_a_network_too_wide_to_be_made(shipped, tmp_path, width):
    folder = copied(tmp_path, shipped["pruned"])
    manifest = manifest_of(folder / "labels")
    reseal(manifest, lambda told: told["extra"].update(network=f"convnet-d3-w{width}"))
    with pytest.raises(UserError, match=r"width|Unknown network"):
        replayed(folder)


# Distilled images


@TRIALS
@given(st.data())
def test_images_that_are_none_are_refused(tmp_path, data):
    whole = pictures(20)
    side = data.draw(st.sampled_from([0, 1, 8]))
    shapes = [(20, 1, 8, 8), (20, 3, side, side), (0, 1, 8, 8), (20, 2, 8, 8), (20, 64), ()]
    kinds = [torch.uint8, torch.int8, torch.float32, torch.int64, torch.bool]
    pixels = torch.zeros(
        data.draw(st.sampled_from(shapes)), dtype=data.draw(st.sampled_from(kinds))
    )
    tensors = {"pixels": data.draw(st.sampled_from([whole.pixels, pixels]))}
    number = data.draw(st.sampled_from([0, 9, 10, -1, 2**40, -(2**63)]))
    other = [torch.full((20,), number), torch.zeros(20), torch.zeros(19).long(), torch.tensor(3)]
    tensors["labels"] = data.draw(st.sampled_from([whole.labels, *other]))
    if data.draw(st.booleans()):
        tensors[data.draw(st.sampled_from(["more", "pixels", "labels"]))] = torch.zeros(3)
    names = data.draw(st.one_of(st.just(list(whole.class_names)), VALUES))
    metadata = {"class_names": json.dumps(names), "digest": whole.digest}
    if data.draw(st.booleans()):
        metadata.pop(data.draw(st.sampled_from(sorted(metadata))))
    save_file(tensors, tmp_path / distilled.FILE, metadata)
    try:
        found = distilled.read(tmp_path, CPU)
    except UserError as error:
        sentence(error)
        return
    assert torch.equal(found.pixels, whole.pixels)
    assert torch.equal(found.labels, whole.labels)


# Teachers


def load_teacher(file: Path) -> teachers.Teacher:
    return teachers.load(NETWORK, file, 10, 1, 8, CPU).teacher


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("teacher")
    teacher = tiny_task(folder / "scratch").teacher
    assert teacher is not None
    teachers._save(teacher, folder / "whole.safetensors")
    return folder / "whole.safetensors"


@TRIALS
@given(st.data())
def test_torn_teachers_are_refused_or_finite(teacher_file, tmp_path, data):
    file = tmp_path / "teacher.safetensors"
    file.write_bytes(data.draw(torn(teacher_file.read_bytes())))
    try:
        teacher = load_teacher(file)
    except UserError as error:
        sentence(error)
        return
    assert teacher(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert min(teacher.std) > 0


@pytest.mark.parametrize(
    ("mean", "std", "words"),
    [
        ("[0.4]", "[0.0]", "std.0 must be at least"),
        ("[0.4]", "[-1]", "std.0 must be at least"),
        ("[NaN]", "[0.3]", "NaN is no number"),
        ("[0.4, 0.4]", "[0.3, 0.3]", "must have 1 numbers each"),
        ("0.4", "[0.3]", "mean must be a list, got 0.4"),
        ("[0.4]", "[" * 10**5, "nested too deeply"),
        ("[0.4]", None, "no JSON"),
    ],
)
def test_a_teachers_normalisation(teacher_file, tmp_path, mean, std, words):
    weights = load_teacher(teacher_file).network.state_dict()
    metadata = {"mean": mean} | ({} if std is None else {"std": std})
    save_file(weights, tmp_path / "t.safetensors", metadata)
    with pytest.raises(UserError, match=rf"metadata of .*t\.safetensors': .*{words}"):
        load_teacher(tmp_path / "t.safetensors")


def test_a_teacher_that_is_not_finite(teacher_file, tmp_path):
    weights = load_teacher(teacher_file).network.state_dict()
    weights["classifier.bias"][3] = float("nan")
    save_file(weights, tmp_path / "t.safetensors")
    with pytest.raises(UserError, match=r"classifier\.bias in .* not finite"):
        load_teacher(tmp_path / "t.safetensors")


# Pictures


def png(width: int, height: int) -> bytes:
    """The beginning of a picture that claims to be large."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    )
    return start + struct.pack(">I", 1000) + b"IDAT"


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("large.png", png(14_000, 14_000), f"{MOST_PIXELS:,}"),
        ("vast.png", png(2**31 - 1, 2**31 - 1), f"{MOST_PIXELS:,}"),
        ("junk.png", b"junk", "it is no picture"),
        ("empty.jpg", b"", "it is no picture"),
        ("code.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "it is no picture"),
    ],
)
def test_pictures_that_are_none(tmp_path, name, data, words):
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / name).write_bytes(data)
    with pytest.raises(UserError, match=rf"Cannot decode '.*{name}': .*{words}"):
        read_images(tmp_path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    """Class folders of four pictures."""
    root = tmp_path_factory.mktemp("folders")
    rng = np.random.default_rng(0)
    for name, kind in [("a/0", "png"), ("a/1", "jpeg"), ("b/0", "png"), ("b/1", "webp")]:
        (root / name).parent.mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"{name}.{kind}")
    return root


@TRIALS
@given(st.data())
def test_torn_pictures_are_refused_or_pictures(folders, tmp_path, data):
    folder = copied(tmp_path, folders)
    file = data.draw(st.sampled_from(sorted(folder.rglob("*.*"))))
    file.write_bytes(data.draw(torn(file.read_bytes())))
    try:
        found = read_images(folder)
    except UserError as error:
        sentence(error)
        return
    assert found.pixels.shape[:2] == (4, 3)
    assert found.labels.tolist() == [0, 0, 1, 1]


# Tables


def table(file: Path, images: pa.Array, labels: pa.Array, told: Any = None) -> None:
    made = pa.table({"image": images, "label": labels})
    if told is not None:
        made = made.replace_schema_metadata({"huggingface": json.dumps(told)})
    file.parent.mkdir(exist_ok=True)
    pq.write_table(made, file)


def encoded(folders: Path, count: int = 4) -> pa.Array:
    data = [file.read_bytes() for file in sorted(folders.rglob("*.png"))] * count
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return pa.array([{"bytes": item, "path": None} for item in data[:count]], kind)


def told(names: Any) -> Any:
    return {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}


def load_table(root: Path) -> Any:
    return dataset_of("parquet").load(Place(root, Cache(root / "stages")), str(root / "set"))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (pa.array([0, 1, None, 1]), r"Row 2 of .*train-0\.parquet' has no label"),
        (pa.array([0, 1, -1, 1]), r"Row 2 of .*train-0\.parquet' has the label -1; valid: 0 to"),
        (pa.array([0, 1, 1, 2**40]), r"Row 3 of .* has the label 1099511627776; valid: 0 to"),
        (pa.array([0, 1, 1, 2**64 - 1], pa.uint64()), r"Row 3 .* label 18446744073709551615"),
        (
            pa.array([0.0, 1, 1.5, 1]),
            r"Row 2 of .*train-0\.parquet' has the label 1\.5, which is no",
        ),
        (pa.array([0.0, 1, 1, np.nan]), "Row 3 of .* has the label nan, which is no whole number"),
        (pa.array([0.0, 1e300, 1, 1]), "Row 1 of .* has the label 1e.300, which is no whole"),
        (pa.array(["0", "1", "1", "1"]), "labels of .* are (text|numbers), those of .* (text|num)"),
        (pa.array([[0], [1], [1], [1]]), r"must hold whole numbers, text, or .*, not list"),
        (pa.nulls(4), "Row 0 of .*train-0.* has no label|labels of split test are withheld"),
    ],
    ids=range(10),
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_labels_of_a_table(folders, tmp_path, split, labels, words):
    for part in ("train", "test"):
        own = labels if part == split else pa.array([0, 1, 1, 0])
        table(tmp_path / "set" / f"{part}-0.parquet", encoded(folders), own)
    with pytest.raises(UserError, match=words.replace("train-0", f"{split}-0")) as caught:
        load_table(tmp_path)
    sentence(caught.value)


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_empty_table_is_refused_when_read(folders, tmp_path, split):
    for part in ("train", "test"):
        count = 0 if part == split else 4
        labels = pa.array([0, 1, 1, 0][:count], pa.int64())
        table(tmp_path / "set" / f"{part}-0.parquet", encoded(folders, count), labels)
    with pytest.raises(UserError, match=rf"{split}-0\.parquet' has 0 rows; valid: 1 to"):
        load_table(tmp_path)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (pa.array([b"x"] * 4), r"Cannot decode row 0 of .*train-0\.parquet': it is no picture"),
        (pa.array([{"bytes": "x"}] * 4), "must hold encoded bytes.* not struct<bytes: string"),
        (pa.array(["x"] * 4), "Column 'image' of .* must hold encoded bytes.* not string"),
        (pa.array([{"path": "x"}] * 4), "Row 0 of .* the path 'x' instead of a picture: no file"),
        (pa.array([{"path": "../a.png"}] * 4), "the path '../a.png' instead of a picture"),
        (pa.array([{"path": "/dev/zero"}] * 4), "the path '/dev/zero' instead of a picture"),
        (pa.array([{"path": "a\0b"}] * 4), "the path 'a b' instead of a picture"),
        (pa.array([{"bytes": png(14_000, 14_000)}] * 4), r"row 0 of .*train-0.* 67,108,864"),
        (pa.array([{"bytes": b"x"}, None] * 2), r"Row 1 of .*train-0\.parquet' holds no picture"),
    ],
    ids=range(9),
)
def test_pictures_of_a_table(tmp_path, images, words):
    for part in ("train", "test"):
        table(tmp_path / "set" / f"{part}-0.parquet", images, pa.array([0, 1, 1, 0]))
    with pytest.raises(UserError, match=words):
        load_table(tmp_path)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"no JSON", "no JSON"),
        (b"[1]", "must be an object"),
        (b'{"info": []}', "info must be an object"),
        (b'{"info": {"features": {"label": {"names": "ab"}}}}', "label.names must be a list"),
        (b'{"info": {"features": {"label": {"names": [1, 2]}}}}', "names.0 must be text, got 1"),
        (b"[" * 10**5, "nested too deeply"),
    ],
    ids=range(6),
)
def test_metadata_of_a_table(folders, tmp_path, raw, words):
    for part in ("train", "test"):
        made = pa.table({"image": encoded(folders), "label": [0, 1, 1, 0]})
        (tmp_path / "set").mkdir(exist_ok=True)
        pq.write_table(
            made.replace_schema_metadata({"huggingface": raw}),
            tmp_path / "set" / f"{part}-0.parquet",
        )
    with pytest.raises(UserError, match=rf"metadata of '.*train-0\.parquet': .*{words}"):
        load_table(tmp_path)


def accepted(root: Path, rows: int) -> None:
    """A table is refused in a sentence, or is a dataset."""
    try:
        found = load_table(root)
    except UserError as error:
        sentence(error)
        return
    for images in (found.train, found.test):
        assert len(images) == rows
        assert 0 <= int(images.labels.min()) <= int(images.labels.max()) < len(found.class_names)
        assert images.take(torch.arange(rows)).dtype == torch.uint8


@TRIALS
@given(st.data())
def test_torn_tables_are_refused_or_tables(folders, tmp_path, data):
    shutil.rmtree(tmp_path / "stages", ignore_errors=True)
    for part in ("train", "test"):
        file = tmp_path / "set" / f"{part}-0.parquet"
        table(file, encoded(folders), pa.array([0, 1, 1, 0]), told(["cat", "dog"]))
    file.write_bytes(data.draw(torn(file.read_bytes())))
    accepted(tmp_path, 4)


@TRIALS
@given(names=damaged(told(["cat", "dog"])))
def test_tables_with_other_metadata_are_refused_or_tables(folders, tmp_path, names):
    for part in ("train", "test"):
        file = tmp_path / "set" / f"{part}-0.parquet"
        table(file, encoded(folders), pa.array([0, 1, 1, 0]), names)
    accepted(tmp_path, 4)


# Official forms


@pytest.fixture(scope="module")
def official(tmp_path_factory) -> dict[str, Path]:
    """A folder in each form."""
    root = tmp_path_factory.mktemp("official")
    by_epoch(root / "SRe2L")
    by_epoch(root / "LPLD", mix="mixup")
    orders = {str(epoch): torch.randperm(IMAGES).tolist() for epoch in range(2)}
    (root / "LPLD" / "sampler_indices_epoch.json").write_text(json.dumps(orders))
    flat(root / "LPQLD", [pruned(drawn(4, n)) for n in range(2)])
    return {form: root / form for form in ("SRe2L", "LPLD", "LPQLD")}


def read_official(folder: Path) -> list[Tensor]:
    found: list[Tensor] = []
    opened = open_folder(folder, IMAGES, SIDE, classes=CLASSES)
    assert opened.ledger.container >= 0
    for batch in opened:
        found += [getattr(batch.views, name) for name in TENSORS]
        found.append(batch.logits(CLASSES))
        assert 0 <= int(batch.views.index.min()) <= int(batch.views.index.max()) < IMAGES
    return found


@pytest.mark.parametrize("form", ["SRe2L", "LPLD", "LPQLD"])
@settings(TRIALS, max_examples=50)
@given(st.data())
def test_torn_official_files_are_refused_or_give_the_same(official, tmp_path, form, data):
    expected, folder = read_official(official[form]), copied(tmp_path, official[form])
    file = data.draw(st.sampled_from(sorted(folder.rglob("*.tar"))))
    file.write_bytes(data.draw(torn(file.read_bytes())))
    try:
        found = read_official(folder)
    except UserError as error:
        sentence(error)
        return
    assert same(found, expected)


@pytest.mark.parametrize("form", ["LPLD", "LPQLD"])
@TRIALS
@given(st.data())
def test_official_orders_that_are_none_are_refused(official, tmp_path, form, data):
    folder = copied(tmp_path, official[form])
    (file,) = folder.glob("*.json")
    change: Callable[..., Any] = data.draw(st.sampled_from([damaged, torn]))
    whole = file.read_bytes()
    if change is torn:
        file.write_bytes(data.draw(torn(whole)))
    else:
        file.write_text(json.dumps(data.draw(damaged(json.loads(whole)))))
    try:
        read_official(folder)
    except UserError as error:
        sentence(error)


def test_official_names_that_count_far(official, tmp_path):
    folder = copied(tmp_path, official["LPQLD"])
    (folder / "batch_1.tar").rename(folder / "batch_999999999.tar")
    with pytest.raises(ArtefactError, match=r"has batch_999999999\.tar, but lacks number 1"):
        read_official(folder)


def test_a_flipped_bit_of_an_official_logit_is_seen(official, tmp_path):
    # torch's reader leaves the CRCs unchecked.
    folder = copied(tmp_path, official["LPQLD"])
    file = folder / "batch_1.tar"
    raw, values = bytearray(file.read_bytes()), pruned(drawn(4, 1))[-2]
    raw[raw.index(values.numpy().tobytes()) + 5] ^= 1
    file.write_bytes(raw)
    with pytest.raises(ArtefactError, match=r"batch_1\.tar' .* damaged: the CRC of .* is another"):
        read_official(folder)


def test_a_compressed_official_file_is_refused(official, tmp_path):
    folder = copied(tmp_path, official["LPQLD"])
    with zipfile.ZipFile(folder / "batch_0.tar") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / "batch_0.tar", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ArtefactError, match="its members are compressed"):
        read_official(folder)
