"""SRe2L: noise made into images whose batch-norm statistics are those of the training set.

Yin, Xing and Shen, "Squeeze, Recover and Relabel" (NeurIPS 2023). One image of each class, 100
classes at most, make up a group, which shares a crop, a flip and a roll in each iteration, and
whose statistics are drawn towards the teacher's own; the teacher is to know each for its class.
`lpld` differs in its groups and in its statistics only.

Deviations from the authors' release (and LPLD's):
- many groups are optimised at once. The loss is the sum of theirs and Adam moves each pixel by
  itself, so each is as if alone; its random draws depend on its number, not on its company;
- classes are spread evenly over groups, where theirs leave a smaller last one;
- images are kept exactly, not as JPEG.
All is computed in single precision, whatever the run's: in bfloat16 the pixels' gradients point
elsewhere (cosine .97 to .98). Repeated runs on a GPU agree up to the order in which it adds
gradients.

A preset is a paper's settings for a dataset. Its teacher is ResNet-18 with a 3x3 stem for CIFAR and
Tiny-ImageNet (there trained 50 epochs, to 59.6 %), torchvision's for ImageNet.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import UserError
from benchmark.core.files import write_atomic
from benchmark.core.needs import Needs
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.images import IMAGENET_MEAN, IMAGENET_STD, Dataset, ResidentImages
from benchmark.data.rendering import look
from benchmark.data.views import SAMPLE, Augmentation, ViewPlan, random_words, unit
from benchmark.models.batch_norm import (
    Statistics,
    global_statistics,
    group_statistics,
    layers,
    watch,
)
from benchmark.models.classifier import Floats
from benchmark.models.image_source import ImageSource, ImageTask
from benchmark.models.training import Optimisation, optimise

LARGEST_GROUP = 100
STRETCH = 50  # iterations between looks at the clock, at most
NOISE, ROLL = 2, 3  # what the random words are for; 0 and 1 are taken by `random` and `rded`


class Preset(NamedTuple):
    """A paper's settings for a dataset; each as the option of that name."""

    iterations: int
    lr: float
    units: str
    weight: float
    crop_low: float
    flip: bool
    roll: int
    both_ways: bool


PresetName = Literal["tiny", "cifar", "imagenet", "imagenet21k"]
PRESETS: dict[PresetName, Preset] = {
    "tiny": Preset(4000, 0.1, "tiny", 1.0, 0.08, True, 4, True),
    "cifar": Preset(1000, 0.25, "cifar", 0.01, 1.0, False, 4, False),
    "imagenet": Preset(4000, 0.25, "imagenet", 0.01, 0.08, True, 32, False),
    "imagenet21k": Preset(2000, 0.05, "none", 0.25, 0.08, True, 32, False),
}
UNITS: dict[str, tuple[Floats, Floats]] = {
    "tiny": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
    "cifar": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),  # CIFAR-100's
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}


