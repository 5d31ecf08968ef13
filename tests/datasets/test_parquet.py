import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from tiny import dataset_of, run_main

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.data.place import Place
from benchmark.datasets import cifar10, parquet, tiny_imagenet


def test_colour_pictures_with_class_names(place, encode, write_table):
    folder = place.root / "pets"
    shades = [(0, 51, 102), (255, 51, 0)]
    for part, shade in enumerate(shades):
        file = folder / f"train-0000{part}-of-00002.parquet"
        write_table(file, [encode(shade)] * 2, [part, 1 - part], ["cat", "dog"])
    write_table(folder / "test-00000-of-00001.parquet", [encode(9)], [1], ["cat", "dog"])
    dataset = dataset_of("parquet").load(place, "pets")
    assert dataset.name == "parquet:pets"
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train.labels.tolist() == [0, 1, 1, 0]
    assert dataset.train.pixels[:, :, 0, 0].tolist() == [[0, 51, 102]] * 2 + [[255, 51, 0]] * 2
    assert dataset.test.pixels.unique().tolist() == [9]
    assert dataset.mean == pytest.approx((0.5, 0.2, 0.2))
    assert dataset.std == pytest.approx((0.5, 0, 0.2))


def test_a_dry_run_imports_no_library_that_it_can_do_without(place, encode, write_table):
    """Each of these takes as long to import as all else that a dry run does, or half of it."""
    folder = place.root / "pets"
    for split in ("train", "test"):
        write_table(folder / f"{split}-0.parquet", [encode(1), encode(2)], [0, 1], ["cat", "dog"])
    words = ["run", "--dataset", f"parquet:{folder}", "--students", "convnet-d2-w8", "--images"]
    words += ["random", "--ipc", "1", "--recipe", "quick", "--teacher", "convnet-d2-w8"]
    words += ["--methods", "hard,lpqld,transform", "--budget", "2000", "--device", "cpu"]
    words += ["--dry-run"]
    code = (
        "import atexit, sys; from benchmark.__main__ import main;"
        "heavy = {'pandas', 'pyarrow.compute', 'scipy', 'sklearn', 'sympy', 'timm', 'torchvision'};"
        "heavy |= {'torch._dynamo', 'torch.distributed.fsdp'};"
        "atexit.register(lambda: print(sorted(heavy & {*sys.modules}))); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=place.root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_look_at_pixels_that_were_never_read_meets_budgets(
    place, encode, write_table, monkeypatch
):
    """The manifest's bytes count, which holds a mean that is not known yet."""
    folder = place.root / "pets"
    for split in ("train", "test"):
        rows = [encode(shade, side=16) for shade in range(40)]
        write_table(folder / f"{split}-0.parquet", rows, [0, 1] * 20, ["cat", "dog"])
    monkeypatch.setenv("LABELBENCH_CACHE", str(place.root / "empty"))
    words = ["run", "--dataset", f"parquet:{folder}", "--students", "convnet-d2-w8", "--images"]
    words += ["random", "--ipc", "20", "--recipe", "lpld", "--teacher", "convnet-d2-w8"]
    words += ["--methods", "lpqld", "--budget", "20x,300kB", "--device", "cpu"]
    code, out, err = run_main(*words, "--work", place.root / "none", "--dry-run")
    assert code == 0, err
    assert "were never read" in err
    assert "labels    lpqld[budget=300kB]" in out


def test_grey_pictures_without_class_names(place, encode, write_table):
    folder = place.root / "ink"
    write_table(folder / "train-0.parquet", [encode(s, mode="L") for s in (0, 9, 255)], [0, 1, 2])
    write_table(folder / "validation-0.parquet", [encode(7, mode="L")], [1])
    dataset = dataset_of("parquet").load(place, str(folder))
    assert dataset.class_names == ("0", "1", "2")
    assert dataset.train.pixels.shape == (3, 1, 4, 4)
    assert dataset.test.labels.tolist() == [1]


