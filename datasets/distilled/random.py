"""Real images drawn at random: the control that distilled images must beat."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.core.errors import UserError
from benchmark.core.progress import track
from benchmark.core.work import Work
from benchmark.data.images import Dataset, ResidentImages
from benchmark.data.views import SAMPLE, permutation, random_words
from benchmark.models.image_source import ImageSource, ImageTask


@dataclass(frozen=True)
class Options:
    """draw: which of many random draws; images of two draws may coincide."""

    draw: int = 0

    def __post_init__(self) -> None:
        if self.draw < 0:
            raise ValueError(f"draw must not be negative, got {self.draw}")


class RandomImages(ImageSource[Options]):
    """Real images drawn at random."""

    draws = "draw"
    baseline = True
    by_class = True

    def validate(self, dataset: Dataset, ipc: int, network: nn.Module) -> None:
        for label, available in enumerate(dataset.train.labels.bincount().tolist()):
            check_enough(ipc, available, dataset.class_names[label], "the training set")

    def work(self, dataset: Dataset, ipc: int) -> Work:
        return Work(reads=ipc * len(dataset.class_names))

    def make(self, task: ImageTask) -> ResidentImages:
        """The first `ipc` training images of each class in its random order.

        The order does not depend on `ipc`: the images of IPC 1 are among those of IPC 10.

        Raises:
            UserError: `ipc` is below 1, or a class holds fewer images.
        """
        dataset, drawn = task.dataset, []
        for label in task.classes:
            order = random_order(dataset, label, task.seed, self.options.draw)
            check_enough(task.ipc, len(order), dataset.class_names[label], "the training set")
            drawn.append(order[: task.ipc])
        indices = torch.cat(drawn)
        side = dataset.train.resolution
        pixels = torch.empty(len(indices), dataset.train.channels, side, side, dtype=torch.uint8)
        for rows in track(torch.arange(len(indices)).split(256), "random images"):
            pixels[rows] = dataset.train.take(indices[rows]).cpu()
        return ResidentImages(pixels, dataset.train.labels[indices], dataset.class_names)


def random_order(dataset: Dataset, label: int, seed: int, draw: int = 0) -> Tensor:
    """All training images of one class in random order, int64 (n,), on the CPU."""
    members = torch.nonzero(dataset.train.labels == label).squeeze(1)
    words = random_words(seed, label, draw, SAMPLE, len(members))
    return members[torch.from_numpy(permutation(words))]


def check_enough(ipc: int, available: int, class_name: str, where: str, parts: int = 1) -> None:
    """Raise a UserError unless a class's `available` images give `ipc`, of `parts` each."""
    if ipc < 1:
        raise UserError(f"IPC must be at least 1, got {ipc}.")
    if available < ipc * parts:
        raise UserError(
            f"IPC {ipc} needs {ipc * parts} images of class {class_name!r}, but {where} has "
            f"{available}: choose an IPC of at most {available // parts}."
        )
