"""ImageNet's sets in their three layouts, and folders and tables that are too large to be held."""

import io
import re
import subprocess
import sys
import tarfile
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic_imagenet import LAYOUTS, picture, wnid, write
from tiny import dataset_of

from benchmark.core.bounded_cache import BoundedCache
from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.data import streamed
from benchmark.data.images import Encoded, ResidentImages, decode
from benchmark.data.streamed import StreamedImages

CLASSES, TRAIN, TEST = 3, 4, 2
SIZE = (60, 45)
WNIDS = [wnid(label) for label in range(CLASSES)]


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def root(layout, tmp_path_factory) -> Path:
    """A data root with both sets in a layout."""
    folder = tmp_path_factory.mktemp(layout)
    for name in ("imagenet1k", "imagenet21k"):
        write(folder / name, CLASSES, TRAIN, TEST, layout, SIZE, shard=5)
    return folder


def expected(label: int, number: int) -> np.ndarray:
    return decode(Encoded(picture(label, number, SIZE), Path("made"), 0), 3, 224).astype(int)


@pytest.mark.parametrize("name", ["imagenet1k", "imagenet21k"])
def test_every_layout_gives_the_pictures_and_labels(name, root, layout, place):
    found = dataset_of(name).load(replace(place, root=root))
    assert found.name == name
    assert isinstance(found.train, StreamedImages)
    if layout != "tars":  # whose classes are only numbers
        assert found.class_names == tuple(WNIDS)
    in_turn = [label for _ in range(TRAIN) for label in range(CLASSES)]
    labels = sorted(in_turn) if layout == "folders" else in_turn
    assert found.train.labels.tolist() == labels
    row = 5
    number = row % TRAIN if layout == "folders" else row // CLASSES
    (pixels,) = found.train.take(torch.tensor([row])).numpy().astype(int)
    assert np.abs(pixels - expected(labels[row], number)).max() <= 2
    assert len(found.test) == CLASSES * TEST
    assert found.test.labels.bincount().tolist() == [TEST] * CLASSES


def test_names_of_classes_that_are_numbers_come_from_the_mapping(root, layout, place, tmp_path):
    if layout != "tars":
        pytest.skip("its classes have names")
    write(tmp_path / "imagenet", CLASSES, 1, 1, "tars", SIZE)
    told = "\n".join(f"{each} thing {i}" for i, each in enumerate(WNIDS))
    (tmp_path / "imagenet" / "LOC_synset_mapping.txt").write_text(told)
    found = dataset_of("imagenet1k").load(replace(place, root=tmp_path))
    assert found.class_names == ("thing 0", "thing 1", "thing 2")


def test_a_second_load_reads_the_index(root, place, monkeypatch):
    first = dataset_of("imagenet1k").load(replace(place, root=root))
    monkeypatch.setattr("benchmark.data.picture_index.IndexWriter", None)
    again = dataset_of("imagenet1k").load(replace(place, root=root))
    assert again.train.digest == first.train.digest
    assert torch.equal(again.train.take(torch.tensor([7])), first.train.take(torch.tensor([7])))


def test_a_look_writes_nothing_and_knows_the_digest(root, place, tmp_path):
    cache = Cache(tmp_path / "looked", look_only=True)
    looked = dataset_of("imagenet1k").load(replace(place, root=root, cache=cache))
    assert not (tmp_path / "looked").exists()
    assert (
        looked.train.digest == dataset_of("imagenet1k").load(replace(place, root=root)).train.digest
    )


def test_workers_give_what_none_give(root, place):
    train = dataset_of("imagenet1k").load(replace(place, root=root)).train
    assert isinstance(train, StreamedImages)
    alone, helped = (
        StreamedImages(train.pictures, train.class_names, 32, workers=count) for count in (0, 2)
    )
    rows = list(torch.from_numpy(train.order(3, 0)).split(5))
    for own, other in zip(alone.batches(rows), helped.batches(rows), strict=True):
        assert torch.equal(own, other)


