"""Images shrunk so that a prior sees them as before; the prior is a fixed random map here."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny import GRID, run_main, run_tiny
from torch import Tensor, nn

from benchmark.core.device import Compute, choose
from benchmark.core.errors import UserError
from benchmark.data.images import Dataset, ResidentImages
from benchmark.datasets.distilled import refined
from benchmark.experiment import dataset_and_teacher
from benchmark.experiment.dataset_and_teacher import Runtime
from benchmark.experiment.grid import cells, make_grid
from benchmark.experiment.stages import Experiment
from benchmark.models.image_source import ImageTask

CPU = Compute(torch.device("cpu"), bf16=False)
NAMES = ("cat", "dog")


@dataclass
class FakePrior:
    """A prior that knows pictures by 32 random sums of their pixels."""

    tower: nn.Module

    def normalise(self, pixels: Tensor) -> Tensor:
        return F.interpolate(pixels, size=16) - 0.5


class Tower(nn.Module):
    def __init__(self, channels: int, fail_at: int | None = None) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.weight = nn.Parameter(torch.randn(channels * 256, 32, generator=generator))
        self.calls, self.fail_at = 0, fail_at

    def forward(self, pixels: Tensor) -> Tensor:
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        self.calls += 1
        return pixels.flatten(1) @ self.weight


@pytest.fixture
def prior(monkeypatch):
    """Makes a tower that all later images are refined with."""

    def use(channels: int = 3, fail_at: int | None = None) -> Tower:
        tower = Tower(channels, fail_at)
        monkeypatch.setattr(refined, "load_prior", lambda name, device: FakePrior(tower))
        return tower

    return use


def pictures(ipc: int, channels: int = 3, side: int = 16) -> ResidentImages:
    """Random pictures of two classes, class by class."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (2 * ipc, channels, side, side), generator=generator)
    return ResidentImages(pixels.byte(), torch.arange(2).repeat_interleave(ipc), NAMES)


def made(scratch: Path, options: refined.Options, ipc: int = 2) -> ResidentImages:
    """What is made of random pictures."""
    base = refined.Refined(options).needs(ipc).images
    assert base is not None
    images = pictures(base[1])
    dataset = Dataset("random", images, images, (0.5,) * 3, (0.2,) * 3, mirror=True)
    scratch.mkdir(exist_ok=True)
    return refined.Refined(options).make(ImageTask(dataset, ipc, 0, CPU, scratch, base=images))


def tiles_of(images: ResidentImages) -> Tensor:
    """The quarters of mosaics, (n, C, 8, 8), in the order of the images that they show."""
    quarters = [images.pixels[:, :, i : i + 8, j : j + 8] for i in (0, 8) for j in (0, 8)]
    by_class = torch.stack(quarters).unflatten(1, (2, -1))
    return by_class.transpose(0, 1).flatten(0, 2)


def test_no_steps_make_plain_mosaics_without_the_prior(tmp_path, monkeypatch):
    monkeypatch.delattr(refined, "load_prior")
    images = made(tmp_path, refined.Options(steps=0, batch_size=3))
    assert images.pixels.shape == (4, 3, 16, 16)
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert images.class_names == NAMES
    shrunk = F.avg_pool2d(pictures(8).pixels.float() / 255, 2)
    assert torch.equal(tiles_of(images), (shrunk * 255).round().byte())


def test_steps_bring_the_features_closer(tmp_path, prior):
    tower = prior()

    def features(pixels: Tensor) -> Tensor:
        return F.normalize((F.interpolate(pixels, size=16) - 0.5).flatten(1) @ tower.weight)

    def distance(steps: int) -> float:
        images = made(tmp_path / str(steps), refined.Options(steps=steps))
        grown = F.interpolate(tiles_of(images) / 255, size=16, mode="bilinear")
        return F.mse_loss(features(grown), features(pictures(8).pixels / 255)).item()

    start, few, many = distance(0), distance(5), distance(100)
    assert start > 2 * few > 20 * many
    assert tower.weight.grad is None


def test_images_do_not_depend_on_their_company(tmp_path, prior):
    prior()
    all_at_once = made(tmp_path / "all", refined.Options(steps=5)).pixels.int()
    in_batches = made(tmp_path / "few", refined.Options(steps=5, batch_size=3)).pixels.int()
    # The order of additions may differ, and with it what is rounded.
    assert (all_at_once - in_batches).abs().max() <= 1


def test_pixels_stay_between_black_and_white(tmp_path, prior):
    prior()
    images = made(tmp_path, refined.Options(steps=1, lr=10.0))
    assert images.pixels.unique().tolist() == [0, 255]


def test_a_killed_refinement_goes_on_from_its_last_batch(tmp_path, prior):
    options = refined.Options(steps=3, batch_size=6)
    prior()
    whole = made(tmp_path / "whole", options)
    prior(fail_at=6)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "killed", options)
    rest = prior()
    assert made(tmp_path / "killed", options).digest == whole.digest
    assert rest.calls == 2 * (1 + 3), "two of three batches: the images once, then each step"
    idle = prior()
    assert made(tmp_path / "killed", options).digest == whole.digest
    assert idle.calls == 0


def test_features_that_are_not_finite(tmp_path, prior):
    nn.init.constant_(prior().weight, torch.nan)
    with pytest.raises(UserError, match="features of the prior 'embedded' are not finite"):
        made(tmp_path, refined.Options(steps=1))


