"""The labels being learned, one row an image, and the optimiser that moves them."""

from typing import Any

import torch
from torch import Tensor

from .learner import Optimiser, optimiser


class LabelTable:
    """Probabilities (M, C) that begin even, and whose optimiser is never begun anew.

    Of L base sets, which step in time, they are (L, M, C).

    Attributes:
        values: the labels; a leaf tensor that needs no graph.
    """

    def __init__(self, start: Tensor, kind: Optimiser, lr: float) -> None:
        self.values = start.clone()
        self._optimiser = optimiser(kind, [{"params": [self.values], "lr": lr}])

    def move(self, rows: Tensor, gradient: Tensor) -> None:
        """Step against the gradient, then make rows probabilities again.

        Rows without a gradient move too, by Adam's momentum, as in the authors' code. Each is
        clamped to 0..1 and divided by its sum; one that clamps to zeros stays as it was before
        the step (the authors' code divides by zero there).

        Args:
            rows: of the labels that have one, int64 of any shape; one may come twice.
            gradient: for each of them, (*rows.shape, C); of members, (L, *rows.shape, C).
        """
        before = self.values.clone()
        whole = torch.zeros_like(self.values)
        each = gradient.reshape(*whole.shape[:-2], -1, whole.shape[-1])
        self.values.grad = whole.index_add_(-2, rows.flatten(), each)
        self._optimiser.step()
        clamped = self.values.clamp_(0, 1)
        total = clamped.sum(-1, keepdim=True)
        self.values.copy_(torch.where(total == 0, before, clamped / total))

    def state(self) -> dict[str, Any]:
        """All that `restore` needs."""
        return {"values": self.values, "optimiser": self._optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.values.copy_(state["values"])
        self._optimiser.load_state_dict(state["optimiser"])
