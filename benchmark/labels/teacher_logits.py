"""Relabelling: the teacher's logits for the views of a plan, a batch at a time."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from ..core.errors import UserError
from ..core.progress import track
from ..data.rendering import render
from ..data.views import ViewBatch
from .read_ahead import ReadAhead
from .task import LabelTask
from .writer import Stored, TensorWriter

RESIDENT_BYTES = 2 * 2**30


def teacher_logits(
    task: LabelTask, numbers: Sequence[int], label: str
) -> Iterator[tuple[ViewBatch, Tensor]]:
    """Each batch's views, on the CPU, with the teacher's logits for them, fp16 (B, C).

    Nothing is kept from batch to batch: a caller that streams them to disk (`writer`) needs no
    more memory for many epochs than for one. In a run, labels of more than a shard's bytes are
    made and kept in shards (`label_shards`): after a kill, those that are there are read.

    Args:
        numbers: of the plan's batches, counted from 0 through all epochs.
        label: shown with the progress.

    Raises:
        UserError: a logit is no number, or beyond what float16 holds.
    """
    shards = task.label_shards
    if shards is not None and shards.serve(task):
        return shards.read(task, numbers, label)
    return label_batches(task, numbers, label)


@torch.no_grad()
def label_batches(
    task: LabelTask, numbers: Sequence[int], label: str
) -> Iterator[tuple[ViewBatch, Tensor]]:
    """What `teacher_logits` gives, made now; arguments and errors as there."""
    teacher, _, _ = task.fitting()
    for number in track(numbers, label):
        views = task.plan.batch(*divmod(number, task.plan.batches))
        pixels = render(task.images.pixels, views.to(task.device))
        logits = teacher(pixels)
        if not torch.stack(logits.aminmax()).half().isfinite().all():  # so are all between
            raise UserError(
                f"The teacher's logits reach {float(logits.abs().max()):,.0f}, which float16 (up "
                "to 65,504) does not hold, or are no numbers. Is its normalisation right, and are "
                "its weights whole?"
            )
        yield views, logits.half()


def ahead(tensor: Tensor | Stored, device: torch.device) -> ReadAhead | None:
    """A reader of labels that stayed where they are since they are not small; else None."""
    if not isinstance(tensor, Tensor) or tensor.device.type != "cpu":
        return None
    return ReadAhead(tensor, device) if tensor.nbytes > RESIDENT_BYTES else None


def kept_logits(
    task: LabelTask, batches: int, change: Callable[[Tensor], Tensor] | None = None
) -> Stored:
    """The teacher's labels of a plan's first batches, on disk: fp16 (n, C).

    Those that lie in shards and are kept as they are stay there, and are written no second time.

    Args:
        change: of a batch's logits, to what is kept; without, logits are.
    """
    shards, label = task.label_shards, "label the views"
    if change is None and shards is not None and shards.serve(task):
        there = shards.stored(task, range(batches), label)
        if there is not None:
            return there
    writer = TensorWriter(task.workspace() / "logits", torch.float16, (task.classes,))
    for _, rows in teacher_logits(task, range(batches), label):
        writer.add(change(rows) if change else rows)
    return writer.stored()


def resident(tensor: Tensor, device: torch.device) -> Tensor:
    """Stored labels on the device if they are small; else where they are, memory-mapped."""
    return tensor.to(device) if tensor.nbytes <= RESIDENT_BYTES else tensor
