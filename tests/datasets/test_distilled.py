"""Image sources, on sets whose every image is of one shade, so that it can be recognised."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tiny import dataset_of, made_by
from torch import Tensor, nn

from benchmark.core.device import Compute
from benchmark.core.errors import UserError
from benchmark.data.images import Dataset, Encoded, ResidentImages, decode
from benchmark.datasets import parquet
from benchmark.datasets.distilled import noise, path, random, rded
from benchmark.models.image_source import ImageTask

CPU = Compute(torch.device("cpu"), bf16=False)


def made(source, dataset, ipc, options, seed, teacher) -> ResidentImages:
    """What `source` makes; without anything that it need not know."""
    if teacher is not None and not hasattr(teacher, "mean"):
        teacher.mean = dataset.mean
    with tempfile.TemporaryDirectory() as scratch:
        task = ImageTask(dataset, ipc, seed, CPU, Path(scratch), teacher)
        return made_by(source, task, options)


def shaded(names=("cat", "dog"), per_class=12, side=16, channels=3) -> Dataset:
    """Image i of class c has the shade 100 c + 4 i; classes alternate."""
    shades = torch.tensor([100 * c + 4 * i for i in range(per_class) for c in range(len(names))])
    pixels = shades.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, channels, side, side)
    images = ResidentImages(pixels, torch.arange(len(names)).repeat(per_class), names)
    mean = tuple(0.1 * (c + 1) for c in range(channels))
    return Dataset("shaded", images, images, mean, (1.0,) * channels, mirror=True)


class Bright(nn.Module):
    """A teacher to whom class 0 is bright and class 1 dark; remembers all it was shown."""

    mean: tuple[float, ...]

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, pixels: Tensor) -> Tensor:
        self.shown.append(pixels.clone())
        brightness = pixels.mean((1, 2, 3))
        return torch.stack([brightness, -brightness], dim=1)


# Random real images


def test_random_images_are_real_and_nested():
    dataset = shaded()
    ten = made(random, dataset, 10, random.Options(), 0, None)
    assert ten.labels.tolist() == [0] * 10 + [1] * 10
    assert ten.class_names == dataset.class_names
    shades = ten.pixels[:, 0, 0, 0].view(2, 10)
    for label in range(2):
        assert len(shades[label].unique()) == 10
        assert set(shades[label].tolist()) <= {100 * label + 4 * i for i in range(12)}
    for ipc in (1, 3):
        few = made(random, dataset, ipc, random.Options(), 0, None)
        assert torch.equal(few.pixels[:, 0, 0, 0].view(2, ipc), shades[:, :ipc])


def test_random_images_follow_the_seed():
    def shades(seed: int) -> list[int]:
        images = made(random, shaded(), 5, random.Options(), seed, None)
        return images.pixels[:, 0, 0, 0].tolist()

    assert shades(0) == shades(0) != shades(1)
    assert [s - 100 for s in shades(0)[5:]] != shades(0)[:5], "classes are drawn apart"
    assert shades(0) == [32, 44, 40, 4, 16, 100, 136, 120, 108, 128], "golden"


def test_draws_are_random_images_of_their_own():
    def shades(draw: int, ipc: int = 5) -> list[int]:
        images = made(random, shaded(), ipc, random.Options(draw), 0, None)
        return images.pixels[:, 0, 0, 0].tolist()

    assert shades(0) == [32, 44, 40, 4, 16, 100, 136, 120, 108, 128], "as ever"
    assert len({tuple(shades(draw)) for draw in range(5)}) == 5
    assert shades(3) == shades(3)
    assert shades(3, 2) == shades(3)[:2] + shades(3)[5:7], "nested"
    with pytest.raises(ValueError, match="draw must not be negative, got -1"):
        random.Options(-1)


def test_more_images_than_a_class_holds():
    message = (
        "IPC 13 needs 13 images of class 'cat', but the training set has 12: choose an IPC of "
        "at most 12."
    )
    with pytest.raises(UserError, match=re.escape(message)):
        made(random, shaded(), 13, random.Options(), 0, None)


@pytest.mark.parametrize("source", [random, rded, path])
@pytest.mark.parametrize("ipc", [0, -1])
def test_no_source_makes_fewer_than_one_image(source, ipc, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    options = path.Options(str(tmp_path)) if source is path else source.Options()
    with pytest.raises(UserError, match=f"IPC must be at least 1, got {ipc}"):
        made(source, shaded(), ipc, options, 0, Bright())


# RDED


def test_rded_ranks_images_by_cross_entropy():
    images = made(rded, shaded(), 4, rded.Options(), 0, Bright())
    assert images.pixels.shape == (8, 3, 16, 16)
    assert images.labels.tolist() == [0] * 4 + [1] * 4
    # The brightest cats, and the darkest dogs; a crop of one shade is of that shade.
    shades = images.pixels.flatten(1)
    assert (shades == shades[:, :1]).all()
    assert shades[:, 0].tolist() == [44, 40, 36, 32, 100, 104, 108, 112]


def test_rded_keeps_the_crop_that_the_teacher_knows_best():
    # The last channel tells which image a view is of; the others hold noise.
    pixels = torch.randint(0, 256, (8, 3, 16, 16), generator=torch.Generator().manual_seed(0))
    pixels[:, 2] = (torch.arange(8) * 20).view(8, 1, 1)
    labels = torch.tensor([0] * 4 + [1] * 4)
    real = ResidentImages(pixels.byte(), labels, ("cat", "dog"))
    teacher = Bright()
    dataset = replace(shaded(), train=real)
    images = made(rded, dataset, 4, rded.Options(crops=6), 0, teacher)
    shown = torch.cat(teacher.shown)
    assert len(shown) == 8 * 6
    image = (shown[:, 2, 0, 0] * 255 / 20).round().long()
    losses = F.cross_entropy(teacher(shown), labels[image], reduction="none")
    best = torch.stack([losses.masked_fill(image != i, torch.inf).argmin() for i in range(8)])
    ranked = torch.cat([of_class[losses[of_class].argsort()] for of_class in best.split(4)])
    assert torch.equal(images.pixels, (shown[ranked] * 255).round().byte())


def test_rded_looks_at_so_many_candidates_and_crops():
    teacher = Bright()
    made(rded, shaded(), 2, rded.Options(candidates=5, crops=3), 0, teacher)
    assert sum(len(batch) for batch in teacher.shown) == 2 * 5 * 3


def test_rded_takes_all_images_where_an_ipc_needs_more_than_the_candidates():
    images = made(rded, shaded(), 6, rded.Options(candidates=5), 0, Bright())
    assert images.pixels[:6, 0, 0, 0].tolist() == [44, 40, 36, 32, 28, 24]


def test_rded_batches_are_bounded(monkeypatch):
    monkeypatch.setattr(rded, "TEACHER_BATCH", 5)
    teacher = Bright()
    made(rded, shaded(), 1, rded.Options(), 0, teacher)
    assert {len(batch) for batch in teacher.shown} == {4}


def test_rded_tiles_mosaics_rank_block_by_rank_block():
    images = made(rded, shaded(), 2, rded.Options(factor=2), 0, Bright())
    assert images.pixels.shape == (4, 3, 16, 16)
    # Cats by rank are 44, 40, ..., 16: two to a block, a block to a tile.
    corners = images.pixels[:2, 0, [0, 0, 15, 15], [0, 15, 0, 15]]
    assert corners.tolist() == [[44, 36, 28, 20], [40, 32, 24, 16]]
    assert (images.pixels[0, :, :8, 8:] == 36).all()


def test_rded_shows_the_teacher_small_crops_on_its_mean_colour():
    teacher = Bright()
    teacher.mean = (0.3, 0.6, 0.9)
    made(rded, shaded(), 1, rded.Options(factor=2), 0, teacher)
    shown = torch.cat(teacher.shown)
    mean = torch.tensor(teacher.mean).view(3, 1)
    assert shown.shape[1:] == (3, 16, 16)
    for border in (shown[:, :, :4], shown[:, :, 12:], shown[..., :4], shown[..., 12:]):
        assert torch.equal(border.flatten(2), mean.expand_as(border.flatten(2)))
    patch = shown[:, :, 4:12, 4:12].flatten(1)
    assert (patch - patch[:, :1]).abs().max() < 1e-6


def test_rded_ranks_what_a_strong_teacher_knows_too_well_for_single_precision():
    class Sure(Bright):
        def forward(self, pixels: Tensor) -> Tensor:
            return super().forward(pixels) * 30 + torch.tensor([10.0, -10.0])

    images = made(rded, shaded(("cat",)), 4, rded.Options(), 0, Sure())
    assert images.pixels[:, 0, 0, 0].tolist() == [44, 40, 36, 32]


def test_rded_draws_differ_in_candidates_and_crops():
    dataset = dataset_of("digits").load(None)  # type: ignore[arg-type]
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    digests = {
        made(rded, dataset, 2, rded.Options(candidates=20, draw=draw), 0, teacher).digest
        for draw in (0, 0, 1, 2)
    }
    assert len(digests) == 3
    with pytest.raises(ValueError, match="draw must not be negative, got -1"):
        rded.Options(draw=-1)


@pytest.mark.parametrize("channels", [1, 3])
def test_rded_images_come_back_from_jpeg_as_pillow_saves_them(channels, tmp_path):
    noisy = torch.randint(0, 256, (24, channels, 16, 16), dtype=torch.uint8)
    real = ResidentImages(noisy, torch.arange(2).repeat(12), ("cat", "dog"))
    dataset = replace(shaded(channels=channels), train=real)
    exact, saved = (
        made(rded, dataset, 2, rded.Options(jpeg=jpeg), 0, Bright()) for jpeg in (False, True)
    )
    assert saved.pixels.shape == exact.pixels.shape
    for before, after in zip(exact.pixels, saved.pixels, strict=True):
        Image.fromarray(before.permute(1, 2, 0).squeeze(2).numpy()).save(tmp_path / "x.jpg")
        loaded = torch.from_numpy(np.array(Image.open(tmp_path / "x.jpg")))
        assert torch.equal(after, loaded.view(16, 16, channels).permute(2, 0, 1))


def test_noise_is_uniform_nested_and_each_draws_own():
    ten = made(noise, shaded(), 10, noise.Options(), 0, None)
    assert ten.pixels.shape == (20, 3, 16, 16)
    assert ten.labels.tolist() == [0] * 10 + [1] * 10
    levels = ten.pixels.flatten().bincount(minlength=256)
    assert levels.min() > 0.5 * levels.float().mean()
    one = made(noise, shaded(), 1, noise.Options(), 0, None)
    assert torch.equal(one.pixels, ten.pixels[[0, 10]])
    other = made(noise, shaded(), 1, noise.Options(draw=1), 0, None)
    assert not torch.equal(one.pixels, other.pixels)


def test_rded_crops_follow_seed_and_class():
    dataset = dataset_of("digits").load(None)  # type: ignore[arg-type]
    torch.manual_seed(0)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    options = rded.Options(candidates=20)
    first, again, other = (
        made(rded, dataset, 2, options, seed, teacher) for seed in (2**64 - 1, 2**64 - 1, 0)
    )
    assert first.labels.tolist() == [label for label in range(10) for _ in range(2)]
    assert first.digest == again.digest != other.digest


def test_rded_crops_each_class_in_its_own_way():
    image = torch.randint(0, 256, (1, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    pixels = image.byte().repeat(10, 1, 1, 1)
    same = ResidentImages(pixels, torch.tensor([0] * 5 + [1] * 5), ("cat", "dog"))
    blind = nn.Sequential(nn.Flatten(), layer := nn.Linear(256, 2))
    nn.init.zeros_(layer.weight)
    options = rded.Options(crops=1, scale_low=0.1)
    cats, dogs = made(rded, replace(shaded(), train=same), 5, options, 0, blind).pixels.chunk(2)
    assert len(cats.unique(dim=0)) > 1
    assert not torch.equal(cats, dogs)


def test_rded_refuses_what_cannot_be():
    with pytest.raises(UserError, match="factor 3 does not divide 16 pixels; valid: 1, 2, 4, 8, 1"):
        made(rded, shaded(), 1, rded.Options(factor=3), 0, Bright())
    message = "IPC 4 needs 16 images of class 'cat', but the training set has 12: choose an IPC "
    with pytest.raises(UserError, match=message + "of at most 3"):
        made(rded, shaded(), 4, rded.Options(factor=2), 0, Bright())
    for name, value in {"factor": 0, "candidates": 0, "crops": 0, "scale_low": 1.5}.items():
        with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
            rded.Options(**{name: value})
    blind = nn.Sequential(nn.Flatten(), layer := nn.Linear(3 * 16 * 16, 2))
    nn.init.constant_(layer.weight, torch.nan)
    with pytest.raises(UserError, match="logits for class 'cat' are not finite"):
        made(rded, shaded(), 1, rded.Options(), 0, blind)


# Images that others distilled


@pytest.mark.parametrize(
    ("classes", "folders"),
    [
        (("zero", "one", "two"), ("zero", "one", "two")),
        (("zero", "one", "two"), ("00000", "00001", "00002")),
        (("zero", "one", "two"), ("new00000", "new00001", "new00002")),
        (("tench", "tabby", "crane"), ("n01440764", "n02123045", "n02012849")),
        (tuple("abcdefghijkl"), tuple(str(i) for i in range(12))),
    ],
)
def test_class_folders_are_matched_by_name_number_or_order(classes, folders, tmp_path, encode):
    by_rank = sorted(folders) if folders[0].startswith("n0") else folders
    for label, folder in enumerate(by_rank):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "b.png").write_bytes(encode(10 * label + 1, side=16))
        (tmp_path / folder / "a.png").write_bytes(encode(10 * label, side=16))
        (tmp_path / folder / "notes.txt").write_text("not a picture")
    dataset, options = shaded(classes), path.Options(str(tmp_path))
    images = made(path, dataset, 1, options, 0, None)
    assert images.pixels[:, 0, 0, 0].tolist() == [10 * c for c in range(len(classes))]
    assert images.labels.tolist() == list(range(len(classes)))
    assert images.class_names == classes
    assert len(made(path, dataset, 2, options, 0, None)) == 2 * len(classes)


@pytest.mark.parametrize("names", [(), ("cat", "dog")])
def test_a_table_is_read_in_row_order(names, tmp_path, encode, write_table):
    file = tmp_path / "images.parquet"
    write_table(file, [encode(s, side=16) for s in (1, 2, 3, 4)], [1, 0, 1, 0], names)
    images = made(path, shaded(), 1, path.Options(str(file)), 0, None)
    assert images.pixels[:, 0, 0, 0].tolist() == [2, 1]


def test_a_table_with_the_classes_in_another_order_is_matched_by_name(
    tmp_path, encode, write_table
):
    file = tmp_path / "images.parquet"
    write_table(file, [encode(1, side=16), encode(2, side=16)], [0, 1], ["dog", "cat"])
    images = made(path, shaded(), 1, path.Options(str(file)), 0, None)
    assert images.pixels[:, 0, 0, 0].tolist() == [2, 1]


def test_pictures_of_another_size_and_mode_are_fitted(tmp_path, encode):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(encode(60, side=(48, 32), kind="JPEG"))
    grey = shaded(channels=1)
    images = made(path, grey, 1, path.Options(str(tmp_path)), 0, None)
    assert images.pixels.shape == (2, 1, 16, 16)
    assert images.pixels.unique().tolist() == [60]


def test_path_refuses_what_is_not_there(tmp_path, encode, write_table):
    def make(where, ipc=1, dataset=None):
        return made(path, dataset or shaded(), ipc, path.Options(str(where)), 0, None)

    for where in ("", tmp_path / "absent", tmp_path / "absent.parquet"):
        with pytest.raises(UserError, match="names no distilled images"):
            make(where)
    with pytest.raises(UserError, match="holds no class folders"):
        make(tmp_path)
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "0.png").write_bytes(encode(0))
    with pytest.raises(UserError, match="are numbered 1 to 2; they must be 0 to 1"):
        make(tmp_path)
    (tmp_path / "2").rename(tmp_path / "0")
    with pytest.raises(UserError, match=r"IPC 2 needs 2 images of class 'cat', but '.*' has 1"):
        make(tmp_path, ipc=2)
    with pytest.raises(UserError, match="holds 2 classes, but 'shaded' has 3"):
        make(tmp_path, dataset=shaded(("a", "b", "c")))
    file = tmp_path / "images.parquet"
    write_table(file, [encode(1)] * 3, [0, 1, 2])
    with pytest.raises(UserError, match=r"images\.parquet' holds 3 classes, but 'shaded' has 2"):
        make(file)
    write_table(file, [encode(1)] * 2, [0, 2], ["cat", "dog"])
    with pytest.raises(UserError, match=r"Row 1 of .* has the label 2; valid: 0 to 1"):
        make(file)
    write_table(file, [encode(1)] * 2, [0, 0], ["cat", "dog"])
    with pytest.raises(UserError, match=r"of class 'dog', but '.*' has 0"):
        make(file)


def test_the_images_of_dataset_condensation(data_root):
    file = data_root / "distilled" / "dc_cifar10_ipc10.parquet"
    if not file.is_file():
        pytest.skip(f"{file} is absent")
    channels, side, names = parquet.describe([file], file.parent)
    assert (channels, side, names[0], len(names)) == (3, 32, "airplane", 10)
    dataset = shaded(names, per_class=1, side=32)
    images = made(path, dataset, 10, path.Options(str(file)), 0, None)
    rows = pq.read_table(file)
    assert images.labels.tolist() == rows["label"].to_pylist()
    fifth = decode(Encoded(rows["image"][5]["bytes"].as_py(), file, 5), 3, 32)
    assert np.array_equal(images.pixels[5].numpy(), fifth)
    with pytest.raises(UserError, match="IPC 11 needs 11 images of class 'airplane'"):
        made(path, dataset, 11, path.Options(str(file)), 0, None)
