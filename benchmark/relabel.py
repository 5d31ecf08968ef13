"""Relabelling: the teacher's logits for the views of a plan, streamed to a file."""

from pathlib import Path

import torch
from torch import Tensor

from .contract import LabelTask
from .progress import track
from .render import render
from .stages import hold

RESIDENT_BYTES = 2 * 2**30


@torch.no_grad()
def relabel(task: LabelTask, batches: int, label: str) -> Tensor:
    """The teacher's logits for the first `batches` batches of the plan, fp16 (views, C).

    Rows follow the plan: epoch by epoch, batch by batch. They lie in a memory-mapped file in
    the task's scratch folder, so memory does not grow with their number.
    """
    teacher, _, scratch = task.fitting()
    plan = task.plan
    last = plan.rows(*divmod(batches - 1, plan.batches)).stop
    rows = _mapped(scratch / "logits.bin", (last, task.classes))
    for number in track(range(batches), label):
        views = plan.batch(*divmod(number, plan.batches))
        pixels = render(task.images.pixels, views.to(task.device))
        rows[plan.rows(views.epoch, views.batch)] = teacher(pixels).half().cpu()
    return rows


def _mapped(file: Path, shape: tuple[int, int]) -> Tensor:
    size = shape[0] * shape[1]
    with file.open("wb") as empty:
        empty.truncate(2 * size)
    hold(file)
    return torch.from_file(str(file), shared=True, size=size, dtype=torch.float16).view(shape)


def resident(tensor: Tensor, device: torch.device) -> Tensor:
    """Stored labels on the device if they are small; else where they are, memory-mapped."""
    return tensor.to(device) if tensor.nbytes <= RESIDENT_BYTES else tensor
