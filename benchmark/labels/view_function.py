"""A label as a function of its view: of which image, which part, which partner, which box.

A teacher's logits follow the view's geometry so closely that a ridge regression on a few numbers
of it explains most of them. Each image has coefficients of its own, as the view's own image and
as the partner mixed in, and so has each class; in all

    logits(view) = A[class] p + B[partner's class] q + C[image] r + D[partner] s

with p, q, r, s small bases of the geometry (`ViewBasis`). The prior of a coefficient, normal
around zero, is a share of the labels' own power, so the same numbers serve logits of any scale.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from ..data.recipe import Augmentation
from ..data.views import ViewBatch
from .ridge import Design
from .scratch import scratch_tensor
from .task import LabelTask

OF_IMAGE = 17  # coefficients of an image, on its own and as a partner, where all is varied
OF_CLASS = 6  # of a class

# Prior powers of coefficients, as shares of the labels': of a constant, of the hidden share and
# its root, of the place of the box, of a flip, of the crop.
CONSTANT, SHARE, PLACE, FLIP, CROP = 0.3, 0.4, 0.3, 0.025, 0.1
OF_CLASSES = 0.8
PARTNER_CONSTANT, PARTNER_ROOT = 0.05, 0.1


@dataclass(frozen=True)
class ViewBasis:
    """Which numbers of a view's geometry enter; those that the plan's augmentation varies.

    Attributes:
        mix: how views are mixed; without, there are no partners.
        flip, crops: whether views are mirrored, and whether they show a part of the image.
    """

    mix: str
    flip: bool
    crops: bool

    @classmethod
    def of(cls, augmentation: Augmentation) -> "ViewBasis":
        whole = augmentation.crop_scale == augmentation.crop_ratio == (1, 1)
        return cls(augmentation.mix, 0 < augmentation.flip < 1, not whole)

    def blocks(self, views: ViewBatch) -> dict[str, Tensor]:
        """The design of a batch, by what each block's coefficients belong to.

        Returns:
            Of `class`, `partner class`, `image` and `partner`, as far as there are any, float64
            (B, K), on the views' device; each column is scaled by the root of its prior power.
        """
        one = torch.ones_like(views.mix_weight, dtype=torch.float64)
        hidden = 1 - views.mix_weight.double()
        root, there = hidden.sqrt(), (hidden > 0).double()
        mirror = 2 * views.flip.double() - 1
        classes, own = [(one, OF_CLASSES)], [(one, CONSTANT)]
        partner_classes, partner = list[tuple[Tensor, float]](), list[tuple[Tensor, float]]()
        if self.mix != "none":
            classes += [(hidden, OF_CLASSES), (root, OF_CLASSES)]
            partner_classes += [(b, OF_CLASSES) for b in (there, hidden, root)]
            own += [(hidden, SHARE)]
            partner += [(there, PARTNER_CONSTANT), (hidden, SHARE), (root, PARTNER_ROOT)]
        if self.mix == "cutmix":
            for offset in _offsets(views.mix_box):
                own += [(hidden * offset, PLACE), (hidden * offset**2, PLACE)]
        if self.flip:
            own += [(mirror, FLIP)]
            partner += [(mirror[views.partner] * there, FLIP)] if partner else []
        if self.crops:
            area = (views.crop[:, 2] * views.crop[:, 3]).double().log()
            seen = [*_offsets(views.crop), area]
            own += [(b, CROP) for b in seen]
            partner += [(b[views.partner] * hidden, CROP) for b in seen] if partner else []
        named = ("class", classes), ("partner class", partner_classes), ("image", own)
        return {
            name: torch.stack([column * power**0.5 for column, power in block], 1)
            for name, block in (*named, ("partner", partner))
            if block
        }


def _offsets(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Of the boxes' centres from the image's, down and right; shares of the side."""
    centre = boxes[:, :2].double() + boxes[:, 2:].double() / 2 - 0.5
    return centre[:, 0], centre[:, 1]


@dataclass(frozen=True)
class ViewFunction:
    """The function of one set of images, on the device where the images' classes are.

    Attributes:
        basis: of the geometry.
        classes: of the images, int64 (N,); where they show none of the target's, none has
            coefficients.
        count: how many classes there are; 0 where images show none of them.
    """

    basis: ViewBasis
    classes: Tensor
    count: int

    def design(self, batches: Sequence[ViewBatch]) -> Design:
        """The views of batches, in order."""
        made = [self._rows(views) for views in batches]
        columns, values, entities = zip(*made, strict=True)
        return Design(torch.cat(columns), torch.cat(values), entities[0])

    def stored_design(self, batches: Iterable[ViewBatch], count: int, folder: Path) -> Design:
        """The `count` views of many batches, in order; in files of `folder` if it is large."""
        made = map(self._rows, batches)
        begin = next(made)
        shape, entities = (count, begin[0].shape[1]), begin[2]
        columns = scratch_tensor(folder, torch.int32, *shape)
        values = scratch_tensor(folder, torch.float64, *shape)
        first = 0
        for some, numbers, _ in chain([begin], made):
            rows = slice(first, first + len(some))
            columns[rows], values[rows] = some, numbers
            first = rows.stop
        return Design(columns, values, entities, folder)

    def _rows(self, views: ViewBatch) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        own = views.index
        of = {"image": own, "partner": own[views.partner]}
        of |= {"class": self.classes[own], "partner class": self.classes[of["partner"]]}
        columns, values, entities = list[Tensor](), list[Tensor](), list[int]()
        for name, block in self.basis.blocks(views).items():
            count = self.count if name.endswith("class") else len(self.classes)
            if not count:
                continue
            width = block.shape[1]
            first = sum(entities) + count * torch.arange(width, device=own.device)
            columns.append(first + of[name][:, None])
            values.append(block)
            entities += [count] * width
        return torch.cat(columns, 1), torch.cat(values, 1), tuple(entities)


def view_function(task: LabelTask, device: torch.device | str) -> ViewFunction:
    """Of a task's images and plan, on `device`."""
    images = task.images
    classes = images.labels.to(device)
    count = task.classes if images.labelled else 0
    return ViewFunction(ViewBasis.of(task.plan.augmentation), classes, count)