@dataclass(frozen=True)
class Options:
    """How images are recovered; what is left open is the preset's.

    Attributes:
        preset: a dataset's settings in the paper: `tiny`, `cifar`, `imagenet`, `imagenet21k`.
        iterations: steps of Adam.
        lr: Adam's at the start, in units of normalised pixels; it falls along a half cosine to
            zero.
        units: whose mean and standard deviation those are, in which noise is drawn too: the
            authors' of a preset, or the `teacher`'s.
        weight: of the statistics against the cross-entropy.
        first_weight: of the first batch-norm layer against the others.
        crop_low: smallest share of an image's area that a crop covers.
        flip: whether crops are mirrored, every other time; never where mirroring changes a class.
        roll: pixels that a crop is shifted around the edges, at most, along both axes.
        both_ways: whether it is shifted up and left as well as down and right.
        block: images optimised at once, at least one group; only memory and time depend on it.
    """

    preset: PresetName = "tiny"
    iterations: int | None = None
    lr: float | None = None
    units: Literal["teacher", "tiny", "cifar", "imagenet", "none"] | None = None
    weight: float | None = None
    first_weight: float = 10.0
    crop_low: float | None = None
    flip: bool | None = None
    roll: int | None = None
    both_ways: bool | None = None
    block: int = 1000

    PRESETS: ClassVar[Mapping[PresetName, Preset]] = PRESETS

    def __post_init__(self) -> None:
        for name, value in self.PRESETS[self.preset]._asdict().items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        assert self.lr is not None
        assert self.crop_low is not None
        for name in ("iterations", "block"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("weight", "first_weight", "roll"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if not 0 < self.crop_low <= 1:
            raise ValueError(f"crop_low must be above 0 and at most 1, got {self.crop_low}")


@dataclass(frozen=True)
class Group:
    """Images whose statistics are taken together.

    Attributes:
        images: their numbers among all, class by class, int64 (n,).
        target: the row of the statistics that they are drawn towards.
    """

    images: Tensor
    target: int


class SRe2L(ImageSource[Options]):
    """Noise drawn towards the statistics of all classes."""

    paper = "Yin et al., Squeeze, Recover and Relabel (SRe2L), arXiv 2306.13092"

    def needs(self, ipc: int) -> Needs:
        return Needs(teacher=True)

    def validate(self, dataset: Dataset, ipc: int, network: nn.Module) -> None:
        require_statistics(ipc, network)

    def work(self, dataset: Dataset, ipc: int) -> Work:
        assert self.options.iterations is not None
        images = ipc * len(dataset.class_names)
        batch = min(images, self.options.block)
        return Work((Passes(TEACHER, images * self.options.iterations, batch, trained=True),))

    def make(self, task: ImageTask) -> ResidentImages:
        """Images recovered in groups of one image a class.

        Raises:
            UserError: the teacher has no batch normalisation, or the loss is not finite.
        """
        teacher = task.taught()
        self.validate(task.dataset, task.ipc, teacher)
        groups = [
            Group(classes * task.ipc + i, target=0)
            for classes in even_parts(len(task.dataset.class_names))
            for i in range(task.ipc)
        ]
        return recover(task, self.options, groups, global_statistics(teacher))


def require_statistics(ipc: int, network: nn.Module) -> None:
    """Raise a UserError if there are no images to make, or no statistics to draw them towards."""
    if ipc < 1:
        raise UserError(f"IPC must be at least 1, got {ipc}.")
    layers(network)


def even_parts(count: int) -> tuple[Tensor, ...]:
    """0 ... count - 1, in parts of at most 100 whose sizes differ by at most one."""
    return torch.arange(count).tensor_split(-(-count // LARGEST_GROUP))


def recover(
    task: ImageTask, options: Options, groups: list[Group], statistics: Statistics
) -> ResidentImages:
    """The images of all `groups`, which together hold `task.ipc` of every class.

    Finished blocks are kept in `task.scratch`, and an unfinished one's checkpoint.
    """
    side, channels = task.dataset.train.resolution, task.dataset.train.channels
    labels = torch.arange(len(task.dataset.class_names)).repeat_interleave(task.ipc)
    pixels = torch.empty(len(labels), channels, side, side, dtype=torch.uint8)
    parts = blocks(groups, options.block)
    for number, block in enumerate(parts):
        file = task.scratch / f"block-{number}.safetensors"
        if not file.is_file():
            recovery = Recovery(task, options, groups, block, statistics)
            checkpoint = file.with_suffix(".pt")
            recovery.run(f"recover images {number + 1}/{len(parts)}", checkpoint)
            write_atomic(file, safetensors.torch.save({"pixels": recovery.pixels()}))
            checkpoint.unlink(missing_ok=True)
        images = torch.cat([groups[g].images for g in block])
        pixels[images] = safetensors.torch.load_file(file)["pixels"]
    return ResidentImages(pixels, labels, task.dataset.class_names)


def blocks(groups: list[Group], limit: int) -> list[Tensor]:
    """Numbers of groups of one size that are optimised together, at most `limit` images."""
    found: list[Tensor] = []
    for size, numbers in groupby(range(len(groups)), lambda g: len(groups[g].images)):
        found += torch.tensor(list(numbers)).split(max(1, limit // size))
    return found


class Recovery:
    """A block of G groups of n images each, on their way from noise.

    Attributes:
        canvas: the images, normalised in the options' units, float32 (G, n, C, R, R).
    """

    def __init__(
        self,
        task: ImageTask,
        options: Options,
        groups: list[Group],
        block: Tensor,
        statistics: Statistics,
    ) -> None:
        dataset, teacher, device = task.dataset, task.taught(), task.device
        self.options, self.teacher, self.block = options, teacher, block
        images = torch.stack([groups[g].images for g in block])
        rows = torch.tensor([groups[g].target for g in block], device=device)
        self.labels = (images // task.ipc).to(device)
        self.targets = [(mean[rows], variance[rows]) for mean, variance in statistics]
        shape = (dataset.train.channels, dataset.train.resolution, dataset.train.resolution)
        start = torch.stack([noise(task.seed, i, shape) for i in images.flatten().tolist()])
        self.canvas = nn.Parameter(start.to(device).view(*images.shape, *shape))
        # One view of each group in every "epoch".
        self.plan = crops(task, options, len(groups), len(groups), options.iterations or 0)
        assert options.units is not None
        units = UNITS.get(options.units, (teacher.mean, teacher.std))
        self.mean, self.std = (
            torch.tensor(value[: shape[0]], device=device).view(-1, 1, 1) for value in units
        )

    def run(self, label: str, checkpoint: Path | None = None) -> None:
        """All iterations; the last iterate counts."""
        options = self.options
        assert options.iterations is not None
        assert options.lr is not None
        stretch = max(d for d in range(1, STRETCH + 1) if options.iterations % d == 0)
        black, white = -self.mean / self.std, (1 - self.mean) / self.std

        def losses(epoch: int) -> Iterator[Tensor]:
            for iteration in range(epoch * stretch, (epoch + 1) * stretch):
                yield self.losses(iteration).sum()
                with torch.no_grad():
                    self.canvas.clamp_(black, white)

        schedule = Optimisation(
            options.iterations // stretch,
            stretch,
            lr=options.lr,
            weight_decay=0.0,
            betas=(0.5, 0.9),
        )
        # The teacher is no part of what is trained, so it stays in evaluation mode.
        optimise(nn.ParameterList([self.canvas]), losses, schedule, label, checkpoint)

    def losses(self, iteration: int) -> Tensor:
        """The loss of each group, (G,), on this iteration's views.

        Mean cross-entropy of its images, and `weight` times the distances of its statistics.
        """
        groups, each = self.labels.shape
        with watch(self.teacher, lambda x: group_statistics(x, groups)) as seen:
            logits = self.teacher(self.shown(iteration).flatten(0, 1) * self.std + self.mean)
        known = F.cross_entropy(logits, self.labels.flatten(), reduction="none")
        distance = torch.zeros(groups, device=logits.device)
        for layer, (found, target) in enumerate(zip(seen, self.targets, strict=True)):
            share = 1.0 if layer else self.options.first_weight
            for ours, theirs in zip(found, target, strict=True):
                distance = distance + share * torch.linalg.vector_norm(ours - theirs, dim=1)
        return known.view(groups, each).mean(1) + (self.options.weight or 0.0) * distance

    def shown(self, iteration: int) -> Tensor:
        """The images as the teacher is shown them: each group's cropped, flipped, rolled as one."""
        views = self.plan.batch(iteration, 0)
        places = views.index.argsort()[self.block]
        # All that `look` reads.
        views = replace(
            views, index=views.index[places], crop=views.crop[places], flip=views.flip[places]
        ).to(self.canvas.device)
        words = random_words(self.plan.seed, iteration, ROLL, SAMPLE, 2 * self.plan.images)
        most = self.options.roll or 0
        least = -most if self.options.both_ways else 0
        shift = (words % (most - least + 1)).astype("int64") + least
        shift = torch.from_numpy(shift).view(-1, 2)[self.block]
        shift = shift.to(self.canvas.device, non_blocking=True)
        # A group's images as channels of one, since they share all that happens to them.
        as_one = self.canvas.flatten(1, 2)
        return roll(look(as_one, views), shift).view_as(self.canvas)

    @torch.no_grad()
    def pixels(self) -> Tensor:
        """The images as they are kept, uint8 (G * n, C, R, R), on the CPU."""
        levels = ((self.canvas * self.std + self.mean) * 255).round().clamp(0, 255)
        return levels.flatten(0, 1).to(torch.uint8).cpu()


def crops(task: ImageTask, options: Options, images: int, batch_size: int, epochs: int) -> ViewPlan:
    """Random crops, mirrored where the dataset's images may be."""
    assert options.crop_low is not None
    flip = 0.5 if options.flip and task.dataset.mirror else 0.0
    augmentation = Augmentation((options.crop_low, 1.0), flip=flip, mix="none")
    side = task.dataset.train.resolution
    return ViewPlan(task.seed, images, side, batch_size, epochs, augmentation)


def noise(seed: int, image: int, shape: tuple[int, int, int]) -> Tensor:
    """Standard normal numbers, float32, where the image of this number starts."""
    channels, height, width = shape
    words = random_words(seed, image, NOISE, SAMPLE, channels * height * width)
    uniform = torch.from_numpy(unit(words)).clamp(min=2.0**-53)
    return torch.special.ndtri(uniform).float().view(shape)


def roll(pixels: Tensor, shift: Tensor) -> Tensor:
    """Each of `pixels` (G, C, R, R) moved circularly down and right by its `shift` (G, 2)."""
    side = torch.arange(pixels.shape[-1], device=pixels.device)
    rows, columns = (side - shift.T[..., None]) % len(side)
    pixels = pixels.gather(2, rows[:, None, :, None].expand_as(pixels))
    return pixels.gather(3, columns[:, None, None, :].expand_as(pixels))
