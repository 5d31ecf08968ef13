"""Given: one soft label an image, which whoever distilled the images made with them.

DATM and FRePo learn labels with the images, and DD-Ranking asks for them; they lie in
`labels_best.pt` beside the images, or in one file with them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch
from torch import Tensor

from benchmark.core.errors import UserError
from benchmark.core.needs import Needs
from benchmark.core.progress import say
from benchmark.data.tensors_of_others import files_of, read_soft_labels
from benchmark.labels.image_labels import ImageLabelOptions, ImageLabels
from benchmark.labels.task import LabelTask
from benchmark.models import joins
from benchmark.models.agreement import agreement


@dataclass(frozen=True)
class Options(ImageLabelOptions):
    """Which labels, and what they are.

    Attributes:
        form, k: how labels are shipped; see `benchmark.labels.image_labels`.
        path: the file of the images that were given as `path:FILE`, with its labels in it or
            beside it; or that of the labels.
        space: `probabilities`; `logits`, of which the softmax is taken; `auto` tells them apart
            by whether all rows are shares of one, and says so.
        temperature: of that softmax.
        experiment: only of DC's and DSA's files: which of their experiments.
    """

    path: str = ""
    space: Literal["auto", "probabilities", "logits"] = "auto"
    temperature: float = 1.0
    experiment: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")


class Given(ImageLabels[Options]):
    """The probabilities that others gave each image."""

    required = "path"
    title = "Given labels"
    paper = "Guo et al., DATM, ICLR 2024, arXiv 2310.05773, section 3.3"

    @classmethod
    def needs(cls, options: Options) -> Needs:
        if not options.path:
            raise UserError("given needs given.path: the file of images whose labels to take.")
        return Needs(files=files_of(Path(options.path)))

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        """The labels, row by row for the images of the task.

        Raises:
            UserError: the file has none but classes, or they are of other images or classes.
        """
        file, images = Path(options.path), task.images
        rows = read_soft_labels(file, options.experiment)
        if tuple(rows.shape) != (len(images), task.classes):
            raise UserError(
                f"{str(file)!r} has labels {tuple(rows.shape)}, but there are {len(images)} images "
                f"of {task.classes} classes: take all of its images."
            )
        # Images stand class by class here, and know their places in the file.
        rows = rows if images.positions is None else rows[images.positions]
        found = agreement(rows.argmax(1), images.labels, task.classes)
        joins.check_labels(found, images.class_names, repr(str(file)), task.accepted)
        return cls(task, options, _probabilities(rows, options, file))


def _probabilities(rows: Tensor, options: Options, file: Path) -> Tensor:
    whole = torch.allclose(rows.sum(1), torch.ones(len(rows)), atol=1e-3)
    shares = whole and bool((rows >= 0).all())
    if options.space == "auto" and not shares:
        say(f"the labels of {file.name} are no shares of one: they are taken as logits")
    if options.space == "logits" or (options.space == "auto" and not shares):
        return (rows / options.temperature).softmax(1)
    if not shares:
        raise UserError(f"The labels of {str(file)!r} are no probabilities: given.space=logits.")
    return rows
