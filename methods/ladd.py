"""LADD: one soft label for each of N x N fixed sub-images of an image, beside its class.

Kang, Lim and Shim, "Label-Augmented Dataset Distillation" (WACV 2025, arXiv 2409.16239): each
distilled image is cut into N x N overlapping sub-images at a fixed stride, a labeler gives each a
dense label, and students train on whole images with their own labels and on sub-images with the
dense ones. No code was published, and the text was not at hand in full; N = 5 and sides of 62.5 %
are the paper's as far as known. What differs or was left open, and our choice:

- the labeler is the task's teacher; theirs is trained for it. Its temperature is an option.
- an image's own label is its class, which takes no bytes; theirs is what its distillation gave.
- a batch shows sub-images and whole images together, each view by lot (`local`), so that steps and
  batch are the recipe's. Which sub-image, too, is drawn by the plan's seed, alike for all students.
- views of whole images are the recipe's, which may crop. Sub-images are enlarged to a whole
  image's side, flipped and mixed as the recipe has it; mixed labels are blended by area.
- there are no more sub-images along a side than have places of their own, pixel by pixel.
- labels are shipped as `ImageLabels` are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.progress import track
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.rendering import render
from benchmark.data.views import SAMPLE, ViewBatch, random_words, unit
from benchmark.labels.artefact import Artefact
from benchmark.labels.image_labels import ImageLabelOptions, ImageLabels, checked, decode
from benchmark.labels.task import Amounts, LabelTask, TaskShape
from benchmark.labels.validation import BLOCK


@dataclass(frozen=True)
class Options(ImageLabelOptions):
    """Which sub-images there are, how they are labelled, shown and shipped.

    Attributes:
        form, k: how labels are shipped; see `benchmark.labels.image_labels`. A byte budget takes
            fewer sub-images before it goes below `k` classes a label.
        n: sub-images along each side of an image (N).
        side: of a sub-image, as a share of the image's; above 0 and at most 1.
        temperature: at which the teacher's logits become dense labels.
        local: share of the views that show a sub-image, 0 to 1.
    """

    n: int = 5
    side: float = 0.625
    temperature: float = 1.0
    local: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n < 1 or not self.temperature > 0:
            raise ValueError(
                f"n must be at least 1 and temperature positive, got {self.n}, {self.temperature}"
            )
        if not 0 < self.side <= 1 or not 0 <= self.local <= 1:
            raise ValueError(
                "side must be a share above 0 and local one of at least 0, both at most 1, got "
                f"{self.side}, {self.local}"
            )


class LADD(ImageLabels[Options]):
    """Dense labels of sub-images, and the class of whole images.

    Attributes:
        labels: of the sub-images, float32 (N x n x n, C): image by image, row by row.
    """

    paper = "Kang, Lim and Shim, Label-Augmented Dataset Distillation, WACV 2025, arXiv 2409.16239"

    def __init__(self, task: LabelTask, options: Options, labels: Tensor) -> None:
        super().__init__(task, options, labels)
        self.boxes = boxes(options.n, options.side, task.plan.resolution)
        # Each image's dense labels, and its class at the end.
        dense = self.labels.view(len(task.images), -1, task.classes)
        self.table = torch.cat([dense, task.one_hot[:, None]], 1).flatten(0, 1)

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        places = shape.resolution - pixels_of(options.side, shape.resolution) + 1
        most = min(options.n, places)
        for n in range(most, 1, -1):
            wished = replace(options, n=n)
            try:
                found = super().resolve_options(wished, sub_images(shape, n), budget)
            except UserError:
                continue
            if found.form != "top-k" or found.k >= min(options.k, shape.classes):
                return found
        return super().resolve_options(replace(options, n=1), shape, budget)

    @classmethod
    def label_bytes(cls, options: Options, shape: TaskShape) -> int:
        return super().label_bytes(options, sub_images(shape, options.n))

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        return Work((Passes(TEACHER, sub_images(amounts.shape, options.n).images, BLOCK),))

    @classmethod
    @torch.no_grad()
    def fit(cls, task: LabelTask, options: Options) -> Self:
        teacher, _, _ = task.fitting()
        rows = []
        for numbers in track(torch.arange(len(task.images)).split(BLOCK), "label sub-images"):
            each = []
            for box in boxes(options.n, options.side, task.plan.resolution):
                views = plain(numbers, box).to(task.device)
                logits = teacher(render(task.images.pixels, views))
                each.append((logits.float() / options.temperature).softmax(1))
            rows.append(torch.stack(each, 1).flatten(0, 1))
        return cls(task, options, torch.cat(rows))

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        parts = checked(shipped, sub_images(task.shape, options.n))
        return cls(task, options, decode(parts, task.classes))

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        """The plan's, but for the crops of those that show sub-images."""
        for views in self.task.plan.epoch(epoch):
            shown = self.shown(views)
            local = (shown < len(self.boxes))[:, None]
            box = self.boxes[shown.clamp_max(len(self.boxes) - 1)]
            yield replace(views, crop=torch.where(local, box, views.crop))

    def shown(self, views: ViewBatch) -> Tensor:
        """The sub-image that each view of a batch shows; n x n for a whole image; int64 (B,)."""
        count, cells = len(views), len(self.boxes)
        words = random_words(self.task.plan.seed, views.epoch, views.batch, SAMPLE, 2 * count)
        local = unit(words[:count]) < self.options.local
        cell = np.floor(unit(words[count:]) * cells).astype(np.int64)
        return torch.from_numpy(np.where(local, cell, cells))

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        shown = self.shown(views).to(self.task.device, non_blocking=True)
        own = self.table[views.index * (len(self.boxes) + 1) + shown]
        weight = views.mix_weight[:, None]
        return weight * own + (1 - weight) * own[views.partner]


def sub_images(shape: TaskShape, n: int) -> TaskShape:
    """The sizes of a task with n x n images for each."""
    return replace(shape, images=shape.images * n * n)


def pixels_of(side: float, resolution: int) -> int:
    """Pixels along a sub-image's side, at least one."""
    return max(1, round(side * resolution))


def boxes(n: int, side: float, resolution: int) -> Tensor:
    """Where the n x n sub-images lie: evenly from edge to edge, on whole pixels; (n x n, 4).

    As crops of views: top, left, height, width, as shares of the image's side; row by row. A
    single one lies in the middle.
    """
    pixels = pixels_of(side, resolution)
    free = resolution - pixels
    places = [round(free * (i / (n - 1) if n > 1 else 0.5)) for i in range(n)]
    corners = [[top, left, pixels, pixels] for top in places for left in places]
    return torch.tensor(corners, dtype=torch.float32) / resolution


def plain(numbers: Tensor, box: Tensor) -> ViewBatch:
    """Views of these images that show this part of each, and nothing else."""
    count = len(numbers)
    none = torch.zeros(count, 4)
    return ViewBatch(
        index=numbers,
        crop=box.expand(count, 4),
        flip=torch.zeros(count, dtype=torch.bool),
        partner=torch.arange(count),
        mix_box=none,
        mix_opacity=torch.zeros(count),
        cutout_box=none,
        cutout_colour=torch.zeros(count, 3),
        epoch=0,
        batch=0,
        mixed=False,
        filled=False,
    )
