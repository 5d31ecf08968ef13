"""Several teachers as one: the mean of their logits."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from ..core.needs import Needs
from ..core.work import TEACHER, Passes
from .task import Amounts, LabelTask

Teachers = Literal["final", "trajectory"]


class Mean(nn.Module):
    """The mean of several networks' logits."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, C) of pixels (B, channels, R, R) in 0..1."""
        return torch.stack([network(pixels) for network in self.networks]).mean(0)


def needs_of(teachers: Teachers) -> Needs:
    """What `taught_by` asks the task for."""
    return Needs(teacher=teachers == "final", snapshots=teachers == "trajectory")


def labelling(teachers: Teachers, views: int, batch: int, amounts: Amounts) -> Passes:
    """What it takes to have so many views labelled by `taught_by`."""
    each = 1 if teachers == "final" else amounts.snapshots
    return Passes(TEACHER, each * views, batch)


def taught_by(task: LabelTask, teachers: Teachers) -> LabelTask:
    """The task with its `final` teacher, or the mean of weak ones along a `trajectory`, for one.

    Raises:
        UserError: there are no weak teachers; see `LabelTask.snapshots`.
    """
    if teachers == "final":
        return task
    teacher, shards = Mean(task.snapshots()), task.label_shards
    shards = shards and shards.of(task.images, teacher, teachers)
    return replace(task, teacher=teacher, label_shards=shards)  # type: ignore[arg-type]
