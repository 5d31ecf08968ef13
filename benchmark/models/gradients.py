"""How the loss of a batch becomes gradients: whole, in parts, or by several processes.

All three give a step the same gradients, to rounding, whatever the loss makes of its batch: the
network sees rows apart from each other, the loss is had of the logits of all rows at once, and
what comes back to each row's logits goes on through the network. (Gao et al., "Scaling Deep
Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983, section 3, do so for
a loss between the rows of a batch.) Only layers that look across rows differ: batch norm, which
several processes synchronise and parts refuse. Dropout draws other masks than for a whole batch.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..core import ranks
from ..core.errors import UserError
from ..core.progress import say
from . import random_numbers, whole_batch_norm


@dataclass(frozen=True)
class Batch:
    """The loss of one batch, in two halves, so that a network may see its rows in parts.

    Attributes:
        size: rows.
        logits: gives the logits of some of the rows, (rows, ...), with their graph. Each row's are
            its own, batch norm aside.
        loss: of all rows' logits, (size, ...), a scalar; asked for once a step.
    """

    size: int
    logits: Callable[[slice], Tensor]
    loss: Callable[[Tensor], Tensor]

    def whole(self) -> Tensor:
        """The loss with its graph through the network."""
        return self.loss(self.logits(slice(0, self.size)))


class Gradients:
    """Gives a module the gradients of one batch after another.

    Where several processes train it, each backs its own rows, and torch's
    DistributedDataParallel adds up what they find. Where the device's memory does not hold a
    batch, its rows are seen in twice as many parts, one after another, from then on.

    Args:
        label: for errors.
        memory: what the loss keeps from step to step, put back where a step is done again.
        parts: to begin with.

    Attributes:
        parts: that a batch is seen in.
    """

    def __init__(
        self, module: nn.Module, label: str, memory: dict[str, Tensor], parts: int = 1
    ) -> None:
        self.module, self.label, self.memory, self.parts = module, label, memory, parts
        self.device = next(module.parameters()).device
        self._norms, self._joint = [], None
        if ranks.count() > 1:
            self._norms = whole_batch_norm.synchronise(module)
            joint = nn.parallel.DistributedDataParallel
            known = inspect.signature(joint).parameters  # torch 2.14 warns of the older name
            new = "forward_sync_buffers"
            kept: dict[str, Any] = {new if new in known else "broadcast_buffers": False}
            self._joint = joint(_Called(module), **kept)

    def close(self) -> None:
        """Leave the module as it was, but for its weights."""
        whole_batch_norm.restore(self._norms)
        self._joint = None

    def of(self, batch: Batch) -> Tensor:
        """Add a batch's gradients to those that are there; returns its loss, without a graph.

        Raises:
            UserError: memory holds no step, and parts would change what is trained.
            torch.OutOfMemoryError: memory does not even hold one row.
        """
        if self._joint is not None:
            return self._joined(batch, self._joint)
        while True:
            numbers, memory = random_numbers.state(self.device), dict(self.memory)
            try:
                return self._in_parts(batch) if self.parts > 1 else _backed(batch.whole())
            except torch.OutOfMemoryError as error:
                self._check_parts(batch, error)
            # Out here, since the error holds on to what it was raised in, and so to its memory.
            random_numbers.go_on_from(numbers, self.device)
            self.memory.clear()
            self.memory.update(memory)
            self.module.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.parts = min(2 * self.parts, batch.size)
            say(
                f"{self.label}: out of memory on {self.device} with {batch.size} views at once; "
                f"from here on in {self.parts} parts a step, with the same gradients"
            )

    def _check_parts(self, batch: Batch, error: torch.OutOfMemoryError) -> None:
        if self.parts >= batch.size:
            raise error
        if any(part.training for part in whole_batch_norm.layers(self.module)):
            raise UserError(
                f"{self.label}: out of memory on {self.device} with a batch of {batch.size} views. "
                "The network has batch norm, so seeing a batch in parts would change what is "
                "trained: take a smaller network, a device with more memory, or several by "
                "`torchrun --nproc-per-node 2 -m benchmark run ...`."
            ) from error

    def _in_parts(self, batch: Batch) -> Tensor:
        """Once without a graph for the loss, then part by part with what comes back from it."""
        parts = ranks.parts(batch.size, min(self.parts, batch.size))
        found, numbers = [], []
        with torch.no_grad():
            for part in parts:
                numbers.append(random_numbers.state(self.device))
                found.append(batch.logits(part))
        logits = torch.cat(found).requires_grad_()
        loss = _backed(batch.loss(logits))
        assert logits.grad is not None
        for part, stood in zip(parts, numbers, strict=True):
            random_numbers.go_on_from(stood, self.device)  # for the same masks of dropout
            batch.logits(part).backward(logits.grad[part])
        return loss

    def _joined(self, batch: Batch, joint: nn.Module) -> Tensor:
        """Each process its rows; the loss of all rows, in each alike."""
        rows = ranks.rows(batch.size)
        with ranks.together():
            own = joint(batch.logits, rows)
        logits = ranks.gathered(own, batch.size).requires_grad_()
        with ranks.together():
            loss = _backed(batch.loss(logits))
        assert logits.grad is not None
        try:
            # It takes the mean of the processes' gradients, where their sum is meant.
            own.backward(logits.grad[rows] * ranks.count())
        except Exception as error:
            raise ranks.lost(error) from error
        return loss


class _Called(nn.Module):
    """A module whose forward pass is told as a function, for torch to take part in."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, logits: Callable[[slice], Tensor], rows: slice) -> Tensor:
        return logits(rows)


def _backed(loss: Tensor) -> Tensor:
    loss.backward()
    return loss.detach()
