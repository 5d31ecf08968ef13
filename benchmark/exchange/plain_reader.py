"""Which labels a few lines can read without this suite, in the families where that is so.

Views follow from the plan's seed by NumPy's Philox words and a few rules, so a script can draw
and render them: `templates/reader.py` is one, and the card holds it where it reads the labels. It
has no Cutout, and knows labels that belong to images or to their classes, and those of all views.
What prunes, quantises or reorders labels of views, runs a network, or has a loss of its own needs
`open_labels`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..core.errors import UserError
from ..data.rendering import render
from ..labels.class_labels import ClassLabels
from ..labels.contract import LabelSource, method
from ..labels.image_labels import ImageLabels
from ..labels.manifest import Manifest


@dataclass(frozen=True)
class Family:
    """How the labels of an artefact are stored.

    Attributes:
        kind: `classes`, nothing is stored; `images`, one label an image; `views`, the logits of
            every view of the plan.
        smoothing: of `classes`: the share that is spread over all classes.
    """

    kind: Literal["classes", "images", "views"]
    smoothing: float = 0.0


def candidate(manifest: Manifest) -> Family | None:
    """The family that labels may be of, by their manifest and method; None if of none.

    `confirmed` asks the labels themselves.
    """
    if "whitened" in manifest or manifest["plan"]["augmentation"]["cutout"]:
        return None
    try:
        cls: Any = method(manifest["method"])
    except UserError:  # a plugin that is not there
        return None
    if cls.views is not LabelSource.views or cls.loss is not LabelSource.loss:
        return None
    if issubclass(cls, ClassLabels):
        amount = manifest["options"].get("amount", 0.0)
        return Family("classes", amount) if isinstance(amount, float | int) else None
    if issubclass(cls, ImageLabels):
        return Family("images") if cls.targets is ImageLabels.targets else None
    plan, stored = manifest["plan"], manifest["tensors"]
    rows = plan["images"] * plan["epochs"]
    if cls.space == "logits" and [*stored] == ["logits"] and stored["logits"]["shape"][0] == rows:
        return Family("views")
    return None


def confirmed(family: Family, source: LabelSource[Any], stored: Mapping[str, Tensor]) -> bool:
    """Whether the first batch's targets are what the family's reader makes of what is stored."""
    task = source.task
    views = next(iter(source.views(0)))
    targets = source.targets(views, render(task.images.pixels, views), 0)
    if family.kind == "images":
        return True  # by the method's own code
    if family.kind == "views":
        return torch.equal(targets, stored["logits"][task.plan.rows(0, 0)].float())
    share = family.smoothing
    return torch.equal(targets, (1 - share) * task.hard_labels(views) + share / task.classes)
