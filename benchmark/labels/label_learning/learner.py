"""What labels are learned with: a network that steps on them, and is asked about real images."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from .batched_network import BatchedOptimiser, batched_in

Optimiser = Literal["adam", "sgd"]


@dataclass(frozen=True)
class Outer:
    """How real images are judged after steps on the labels.

    Attributes:
        gradient: of the loss for each label that was stepped on, (k, n, C).
        loss: mean cross-entropy with the real labels, a scalar.
        error: share of images judged wrongly, a scalar.

    Of L base sets, they are (k, L, n, C), (L,) and (L,).
    """

    gradient: Tensor
    loss: Tensor
    error: Tensor


class Learner(ABC):
    """One network at some age, with its optimiser.

    A step is `inner`, `outer` (left out when the labels are only trained on), `move`. Networks
    are in training mode: batch normalisation uses the batch's own statistics throughout, and its
    running ones, for `predict`, move with the inner batches alone.

    A learner whose network holds `BatchedNetwork` is L learners side by side: inner images are
    (k, L, n, ...) and their labels (k, L, n, C); all see the same real images.

    Attributes:
        batches: k, inner batches a step.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer | BatchedOptimiser
    batches = 1

    @abstractmethod
    def inner(self, images: Tensor, labels: Tensor) -> Any:
        """Look at labelled distilled images; what the other two need of it.

        Args:
            images: k batches, (k, n, channels, R, R).
            labels: of them, (k, n, C).
        """

    @abstractmethod
    def outer(self, inner: Any, pixels: Tensor, truth: Tensor) -> Outer:
        """Judge real images, pixels (B, channels, R, R) of classes `truth` (B,)."""

    @abstractmethod
    def move(self, inner: Any, labels: Tensor) -> Tensor:
        """Step on the inner images; `labels` are theirs as they are now. Returns the loss."""

    @abstractmethod
    def predict(self, pixels: Tensor) -> Tensor:
        """Logits (B, C) of real images."""

    @torch.no_grad()
    def mistakes(self, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
        """Share of real images judged wrongly, in evaluation mode."""
        self.network.eval()
        wrong = [(self.predict(p).argmax(-1) != truth).flatten() for p, truth in batches]
        self.network.train()
        return torch.cat(wrong).float().mean().item()

    def begin(self, member: int, network: nn.Module) -> None:
        """Begin a member anew with the weights of a fresh network; the others go on."""
        members = batched_in(self.network)
        assert members is not None
        assert isinstance(self.optimiser, BatchedOptimiser)
        members.put(member, network)
        self.optimiser.forget(member)

    def only(self, member: int) -> Self:
        """A copy of one member, for `mistakes`."""
        made = copy(self)
        made.network = deepcopy(self.network)
        for parameter in made.network.parameters():
            parameter.data = parameter.data[member : member + 1]
        return made

    def state(self) -> dict[str, Any]:
        """All that `restore` needs."""
        return {"network": self.network.state_dict(), "optimiser": self.optimiser.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])


def optimiser(
    kind: Optimiser, groups: list[dict[str, Any]], members: bool = False
) -> torch.optim.Optimizer | BatchedOptimiser:
    """Adam with torch's defaults, or plain gradient steps; groups name their own rates.

    Not torch's fused form: it takes gradients to lie in memory as their weights do, and those
    of `torch.autograd.grad` need not.

    Args:
        members: whether the weights are those of `BatchedNetwork`.
    """
    made = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[kind]
    return BatchedOptimiser(made, groups) if members else made(groups)


def apart(network: nn.Module, weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
    """The network's output with these weights; its running statistics stay as they are."""
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    return functional_call(network, (weights, buffers), (pixels,))


def soft_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch of the cross-entropy with probabilities (..., B, C)."""
    return -(labels * F.log_softmax(logits, -1)).sum(-1).mean(-1)


def cross_entropy(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean over the batch of the cross-entropy of logits (..., B, C) with classes (B,)."""
    log_probs = F.log_softmax(logits, -1)
    return -log_probs.gather(-1, truth.expand(logits.shape[:-1])[..., None]).mean((-2, -1))


def error(logits: Tensor, truth: Tensor) -> Tensor:
    """Share of rows (..., B, C) whose largest logit is not of the true class."""
    return (logits.argmax(-1) != truth).to(logits.dtype).mean(-1)
