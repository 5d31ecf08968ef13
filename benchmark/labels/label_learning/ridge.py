"""Labels through ridge regression: the last layer is solved for, and the solution differentiated.

LD-RR (arXiv 2006.08572, section 3.2, algorithm 2).
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.ridge import SHARE, moved, solve, with_one
from .batched_network import batched_in
from .learner import (
    Learner,
    Optimiser,
    Outer,
    apart,
    cross_entropy,
    error,
    optimiser,
    soft_cross_entropy,
)

SCALE_RATE = 1e-2


@dataclass(frozen=True)
class Inner:
    """What regression on a batch of labelled images found; of L base sets, each is (L, ...).

    Attributes:
        features: of the images, with a one for the bias, (n, d + 1).
        root: Cholesky factor of their Gram matrix plus the ridge, (n, n).
        weights: the last layer's moving average, (d + 1, C).
    """

    features: Tensor
    root: Tensor
    weights: Tensor


class Ridge(Learner):
    """Features that learn, and a last layer W that is a moving average of ridge regressions.

    With A = (F F^T + ridge I)^-1, a batch's solution is F^T A Y, so the gradient for its labels
    is closed, and real images need no backward pass:

        dL/dY = 0.01 scale / B * A F F_real^T (softmax(scale F_real W) - one-hot).

    The features then step on the distilled images, through the solution too. The scale, learned
    with them, calibrates the logits of a regression for the cross-entropy.

    Args:
        features: a network without its last layer, from pixels in 0..1 to `width` features.
        ridge: added to the Gram matrix's diagonal; the bias is shrunk like the rest.
        kind, lr: of the step of the features; the scale's lr is 0.01.
    """

    def __init__(
        self,
        features: nn.Module,
        width: int,
        classes: int,
        ridge: float,
        kind: Optimiser,
        lr: float,
    ) -> None:
        self.network, self.ridge = features.train(), ridge
        like = next(features.parameters())
        members = batched_in(features)
        each = () if members is None else like.shape[:1]
        self.weights = like.new_zeros(*each, width + 1, classes)
        self.scale = like.new_ones(*each, 1, 1).requires_grad_()
        groups = [
            {"params": list(features.parameters()), "lr": lr},
            {"params": [self.scale], "lr": SCALE_RATE},
        ]
        self.optimiser = optimiser(kind, groups, members is not None)

    def inner(self, images: Tensor, labels: Tensor) -> Inner:
        features = with_one(self.network(images[0]))
        solution, root = solve(features, labels[0], self.ridge)
        weights = moved(self.weights, solution)
        self.weights = weights.detach()
        return Inner(features, root, weights)

    @torch.no_grad()
    def outer(self, inner: Inner, pixels: Tensor, truth: Tensor) -> Outer:
        features = with_one(apart(self.network, {}, pixels))
        logits = features @ (self.scale * self.weights)
        wrong = F.softmax(logits, -1) - F.one_hot(truth, logits.shape[-1]).to(logits)
        seen = inner.features @ (features.mT @ wrong)
        gradient = torch.cholesky_solve(seen.double(), inner.root).to(seen.dtype)
        gradient *= SHARE * self.scale / len(truth)
        return Outer(gradient[None], cross_entropy(logits, truth), error(logits, truth))

    def move(self, inner: Inner, labels: Tensor) -> Tensor:
        logits = inner.features @ (self.scale * inner.weights)
        loss = soft_cross_entropy(logits, labels[0])
        self.optimiser.zero_grad(set_to_none=True)
        loss.sum().backward()
        self.optimiser.step()
        return loss.detach()

    def begin(self, member: int, network: nn.Module) -> None:
        super().begin(member, network)
        self.weights[member] = 0
        self.scale.data[member] = 1

    def only(self, member: int) -> Self:
        made = super().only(member)
        made.weights = self.weights[member : member + 1]
        return made

    def predict(self, pixels: Tensor) -> Tensor:
        """As in the authors' code without the scale: the same classes, but not calibrated."""
        return with_one(self.network(pixels)) @ self.weights

    def state(self) -> dict[str, Any]:
        return {**super().state(), "weights": self.weights, "scale": self.scale.detach()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.weights.copy_(state["weights"])
        with torch.no_grad():
            self.scale.copy_(state["scale"])
