"""Medoids: the real images of each class that are nearest to its mean."""

from dataclasses import dataclass

import torch
from torch import nn

from benchmark import Dataset, ImageSource, ImageTask, ResidentImages, UserError


@dataclass(frozen=True)
class Options:
    """What can be chosen.

    Attributes:
        power: of the distance between pixels: 2 is Euclidean, 1 sums absolute differences.
    """

    power: float = 2.0

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise ValueError(f"power must be positive, got {self.power}")


class Medoids(ImageSource[Options]):
    """Real images, chosen without a teacher."""

    def validate(self, dataset: Dataset, ipc: int, network: nn.Module) -> None:
        fewest = int(dataset.train.labels.bincount(minlength=len(dataset.class_names)).min())
        if not 1 <= ipc <= fewest:
            raise UserError(f"IPC must be from 1 to {fewest}, got {ipc}.")

    def make(self, task: ImageTask) -> ResidentImages:
        train, chosen = task.dataset.train, []
        for label in range(len(task.dataset.class_names)):
            members = torch.nonzero(train.labels == label).squeeze(1)
            pixels = train.take(members).cpu().float().flatten(1)
            away = torch.cdist(pixels, pixels.mean(0, keepdim=True), p=self.options.power)
            chosen.append(members[away.squeeze(1).argsort(stable=True)[: task.ipc]])
        rows = torch.cat(chosen)
        return ResidentImages(train.take(rows).cpu(), train.labels[rows].cpu(), train.class_names)