def test_the_commonest_size_is_everyones_and_one_colour_picture_makes_all_colour(
    place, encode, write_table
):
    images = [encode(9, mode="L"), encode(9, mode="L"), encode((1, 2, 3), side=(12, 6))]
    write_table(place.root / "mixed" / "train-0.parquet", images, [0, 0, 0])
    write_table(place.root / "mixed" / "test-0.parquet", images[2:], [0])
    dataset = dataset_of("parquet").load(place, "mixed")
    assert dataset.train.pixels.shape == (3, 3, 4, 4)
    assert dataset.test.pixels[0, :, 0, 0].tolist() == [1, 2, 3]


def test_pixels_are_decoded_once_and_found_again(place, encode, write_table, monkeypatch):
    for split in ("train", "test"):
        write_table(place.root / "pets" / f"{split}-0.parquet", [encode(1), encode(2)], [0, 1])
    first = dataset_of("parquet").load(place, "pets")
    monkeypatch.setattr(parquet, "decode_all", None)
    again = dataset_of("parquet").load(place, "pets")
    assert torch.equal(first.train.pixels, again.train.pixels)
    assert first.train.digest == again.train.digest


@pytest.mark.parametrize("module", [cifar10, tiny_imagenet])
def test_named_sets_are_read_from_parquet(module, place, encode, write_table):
    name = module.__name__.split(".")[-1]
    for split in ("train", "test"):
        write_table(place.root / name / f"{split}-0.parquet", [encode(1)], [0], ["cat"])
    dataset = dataset_of(module.__name__.split(".")[-1]).load(place)
    assert (dataset.name, dataset.class_names, dataset.mirror) == (name, ("cat",), True)


def test_named_sets_are_read_from_the_hubs_own_layout(place, encode, write_table):
    for split in ("train", "test"):
        file = place.root / "cifar10" / "plain_text" / f"{split}-00000-of-00001.parquet"
        write_table(file, [encode(1)], [0], ["cat"])
    assert dataset_of("cifar10").load(place).class_names == ("cat",)
    file.rename(file.with_name("test-00000-of-00002.parquet"))
    with pytest.raises(UserError, match="lacks 1 of its shards, number 1"):
        dataset_of("cifar10").load(place)


def test_errors_name_the_folder_or_file(place, encode, write_table):
    with pytest.raises(UserError, match="parquet:nowhere names no folder"):
        dataset_of("parquet").load(place, "nowhere")
    folder = place.root / "pets"
    folder.mkdir()
    with pytest.raises(UserError, match=r"pets' holds no train-\*\.parquet files"):
        dataset_of("parquet").load(place, "pets")
    write_table(folder / "train-0.parquet", [encode(1)], [0])
    with pytest.raises(UserError, match=r"holds no test split: there is no file test-\*"):
        dataset_of("parquet").load(place, "pets")
    write_table(folder / "test-0.parquet", [encode(1)], [0])
    (folder / "train-0.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=r"Cannot read '.*train-0\.parquet'"):
        dataset_of("parquet").load(place, "pets")
    for absent, words in [
        (b"no picture", r"Cannot decode row 1 of '.*train-0\.parquet': it is no picture"),
        (None, r"Row 1 of '.*train-0\.parquet' holds no picture"),
    ]:
        write_table(folder / "train-0.parquet", [encode(1), absent], [0, 0])
        with pytest.raises(UserError, match=words):
            dataset_of("parquet").load(place, "pets")


def test_real_tiny_imagenet_is_described_as_it_is(data_root):
    files = sorted((data_root / "tiny_imagenet").glob("train-00000-*.parquet"))
    if not files:
        pytest.skip(f"tiny_imagenet/train-*.parquet is not in {data_root}")
    channels, side, names = parquet.describe(files, data_root)
    assert (channels, side, len(names)) == (3, 64, 200)
    assert names[0] == "goldfish, Carassius auratus"


def test_real_cifar10_has_the_published_means(data_root):
    if not list((data_root / "cifar10").glob("train-*.parquet")):
        pytest.skip(f"cifar10/train-*.parquet is not in {data_root}")
    with tempfile.TemporaryDirectory() as stages:  # pytest would keep the 180 MB
        dataset = dataset_of("cifar10").load(Place(data_root, Cache(Path(stages))))
        assert dataset.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=5e-5)
    assert dataset.train.labels.bincount().tolist() == [5000] * 10
    assert dataset.test.labels.bincount().tolist() == [1000] * 10
    assert dataset.class_names[:2] == ("airplane", "automobile")
