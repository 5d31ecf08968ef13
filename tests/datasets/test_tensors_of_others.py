"""Distilled sets that others saved as tensors, and the soft labels in them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import made_by, tiny_task
from torch import nn

from benchmark.core.device import Compute
from benchmark.core.errors import UserError
from benchmark.data.denormalised import OF_DC
from benchmark.data.images import IMAGENET_MEAN, IMAGENET_STD, Dataset, ResidentImages
from benchmark.data.tensors_of_others import files_of, read_soft_labels, read_tensors
from benchmark.datasets.distilled import path
from benchmark.methods.given import Given
from benchmark.models.image_source import ImageTask

CPU = Compute(torch.device("cpu"), bf16=False)
CLASSES, EACH, SIDE = 3, 2, 8
LABELS = torch.tensor([2, 0, 1, 1, 0, 2])  # as they stand in the file
SORTED = [1, 4, 2, 3, 0, 5]


def pixels(dtype=torch.uint8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (6, 3, SIDE, SIDE), generator=generator, dtype=dtype)


def real(name="cifar10") -> Dataset:
    images = ResidentImages(pixels(), LABELS, ("a", "b", "c"))
    return Dataset(name, images, images, (0.3, 0.4, 0.5), (0.2,) * 3, mirror=True)


def normalised(mean, std) -> torch.Tensor:
    shape = (1, 3, 1, 1)
    return (pixels().float() / 255 - torch.tensor(mean).view(shape)) / torch.tensor(std).view(shape)


def images_of(file: Path, dataset: Dataset | None = None, ipc=EACH, **options) -> ResidentImages:
    task = ImageTask(dataset or real(), ipc, 0, CPU, file.parent)
    return made_by(path, task, path.Options(str(file), **options))


def same(found: ResidentImages) -> None:
    assert torch.equal(found.pixels, pixels()[SORTED])
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert found.positions is not None
    assert found.positions.tolist() == SORTED


def saved(folder: Path, form: str) -> Path:
    """The same set as each code writes it."""
    mean, std = OF_DC["cifar10"]
    images, labels = normalised(mean, std), LABELS
    file = folder / "images_best.pt"
    if form == "dc":
        file = folder / "res_DC_CIFAR10_ConvNet_2ipc.pt"
        torch.save({"data": [[images * 0, labels], [images, labels]], "accs": {"a": 1}}, file)
    elif form == "mtt":
        torch.save(images, file)
        torch.save(labels, folder / "labels_best.pt")
        torch.save(torch.tensor(0.01), folder / "lr.pt")
    elif form == "mapping":
        torch.save({"images": pixels(), "labels": labels}, file)
    elif form == "pair":
        torch.save((pixels().float() / 255, labels), file)
    else:
        file = folder / "set.npz"
        last = pixels().permute(0, 2, 3, 1).numpy()
        np.savez(file, x_proto=last, y_proto=torch.eye(3)[labels].numpy())
    return file


@pytest.mark.parametrize("form", ["dc", "mtt", "mapping", "pair", "npz"])
def test_every_form_gives_the_same_images(form, tmp_path, capsys):
    file = saved(tmp_path, form)
    same(images_of(file, experiment=1 if form == "dc" else 0))
    told = capsys.readouterr().err
    assert ("DC, DSA, MTT and DATM use for cifar10 are assumed" in told) == (form in ("dc", "mtt"))
    assert ("a learned rate of 0.01" in told) == (form == "mtt")


@pytest.mark.parametrize(
    ("norm", "mean", "std"),
    [
        ("dataset", (0.3, 0.4, 0.5), (0.2, 0.2, 0.2)),
        ("imagenet", IMAGENET_MEAN, IMAGENET_STD),
        ("dc", *OF_DC["cifar10"]),
    ],
)
def test_the_normalisation_can_be_named_or_told(norm, mean, std, tmp_path, capsys):
    torch.save({"images": normalised(mean, std), "labels": LABELS}, tmp_path / "set.pt")
    same(images_of(tmp_path / "set.pt", norm=norm))
    told = {"images": normalised(mean, std), "labels": LABELS, "mean": mean, "std": std}
    torch.save(told, tmp_path / "telling.pt")
    same(images_of(tmp_path / "telling.pt"))
    assert capsys.readouterr().err == ""


def test_what_no_normalisation_is_known_of_is_refused(tmp_path):
    torch.save({"images": normalised((0.5,) * 3, (0.2,) * 3), "labels": LABELS}, tmp_path / "s.pt")
    with pytest.raises(
        UserError, match=r"nothing says what they were normalised by: set path\.norm"
    ):
        images_of(tmp_path / "s.pt", real("mine"))


def test_numbers_beyond_black_and_white_are_told_and_too_many_refused(tmp_path, capsys):
    images = normalised((0.3, 0.4, 0.5), (0.2,) * 3)
    torch.save({"images": 1.3 * images, "labels": LABELS}, tmp_path / "s.pt")
    images_of(tmp_path / "s.pt", norm="dataset")
    assert "lie outside 0..1 and are clipped" in capsys.readouterr().err
    torch.save({"images": 5 * images, "labels": LABELS}, tmp_path / "far.pt")
    with pytest.raises(UserError, match=r"lie outside 0\.\.1 once .* were they whitened"):
        images_of(tmp_path / "far.pt", norm="dataset")


def test_bytes_as_floats_and_statistics_of_other_sets_are_refused(tmp_path):
    torch.save({"images": pixels().float(), "labels": LABELS}, tmp_path / "bytes.pt")
    with pytest.raises(UserError, match=r"are they 0\.\.255"):
        images_of(tmp_path / "bytes.pt")
    images = normalised((0.3, 0.4, 0.5), (0.2,) * 3)
    torch.save({"images": images, "labels": LABELS}, tmp_path / "s.pt")
    with pytest.raises(UserError, match=r"norm=dc knows cifar10, .* not 'mine'"):
        images_of(tmp_path / "s.pt", real("mine"), norm="dc")


def test_labels_alone_are_read_and_what_is_no_file_of_numbers_is_named(tmp_path):
    torch.save(soft("logits"), tmp_path / "labels_best.pt")
    assert torch.equal(read_soft_labels(tmp_path / "labels_best.pt"), soft("logits"))
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "junk.pt").write_bytes(b"hello")
    np.savez(tmp_path / "text.npz", images=np.zeros((2, 3, 8, 8)), labels=np.array(["a", "b"]))
    for name, message in (
        ("empty.pt", "it is empty"),
        ("junk.pt", r"or no file of torch\.save"),
        ("text.npz", "as numbers"),
    ):
        with pytest.raises(UserError, match=message):
            read_soft_labels(tmp_path / name)


def test_what_lies_beside_counts_in_the_key(tmp_path):
    file = saved(tmp_path, "mtt")
    assert {f.name for f in files_of(file)} == {"images_best.pt", "labels_best.pt", "lr.pt"}
    needs = path.PathImages(path.Options(str(file))).needs(EACH)
    assert set(needs.files) == set(files_of(file))


def test_code_is_refused_and_not_run(tmp_path):
    torch.save({"images": nn.Linear(2, 2), "labels": LABELS}, tmp_path / "set.pt")
    with pytest.raises(UserError, match="which may be code; nothing of it was run"):
        images_of(tmp_path / "set.pt")
    np.savez(tmp_path / "set.npz", images=np.array([nn.Linear(2, 2)], dtype=object), labels=[1])
    with pytest.raises(UserError, match="Cannot read"):
        images_of(tmp_path / "set.npz")


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"pictures": 1}, "holds no images with labels"),
        ({"images": torch.zeros(6, 3, 8, 9), "labels": LABELS}, r"must be \(N, channels, side"),
        ({"images": torch.zeros(6, 3, 8, 8) / 0, "labels": LABELS}, "is not finite"),
        ({"images": pixels(), "labels": LABELS[:5]}, r"6 images and labels \(5,\)"),
        ({"images": pixels(), "labels": LABELS + 0.5}, "is no whole number"),
        (
            {"images": pixels(), "labels": LABELS + 1},
            "classes 1 to 3; those of .* are 0 to 2",
        ),
        (
            {"images": pixels()[:, :, :4, :4], "labels": LABELS},
            r"are \(3, 4, 4\); those of",
        ),
        ({"images": pixels()[:3], "labels": torch.tensor([0, 1, 2])}, "needs 2 images of class"),
    ],
)
def test_what_cannot_be_is_refused(held, message, tmp_path):
    torch.save(held, tmp_path / "set.pt")
    with pytest.raises(UserError, match=message):
        images_of(tmp_path / "set.pt")


# Soft labels of others


def task_of(tmp_path, images: ResidentImages):
    task = tiny_task(tmp_path / "scratch")
    return replace(task, images=images, plan=replace(task.plan, images=len(images)), teacher=None)


def soft(space: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    logits = 4 * torch.eye(3)[LABELS] + torch.randn(6, 3, generator=generator)
    return logits if space == "logits" else logits.softmax(1)


@pytest.mark.parametrize("space", ["logits", "probabilities"])
def test_soft_labels_follow_their_images(space, tmp_path, capsys):
    torch.save({"images": pixels(), "labels": soft(space)}, tmp_path / "set.pt")
    images = images_of(tmp_path / "set.pt")
    same(images)
    task = task_of(tmp_path, images)
    source = Given.fit(task, Given.Options(path=str(tmp_path / "set.pt")))
    expected = soft("probabilities")[SORTED]
    assert torch.allclose(source.labels, expected, atol=2e-3)
    assert ("are taken as logits" in capsys.readouterr().err) == (space == "logits")


def test_soft_labels_of_other_classes_or_images_are_refused(tmp_path):
    torch.save({"images": pixels(), "labels": soft("logits").roll(1, 1)}, tmp_path / "set.pt")
    images = images_of(tmp_path / "set.pt")
    torch.save({"images": pixels(), "labels": LABELS}, tmp_path / "hard.pt")
    torch.save({"images": pixels()[:3], "labels": soft("logits")[:3]}, tmp_path / "few.pt")
    task = task_of(tmp_path, images)
    for name, message in (("hard", "no soft labels: take hard"), ("few", "take all of its images")):
        with pytest.raises(UserError, match=message):
            Given.fit(task, Given.Options(path=str(tmp_path / f"{name}.pt")))
    with pytest.raises(UserError, match=r"given\.path"):
        Given.needs(Given.Options())
    assert read_tensors(tmp_path / "set.pt").classes.tolist() == ((LABELS + 1) % 3).tolist()


def test_a_space_that_is_named_is_not_guessed(tmp_path):
    file = tmp_path / "set.pt"
    torch.save({"images": pixels(), "labels": soft("logits")}, file)
    task, options = task_of(tmp_path, images_of(file)), Given.Options(path=str(file))
    with pytest.raises(UserError, match=r"space=logits"):
        Given.fit(task, replace(options, space="probabilities"))
    flat = Given.fit(task, replace(options, space="logits", temperature=1e3))
    assert torch.allclose(flat.labels, torch.full((6, 3), 1 / 3), atol=1e-2)


# Grids


@pytest.mark.parametrize("each", [1, 2])
def test_a_grid_of_save_image_is_taken_apart(each, tmp_path):
    from torchvision.utils import save_image

    images = pixels()[: 3 * each]  # class by class
    save_image(images.float() / 255, tmp_path / "vis.png", nrow=each)
    found = images_of(tmp_path / "vis.png", ipc=each)
    assert torch.equal(found.pixels, images)
    assert found.labels.tolist() == [c for c in range(3) for _ in range(each)]


def test_a_picture_that_is_no_grid_is_refused(tmp_path):
    from torchvision.utils import save_image

    save_image(pixels()[:4].float() / 255, tmp_path / "four.png", nrow=2)
    save_image(torch.rand(3, 20, 20), tmp_path / "one.png")
    for name in ("four", "one"):
        with pytest.raises(UserError, match="no grid of pictures of 8 pixels"):
            images_of(tmp_path / f"{name}.png", ipc=1)
