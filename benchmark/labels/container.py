"""What an artefact takes beside its tensors: foretold to the byte, or a few more, from sizes alone.

Under a byte budget a method must know what manifest and headers will take before there is a label.
`container_bytes` writes the very manifest that `save` will, with stand-ins for what is not known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from ..data.recipe import Augmentation
from ..data.views import ViewPlan
from ..records.ledger import Kind
from . import artefact, packed
from .artefact import StoredTensor
from .manifest import Requirement
from .task import Surround, TaskShape

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

UNKNOWN = "0" * 64  # any digest: they all take the same
SPARE = 12  # bytes: numbers that are not known yet may compress worse than their stand-ins


def described(
    method: str,
    options: "DataclassInstance",
    surround: Surround,
    images: str = UNKNOWN,
    classes: str = UNKNOWN,
    requires: Mapping[Literal["prior", "teacher"], Requirement] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The manifest of an artefact, but for its format and tensors.

    Args:
        images, classes: their digests.
    """
    plan, objective = asdict(surround.plan), asdict(surround.objective)
    # What few recipes have is told only by them: containers are counted.
    if not surround.plan.augmentation.dsa:
        del plan["augmentation"]["dsa"]
    if surround.objective.label_scale == 1:
        del objective["label_scale"]
    return {
        "method": method,
        "options": asdict(options),
        "images": images,
        "classes": classes,
        "plan": plan,
        "objective": objective,
        "mean": _short(surround.mean),
        "std": _short(surround.std),
        **({"whitened": True} if surround.whitened else {}),
        "requires": dict(requires or {}),
        "extra": dict(extra or {}),
    }


def container_bytes(
    method: str,
    options: "DataclassInstance",
    shape: TaskShape,
    tensors: Iterable[StoredTensor],
    budget: int,
    extra: Mapping[str, Any] | None = None,
) -> int:
    """What manifest and headers of such an artefact take at most, and seldom `SPARE` bytes less.

    Args:
        method: its name.
        options, extra: as `save` will write them, or longer: their numbers by any of as many
            digits.
        shape: of the task; where it does not know what surrounds it, usual things do.
        tensors: as `like` makes them, in the order in which they are shipped.
        budget: bytes that all may take, which decides the form.
    """
    surround = shape.surround or _usual(shape)
    told = described(method, options, surround, extra=extra)
    return artefact.container_bytes(told, list(tensors), budget) + SPARE


def stand_in(budget: int) -> int:
    """A number of bytes as long as any within a budget.

    The same for all budgets of one form, so that what is said to be the least is enough.
    """
    return 123_456 if budget <= packed.MOST_BYTES else budget


def like(
    name: str, kind: Kind, dtype: torch.dtype, *shape: int, numbers: int | None = None
) -> StoredTensor:
    """A tensor to be, without its values."""
    return StoredTensor(name, kind, torch.empty(shape, dtype=dtype, device="meta"), numbers)


def _short(values: Iterable[float]) -> list[float]:
    """The shortest numbers that are the same in single precision, in which students normalise."""
    return [float(str(np.float32(value))) for value in values]


def _usual(shape: TaskShape) -> Surround:
    augmentation = Augmentation((0.08, 1.0), (0.75, 1.3333333333333333))
    batch = shape.batch_size(0)
    return Surround(ViewPlan(0, shape.images, shape.resolution, batch, shape.epochs, augmentation))
