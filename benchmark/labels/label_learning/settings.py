"""The options that all ways of learning labels share."""

from dataclasses import dataclass, replace
from typing import Self

from ...models import networks
from ..image_labels import ImageLabelOptions
from ..task import TaskShape
from ..validation import usual_convnet
from .learner import Optimiser

AUTO = "auto"


@dataclass(frozen=True)
class Learning(ImageLabelOptions):
    """How labels are learned; defaults are the authors', but for `learners`, `epochs`.

    Attributes:
        learners: networks that labels are learned with, in turn: each reset takes the next, so
            that labels serve more than one. `auto` is a ConvNet of width 32 whose depth fits the
            resolution (see `benchmark.labels.validation`); the authors' are `alexnet` and `lenet`.
        epochs: passes over the real images; the authors make 400, or 800 where more than a
            hundred images or ten classes are to be labelled.
        outer_batch: real images a step (n_o).
        inner_batch: distilled images a step (n_i); 0 takes half of them, at least 10 and at
            most 50, or as many as there are classes where that is more.
        label_optimiser, label_lr: what moves the labels; `sgd` is plain gradient descent.
        network_optimiser, network_lr: what moves the networks.
        window: outer errors that are summed, to see when a network is begun anew; 0 takes 50,
            200 with more than a hundred distilled images, 100 with more than ten classes.
        held_out: share of the real images kept apart, on which the labels to ship are chosen.
        select_every: epochs between two looks at the held-out images.
    """

    learners: tuple[str, ...] = (AUTO,)
    epochs: int = 100
    outer_batch: int = 1024
    inner_batch: int = 0
    label_optimiser: Optimiser = "adam"
    label_lr: float = 1e-3
    network_optimiser: Optimiser = "adam"
    network_lr: float = 1e-3
    window: int = 0
    held_out: float = 0.1
    select_every: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.learners:
            raise ValueError("learners must name at least one network")
        for name in self.learners:
            if name != AUTO:
                networks.require(name)
        for name in ("epochs", "outer_batch", "select_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("inner_batch", "window"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("label_lr", "network_lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be a share above 0 and below 1, got {self.held_out}")

    def sized(self, shape: TaskShape) -> Self:
        """The same with learners, batch and window that fit the task, where they were left open."""
        images, classes = shape.images, shape.classes
        half = min(max(images // 2, 10, classes), max(50, classes))
        window = 100 if classes > 10 else 200 if images > 100 else 50
        usual = usual_convnet(shape.resolution, width=32)
        return replace(
            self,
            learners=tuple(usual if name == AUTO else name for name in self.learners),
            inner_batch=min(self.inner_batch or half, images),
            window=self.window or window,
        )
