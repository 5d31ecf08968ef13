"""Foreign: real images of another dataset, which show none of the task's classes.

For labels that are learned across datasets (Bohdal et al., arXiv 2006.08572, section 4.3):
`foreign:omniglot:Latin` under `--dataset omniglot:Japanese_(katakana)`. As in the authors' code,
classes do not matter: the first of one shuffled pass over the other training set, IPC x the
task's classes in all. They are enlarged or shrunk to the task's resolution, and grey or coloured
as its images are. They have no labels of their own, so `hard` and `smoothed` cannot use them.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.needs import Needs
from benchmark.core.work import Work
from benchmark.data.images import UNLABELLED, Dataset, ResidentImages
from benchmark.data.views import SAMPLE, permutation, random_words
from benchmark.models.image_source import ImageSource, ImageTask


@dataclass(frozen=True)
class Options:
    """Which images.

    Attributes:
        dataset: whose training images are taken, named as for `--dataset`.
        draw: which of several random sets.
    """

    dataset: str = ""
    draw: int = 0

    def __post_init__(self) -> None:
        if not self.dataset:
            raise ValueError("dataset must name one, as in foreign:omniglot:Latin")
        if self.draw < 0:
            raise ValueError(f"draw must not be negative, got {self.draw}")


class Foreign(ImageSource[Options]):
    """Random real images of another dataset."""

    paper = "Bohdal et al., Flexible Dataset Distillation, arXiv 2006.08572"
    argument = "dataset"
    draws = "draw"
    labelled = False

    def needs(self, ipc: int) -> Needs:
        return Needs(datasets=(self.options.dataset,))

    def work(self, dataset: Dataset, ipc: int) -> Work:
        return Work()

    def make(self, task: ImageTask) -> ResidentImages:
        """Random training images of the other dataset, as unlabelled images of this one.

        Raises:
            UserError: the other dataset has too few.
        """
        own, other = task.dataset, task.others[self.options.dataset]
        count = task.ipc * len(own.class_names)
        if len(other.train) < count:
            raise UserError(
                f"IPC {task.ipc} needs {count} images, but {self.options.dataset} has "
                f"{len(other.train)}: "
                f"choose an IPC of at most {len(other.train) // len(own.class_names)}."
            )
        words = random_words(task.seed, self.options.draw, 0, SAMPLE, len(other.train))
        chosen = torch.from_numpy(permutation(words))[:count]
        pixels = fitted(other.train.take(chosen).cpu(), own.train.channels, own.train.resolution)
        return ResidentImages(pixels, torch.full((count,), UNLABELLED), own.class_names)


def fitted(pixels: Tensor, channels: int, resolution: int) -> Tensor:
    """Images uint8 (N, 1 or 3, r, r) with other channels and another resolution."""
    shown = pixels.float()
    if channels == 1 and shown.shape[1] == 3:
        shown = (shown * shown.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, True)
    shown = shown.expand(-1, channels, -1, -1)
    if shown.shape[-1] != resolution:
        shown = F.interpolate(
            shown, resolution, mode="bilinear", antialias=shown.shape[-1] > resolution
        )
    return shown.round().clamp(0, 255).to(torch.uint8).contiguous()
