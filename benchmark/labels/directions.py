"""How many directions of the labels are kept, of a function and of coded views.

Of more than `USUAL_DIMS` classes the basis would take most of a small budget if it had all
directions, and few directions miss much of the labels; so bytes that are limited are shared out
between rows of the basis and finer coefficients, as leaves least squared error (`water_filling`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..core.errors import UserError
from .coefficient_code import ByEntry
from .container import container_bytes, like, stand_in
from .ridge import WIDE, Design
from .scratch import chunks, scratch_tensor
from .task import TaskShape
from .water_filling import filled

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

USUAL_DIMS = 64
TRIED = tuple(2.0 ** (half / 2) for half in range(-20, 13))  # steps that dims are chosen with


def most_dims(classes: int, room: int) -> int:
    """Rows of a basis that so many bytes hold: at least 1, at most what centred labels have."""
    return max(1, min(classes - 1, room // classes))


def usual_dims(method: str, wished: int, classes: int, limited: bool) -> int:
    """Coefficients a label: those wished for, or all of up to `USUAL_DIMS` classes.

    Of more classes, `USUAL_DIMS`; or 0 where bytes are limited, which are to decide it.

    Raises:
        UserError: there are not so many.
    """
    if wished >= classes > 1:
        raise UserError(
            f"{method}.dims is {wished}; labels of {classes} classes have {classes - 1} once they "
            "are centred."
        )
    if classes <= USUAL_DIMS:
        return wished or classes - 1
    return wished or (0 if limited else USUAL_DIMS)


def worth_it(
    blocks: Iterable[Tensor], design: Design, scales: ByEntry, classes: int, room: int
) -> Tensor:
    """As many of the coefficients as leave least squared error within `room`, (size, dims).

    Args:
        blocks: all of them, some directions at a time, from the strongest on, (size, k). No more
            are asked for once those at hand are more than are worth it.
        scales: see `step_scales`.
        room: bytes of code and basis.
    """
    # A view uses one of each entity's coefficients, whose errors add up.
    weights = ByEntry((1 / torch.tensor(design.entities)).double(), design.entities)
    found, lost, dims = list[Tensor](), list[Tensor](), 0

    def scaled(width: int) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in chunks(design.size, WIDE * width):
            yield torch.cat([part[rows] for part in found], 1) / scales[rows], weights[rows]

    for block in blocks:
        found.append(block)
        lost.append(_powers(design, block))
        total = sum(part.shape[1] for part in found)
        bits, saved = filled(scaled(total), torch.cat(lost), TRIED, 0.5)
        basis = torch.arange(1, total + 1, dtype=torch.float64) * classes
        fits = bits * design.size / 8 + basis <= room
        dims = int(saved.where(fits, -torch.inf).amax(0).argmax()) + 1
        if dims < total:
            break
    kept = scratch_tensor(design.folder, torch.float64, design.size, dims)
    for rows in chunks(design.size, WIDE * dims):
        kept[rows] = torch.cat([part[rows] for part in found], 1)[:, :dims]
    return kept


def _powers(design: Design, coefficients: Tensor) -> Tensor:
    """Mean square of what coefficients (size, k) make of the views, (k,)."""
    shape = (len(design.columns), coefficients.shape[1])
    shown = scratch_tensor(design.folder, torch.float64, *shape)
    design.write_times(coefficients, shown)
    return shown.square_().mean(0)


def code_container(
    method: str,
    options: "DataclassInstance",
    shape: TaskShape,
    dims: int,
    extra: Mapping[str, object],
    budget: int,
) -> int:
    """What manifest and headers of an artefact of code and basis take at most.

    Args:
        options, extra: as long as they get.
        dims: of the basis; 0 for any that the budget holds.
    """
    dims = dims or most_dims(shape.classes, budget)
    code = like("code", "values", torch.uint8, stand_in(budget), numbers=shape.labels * dims)
    basis = like("basis", "weights", torch.int8, dims, shape.classes)
    return container_bytes(method, options, shape, [code, basis], budget, extra)
