"""Pooled: a linear map on shrunk pixels makes the labels online, so that no label is stored.

Its size is known from the task alone: `side` x `side` pixels of each channel, and the classes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from benchmark import (
    Artefact,
    LabelSource,
    LabelTask,
    StoredTensor,
    TaskShape,
    UserError,
    ViewBatch,
)
from benchmark.labels.distill import DistillOptions, distill
from benchmark.labels.weights import BITS, WeightForm, decode, encode


@dataclass(frozen=True)
class Options:
    """What can be chosen.

    Attributes:
        side: pixels a side that the map sees.
        epochs: passes over the real images, in which it learns from the teacher.
        weights: in which it is shipped.
    """

    side: int = 4
    epochs: int = 5
    weights: WeightForm = "fp16"

    def __post_init__(self) -> None:
        if self.side < 1 or self.epochs < 1:
            raise ValueError(f"side and epochs must be at least 1, got {self}")


class Pooled(LabelSource[Options]):
    """Logits of the map on every view's pixels."""

    space = "logits"

    def __init__(self, task: LabelTask, options: Options, weights: list[Tensor]) -> None:
        super().__init__(task, options)
        self.weights = weights
        self.map = untrained(task, options).to(task.device)
        for parameter, value in zip(self.map.parameters(), weights, strict=True):
            parameter.data.copy_(value)

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        least = (options.side**2 + 1) * shape.classes * BITS[options.weights] // 8
        if budget is not None and least > budget:
            raise UserError(f"{cls.name} ships at least {least:,} bytes, above {budget:,}.")
        return options

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        teacher, _, scratch = task.fitting()
        torch.manual_seed(task.seed)
        network = untrained(task, options).to(task.device)
        told = distill(
            task, network, [teacher], DistillOptions(options.epochs), "fit", scratch / "w"
        )
        shapes = [p.shape for p in network.parameters()]
        parts = encode([p.detach().cpu() for p in network.parameters()], options.weights)
        stored = {part.name: part.tensor for part in parts if isinstance(part.tensor, Tensor)}
        made = cls(task, options, decode(stored, options.weights, shapes))
        made.notes["agreement"] = told["agreement"]
        return made

    def tensors(self) -> Iterable[StoredTensor]:
        return encode([value.cpu() for value in self.weights], self.options.weights)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        shapes = [p.shape for p in untrained(task, options).parameters()]
        return cls(task, options, decode(shipped.tensors, options.weights, shapes))

    @property
    def network(self) -> nn.Module:
        return self.map

    @torch.no_grad()
    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        return self.map(images)


def untrained(task: LabelTask, options: Options) -> nn.Module:
    """The map, which takes pixels (B, channels, R, R) in 0..1."""
    linear = nn.Linear(task.images.channels * options.side**2, task.classes)
    return nn.Sequential(nn.AdaptiveAvgPool2d(options.side), nn.Flatten(), linear)