def test_an_order_is_a_permutation_by_seed_and_epoch(root, place, monkeypatch):
    monkeypatch.setattr(streamed, "WINDOW", 5)
    train = dataset_of("imagenet1k").load(replace(place, root=root)).train
    orders = {(s, e): tuple(train.order(s, e)) for s in (0, 1) for e in (0, 1)}  # type: ignore[arg-type]
    assert all(sorted(order) == list(range(len(train))) for order in orders.values())
    assert len({*orders.values()}) == 4
    assert tuple(train.order(0, 1)) == orders[0, 1]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["folder", "parquet"])
def test_sets_too_large_for_the_cache_are_streamed(name, place, tmp_path, capsys):
    kind = "folders" if name == "folder" else "tables"
    write(tmp_path / "set", CLASSES, TRAIN, TEST, kind, (8, 8), shard=5)
    small = BoundedCache(tmp_path / "cache", CLASSES * TRAIN * 3 * 8 * 8 - 1)
    held = dataset_of(name).load(place, str(tmp_path / "set"))
    read = dataset_of(name).load(replace(place, cache=small), str(tmp_path / "set"))
    assert isinstance(held.train, ResidentImages)
    assert isinstance(read.train, StreamedImages)
    assert "are decoded as they are read" in capsys.readouterr().err
    rows = torch.arange(CLASSES * TRAIN)
    assert torch.equal(read.train.labels, held.train.labels)
    gap = read.train.take(rows).int() - held.train.take(rows).int()
    assert gap.abs().max() <= 2
    assert read.mean == pytest.approx(held.mean, abs=0.01)
    assert read.std == pytest.approx(held.std, abs=0.01)


def damaged(folder: Path, layout: str, change) -> None:
    """Change the bytes of one picture of the training set, in place."""
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and "train" in str(path.relative_to(folder))
    )
    data = files[1].read_bytes()
    files[1].write_bytes(change(data))


def spoilt(data: bytes) -> bytes:
    """The same length, with the header of the first JPEG within gone."""
    at = data.index(b"\xff\xd8\xff")
    return data[:at] + b"\0" * 400 + data[at + 400 :]


def test_a_damaged_picture_is_named_by_file_and_row(layout, place, tmp_path):
    write(tmp_path / "imagenet1k", CLASSES, TRAIN, TEST, layout, SIZE, shard=5)
    damaged(tmp_path / "imagenet1k", layout, spoilt)
    train = dataset_of("imagenet1k").load(replace(place, root=tmp_path)).train
    wanted = {
        "folders": r"^Cannot decode '.*n01000000_1\.JPEG': it is no picture \(PNG, .*\)\.$",
        "tars": r"^Cannot decode row 0 of '.*train-00001-of-00003\.tar': it is no picture .*\.$",
        "tables": r"^Cannot read the rows of '.*train-00001-of-00003\.parquet' about row 0: .*\.$",
    }
    with pytest.raises(UserError, match=wanted[layout]):
        train.take(torch.arange(len(train)))


def test_a_row_of_a_table_that_is_no_picture_is_named(place, tmp_path, write_table):
    for split in ("train", "validation"):
        pictures = [SMALL, b"no picture", SMALL]
        write_table(tmp_path / "imagenet1k" / f"{split}-0.parquet", pictures, [0, 1, 1], WNIDS[:2])
    train = dataset_of("imagenet1k").load(replace(place, root=tmp_path)).train
    assert len(train.take(torch.tensor([0, 2]))) == 2
    with pytest.raises(UserError, match=r"^Cannot decode row 1 of '.*train-0\.parquet': it is no"):
        train.take(torch.arange(3))


def test_a_jpeg_that_is_cut_off_is_named(place, tmp_path):
    write(tmp_path / "imagenet1k", CLASSES, TRAIN, TEST, "folders", SIZE)
    damaged(tmp_path / "imagenet1k", "folders", lambda data: data[:-900])
    train = dataset_of("imagenet1k").load(replace(place, root=tmp_path)).train
    with pytest.raises(UserError, match=r"^Cannot decode '.*n01000000_1\.JPEG': [^\n]+\.$"):
        train.take(torch.arange(len(train)))