def test_what_cannot_be_refined(tmp_path):
    with pytest.raises(UserError, match="factor 3 does not divide 16 pixels; valid: 2, 4, 8, 16"):
        made(tmp_path, refined.Options(factor=3))
    wrong = {"factor": 1, "steps": -1, "lr": 0.0, "batch_size": 0}
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=f"{name} must .*{value}"):
            refined.Options(**{name: value})


# As a stage, on the digits


def experiment(work: Path, images: str, **options: object) -> Experiment:
    """An experiment on the digits, checked."""
    values = {"dataset": "digits", "images": images.split(";"), "ipc": [2], "methods": ["hard"]}
    values |= {"students": ["convnet-d2-w8"], "teacher": "convnet-d2-w8", "controls": False}
    set_ = {name.replace("__", "."): value for name, value in options.items()}
    grid = make_grid({**values, "set": set_})
    made = Experiment(grid, Runtime(work, choose("cpu", "fp32"), None))
    made.resolve(list(cells(grid)))
    return made


def test_images_made_from_the_same_base_share_it(tmp_path, prior):
    prior(channels=1)
    plain, moved = "refined[base=random,steps=0]", "refined[base=random,steps=5]"
    stages = experiment(tmp_path, f"{plain};{moved}").image_stages
    small, large = stages.resolve(plain, 2, True), stages.resolve(moved, 2, True)
    first, second = stages.images(small), stages.images(large)
    assert first.pixels.shape == second.pixels.shape == (20, 1, 8, 8)
    assert not torch.equal(first.pixels, second.pixels)
    assert small.base == large.base == stages.resolve("random", 8, True)
    assert small.base is not None
    assert {stages.folder(r) for r in (small.base, small, large)} == set(
        (tmp_path / "stages").glob("images-*[0-9a-f]")
    )
    expected = F.avg_pool2d(stages.images(small.base).pixels[0] / 255, 2)
    assert torch.equal(first.pixels[0, :, :4, :4], (expected * 255).round().byte())


def test_options_in_brackets_win_over_those_set(tmp_path):
    one = experiment(tmp_path, "rded[factor=2];rded", rded__factor=4, rded__crops=3)
    _, bracketed = one.image_stages.options("rded[factor=2]")
    _, plain = one.image_stages.options("rded")
    assert (bracketed.factor, bracketed.crops) == (2, 3)
    assert (plain.factor, plain.crops) == (4, 3)
    assert [cell.images for cell in cells(one.grid)][::3] == ["rded[factor=2]", "rded"]


def test_keys_follow_options_base_and_prior(tmp_path, monkeypatch):
    def key(source: str, **options: object) -> dict:
        return experiment(tmp_path, source, **options).image_stages.resolve(source, 2, True).key

    plain = key("refined")
    assert plain == key("refined", refined__steps=100) == key("refined[steps=100]")
    assert plain != key("refined[steps=50]")
    assert plain != key("refined", rded__crops=3)
    assert plain != key("refined[base=random]")
    assert "teacher" not in key("refined[base=random]")["needs"]
    monkeypatch.setattr(dataset_and_teacher, "fetched", lambda name: f"other {name}")
    assert plain != key("refined")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("rded[factr=2]", "Unknown option of rded 'factr'. Did you mean 'factor'?"),
        ("rded[factor=two]", "rded.factor must be a whole number, got 'two'"),
        ("rded[factor]", "'rded[factor]': 'factor' is no option; write option=value"),
        ("rded[factor=2", "'rded[factor=2' is no image source: write NAME"),
        ("rdde[factor=2]", "Unknown image source 'rdde'. Did you mean 'rded'?"),
        ("refined[factor=1]", "factor must be at least 2, got 1: a tile as large as its image"),
        ("refined[factor=3]", "factor 3 does not divide 8 pixels; valid: 2, 4, 8"),
        ("refined[base=rdde]", "Unknown image source 'rdde'. Did you mean 'rded'?"),
        ("refined[base=refined]", "cannot start from images of 'refined', which starts from"),
        ("refined --set rded.factr=2", "Unknown option of rded 'factr'"),
        (
            "refined[base=random] --ipc 40",
            "refined[base=random] at IPC 40 starts from random at IPC 160: IPC 160 needs 160 "
            "images of class 'zero', but the training set has 142",
        ),
    ],
)
def test_what_is_refused_before_anything_is_made(tmp_path, arguments, message):
    given = ["--images", *arguments.split(), "--methods", "hard", "--work", tmp_path / "work"]
    code, _, err = run_main("run", *GRID, *given)
    assert message in err
    assert code == 2
    assert not (tmp_path / "work").exists()


def test_a_run_on_refined_digits_with_the_embedded_prior(tmp_path):
    images = "refined[steps=2, factor=2, base=random],refined[base=random,steps=0]"
    run_tiny(tmp_path, "--methods", "hard", "--images", images)
    found = [json.loads(file.read_text()) for file in (tmp_path / "records").glob("*.json")]
    assert {record["cell"]["images"] for record in found} == {
        "refined[base=random,factor=2,steps=2]",
        "refined[base=random,steps=0]",
    }
    assert len({record["inputs"]["images"] for record in found}) == 2
