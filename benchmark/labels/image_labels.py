"""One label an image, in the forms it can be shipped: what methods of learnt labels share."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Self, TypeVar

import torch
from torch import Tensor

from ..core.errors import ArtefactError, UserError
from ..data.views import ViewBatch
from .artefact import Artefact, StoredTensor
from .container import container_bytes, like
from .contract import LabelSource
from .packing import pack, packed_bytes, unpack, width_for
from .task import LabelTask, TaskShape

LabelForm = Literal["fp16", "int8", "top-k"]


@dataclass(frozen=True)
class ImageLabelOptions:
    """How labels are shipped; subclasses add what is theirs.

    Attributes:
        form: `fp16`, all classes; `int8`, all classes as bytes; `top-k`, the k most likely
            classes alone, as indices and bytes. A byte budget chooses the first that fits.
        k: classes that `top-k` keeps, at most all; a byte budget chooses the most that fit.
    """

    form: LabelForm = "fp16"
    k: int = 5

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")


FormT = TypeVar("FormT", bound=ImageLabelOptions)


class ImageLabels(LabelSource[FormT]):
    """Probabilities of each image, blended by the mix of each view.

    What `fit` returns holds the labels as they will be loaded, so nothing changes by shipping.

    Attributes:
        labels: float32 (N, C) on the task's device; rows sum to 1.
    """

    space = "probabilities"

    def __init__(self, task: LabelTask, options: FormT, labels: Tensor) -> None:
        """Keep `labels`, probabilities (N, C), as the form leaves them.

        Raises:
            UserError: a row is negative somewhere, not finite, or all zeros.
        """
        super().__init__(task, options)
        refuse_bad(labels, self.name)
        self._parts = encode(labels.detach().float().cpu(), options.form, options.k)
        self.labels = decode(self._parts, task.classes).to(task.device)

    @classmethod
    def resolve_options(cls, options: FormT, shape: TaskShape, budget: int | None) -> FormT:
        """Under a budget: the richest form that fits it, and the largest k."""
        options = replace(options, k=min(options.k, shape.classes))
        if budget is None:
            return options

        def container(form: LabelForm, k: int) -> int:
            parts = stand_ins(shape.images, shape.classes, form, k)
            return container_bytes(cls.name, replace(options, form=form, k=k), shape, parts, budget)

        def taken(form: LabelForm, k: int) -> int:
            return label_bytes(shape.images, shape.classes, form, k)

        for form in ("fp16", "int8"):
            if container(form, options.k) + taken(form, options.k) <= budget:
                return replace(options, form=form)
        room = budget - container("top-k", shape.classes)
        for k in range(shape.classes, 0, -1):
            if taken("top-k", k) <= room:
                return replace(options, form="top-k", k=k)
        raise UserError(
            f"{cls.name} cannot meet a budget of {budget:,} bytes: the least it can take is "
            f"{budget - room + taken('top-k', 1):,}, for {shape.images} labels of one class each "
            "and the container."
        )

    @classmethod
    def label_bytes(cls, options: FormT, shape: TaskShape) -> int:
        return label_bytes(shape.images, shape.classes, options.form, options.k)

    def tensors(self) -> Iterable[StoredTensor]:
        for name, part in self._parts.items():
            yield StoredTensor(name, "indices" if name == "indices" else "values", part)

    @classmethod
    def restore(cls, task: LabelTask, options: FormT, shipped: Artefact) -> Self:
        return cls(task, options, decode(checked(shipped, task.shape), task.classes))

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        return self.task.mixed(self.labels, views)


def checked(shipped: Artefact, shape: TaskShape) -> Mapping[str, Tensor]:
    """An artefact's tensors, if they can be what `encode` gave.

    Raises:
        ArtefactError: they are of other types or shapes, or name no class.
    """
    if not _fits(shipped.tensors, shape):
        raise ArtefactError(
            f"{str(shipped.folder)!r} does not hold {shape.images} labels of {shape.classes} "
            "classes."
        )
    return shipped.tensors


def _fits(parts: Mapping[str, Tensor], shape: TaskShape) -> bool:
    values, indices, classes = parts.get("values"), parts.get("indices"), shape.classes
    if values is None or values.dtype not in (torch.float16, torch.uint8):
        return False
    if values.ndim != 2 or len(values) != shape.images:
        return False
    if indices is None:
        return values.shape[1] == classes
    count, width = values.numel(), width_for(classes)
    if not 1 <= values.shape[1] <= classes or indices.dtype != torch.uint8:
        return False
    if indices.shape != (packed_bytes(count, width),):
        return False
    return int(unpack(indices, width, 0, count).max()) < classes


def refuse_bad(labels: Tensor, name: str) -> None:
    """Raise a UserError unless each row of labels (N, C) can be probabilities."""
    rows = labels.detach().float()
    faults = {
        "is not finite": ~rows.isfinite().all(1),
        "is negative for some class": (rows < 0).any(1),
        "is zero for every class": (rows == 0).all(1),
    }
    for fault, where in faults.items():
        if where.any():
            number = int(where.int().argmax())
            raise UserError(f"{name}: the label of image {number} {fault}.")


def encode(labels: Tensor, form: LabelForm, k: int) -> dict[str, Tensor]:
    """Probabilities (N, C) as they are shipped: `values`, and `indices` where some are left out.

    Values are in proportion to the row's largest, which is 1 as fp16 and 255 as a byte. So no
    scale is needed, and what `decode` gives is encoded as the same numbers again.
    """
    shares = labels / labels.amax(1, keepdim=True)
    if form == "fp16":
        return {"values": shares.half()}
    if form == "int8":
        return {"values": whole(shares)}
    classes = labels.shape[1]
    kept = shares.topk(min(k, classes), 1)
    return {"values": whole(kept.values), "indices": pack(kept.indices, width_for(classes))}


def decode(parts: Mapping[str, Tensor], classes: int) -> Tensor:
    """The probabilities that `encode` stored, float32 (N, C); classes left out are at zero."""
    values = parts["values"].float()
    if "indices" in parts:
        indices = unpack(parts["indices"], width_for(classes), 0, values.numel())
        values = torch.zeros(len(values), classes).scatter(1, indices.view(values.shape), values)
    return values / values.sum(1, keepdim=True)


def whole(shares: Tensor) -> Tensor:
    """Numbers in 0..1 as bytes."""
    return (shares * 255).round().to(torch.uint8)


def stand_ins(images: int, classes: int, form: LabelForm, k: int) -> list[StoredTensor]:
    """What would be shipped of so many labels, without values."""
    if form == "fp16":
        return [like("values", "values", torch.float16, images, classes)]
    if form == "int8":
        return [like("values", "values", torch.uint8, images, classes)]
    count = images * min(k, classes)
    return [
        like("values", "values", torch.uint8, images, min(k, classes)),
        like("indices", "indices", torch.uint8, packed_bytes(count, width_for(classes))),
    ]


def label_bytes(images: int, classes: int, form: LabelForm, k: int) -> int:
    """Bytes of all labels, without the container."""
    return sum(part.bytes for part in stand_ins(images, classes, form, k))