def tar(file: Path, *members: tuple[str, bytes]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as writer:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            writer.addfile(member, io.BytesIO(content))


SMALL = picture(0, 0, (8, 8))


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ([], r"'.*b\.tar' holds no pictures \(\.bmp"),
        ([("x.json", b"{}")], r"'.*b\.tar' holds no pictures"),
        ([("x.jpg", SMALL)], r"'x' in '.*b\.tar' has no class: it needs a \.cls beside it"),
        ([("x.jpg", SMALL), ("x.cls", b"\xff")], r"'x\.cls' in '.*b\.tar' names no class"),
        ([("x.jpg", SMALL), ("x.cls", b"2")], r"numbers that do not count from 0: 1 is missing"),
    ],
)
def test_tars_that_are_not_whole_are_refused(members, told, place):
    folder = place.root / "imagenet1k"
    tar(folder / "train" / "a.tar", ("a.jpg", SMALL), ("a.cls", b"0"))
    tar(folder / "train" / "b.tar", *members)
    tar(folder / "val" / "a.tar", ("a.jpg", SMALL), ("a.cls", b"0"))
    with pytest.raises(UserError, match=told):
        dataset_of("imagenet1k").load(place)


def test_a_tar_that_is_cut_off_or_compressed_is_refused(place):
    folder = place.root / "imagenet1k"
    for split in ("train", "val"):
        tar(folder / split / "a.tar", ("n01/a.jpg", SMALL))
    file = folder / "train" / "a.tar"
    whole = file.read_bytes()
    file.write_bytes(whole[:900])
    with pytest.raises(UserError, match=r"a\.tar' is (cut off within|no plain tar)"):
        dataset_of("imagenet1k").load(place)
    file.write_bytes(b"\x1f\x8b" + whole[2:])
    with pytest.raises(UserError, match=r"a\.tar' is no plain tar .* are not compressed"):
        dataset_of("imagenet1k").load(place)


def test_classes_of_tars_by_folder_by_name_and_by_file(place):
    folder = place.root / "imagenet21k"
    tar(folder / "train" / "a.tar", ("n02/a.jpg", SMALL), ("b.jpg", SMALL), ("b.cls", b"n03"))
    tar(folder / "train" / "n01440764.tar", ("c.JPEG", SMALL))
    tar(folder / "val" / "a.tar", ("n03/a.jpg", SMALL), ("n01440764/a.jpg", SMALL))
    found = dataset_of("imagenet21k").load(place)
    assert found.class_names == ("n01440764", "n02", "n03")
    assert found.train.labels.tolist() == [1, 2, 0]
    assert found.test.labels.tolist() == [2, 0]
    tar(folder / "val" / "a.tar", ("n04/a.jpg", SMALL))
    with pytest.raises(UserError, match=r"to test on .* have a class 'n04' that those to train on"):
        dataset_of("imagenet21k").load(place)


MEMORY = """
    import resource, sys, torch
    from pathlib import Path
    from benchmark.core.cache import Cache
    from benchmark.data.dataset_source import dataset
    from benchmark.data.place import Place
    root, stages = map(Path, sys.argv[1:])
    train = dataset("imagenet1k").load(Place(root, Cache(stages))).train
    order = torch.from_numpy(train.order(0, 0))
    for _ in train.batches(order.split(16)):
        pass
    print(len(train), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def peak(root: Path, stages: Path) -> tuple[int, int]:
    """Images of the set, and the peak of resident bytes of a process that reads them all."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEMORY), root, stages],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    count, most = map(int, done.stdout.split())
    return count, most


def test_four_times_the_images_take_the_same_memory(tmp_path):
    found = []
    for number, each in enumerate((30, 120)):
        write(tmp_path / str(number) / "imagenet1k", 4, each, 1, "tars", (32, 32))
        found.append(peak(tmp_path / str(number), tmp_path / f"stages-{number}"))
    (few, first), (many, second) = found
    assert many == 4 * few
    # Of the images decoded they would be 54 MB more.
    assert second - first < 8e6, re.sub(r"\s+", " ", f"{first:,} and {second:,} bytes")
