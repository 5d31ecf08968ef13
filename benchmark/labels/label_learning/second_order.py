"""Labels through gradient steps on them, differentiated exactly.

Second-order label distillation (arXiv 2006.08572, section 3.1, algorithm 1).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import grad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_map

from ...core.errors import UserError
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

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Inner:
    """Batches of labelled images, with the first one's loss and gradient at the weights."""

    images: Tensor
    labels: Tensor
    loss: Tensor
    gradient: Weights


class SecondOrder(Learner):
    """A network that steps on the labels, with `steps` virtual ones ahead of each real one.

    Real images are judged after the virtual steps. As the inner loss is linear in the labels,
    the gradient for them needs no second backward pass: it is one forward derivative of the
    inner log-probabilities, along the outer gradient v,

        dL/dY = lr / n * d/dt log softmax f(theta + t v) at t = 0,

    and through each earlier step v becomes v - lr * H v, H being the inner loss's Hessian.

    Args:
        network: pixels in 0..1 to logits; the same input must give the same output.
        lr, steps: of the virtual steps, plain gradient descent; each on a batch of its own.
        kind, network_lr: of the real step, on the first of these batches.
    """

    def __init__(
        self, network: nn.Module, lr: float, steps: int, kind: Optimiser, network_lr: float
    ) -> None:
        self.network, self.lr, self.batches = network.train(), lr, steps
        groups = [{"params": list(network.parameters()), "lr": network_lr}]
        self.optimiser = optimiser(kind, groups, batched_in(network) is not None)

    def inner(self, images: Tensor, labels: Tensor) -> Inner:
        parameters = dict(self.network.named_parameters())
        loss = soft_cross_entropy(self.network(images[0]), labels[0])
        gradients = torch.autograd.grad(loss.sum(), list(parameters.values()))
        return Inner(images, labels, loss.detach(), dict(zip(parameters, gradients, strict=True)))

    def outer(self, inner: Inner, pixels: Tensor, truth: Tensor) -> Outer:
        path = [{name: p.detach() for name, p in self.network.named_parameters()}]
        for step in range(self.batches):
            slope = inner.gradient if step == 0 else self._slope(path[-1], inner, step)
            path.append(_plus(path[-1], slope, -self.lr))
        reached = {name: value.requires_grad_() for name, value in path.pop().items()}
        logits = apart(self.network, reached, pixels)
        loss = cross_entropy(logits, truth)
        gradients = torch.autograd.grad(loss.sum(), list(reached.values()))
        v = dict(zip(reached, gradients, strict=True))
        found: list[Tensor] = [loss] * self.batches
        for step in reversed(range(self.batches)):
            if step == 0:
                found[0] = derivative(lambda w: self._log_probs(w, inner.images[0]), path[0], v)
            else:
                both = grad(lambda w, s=step: self._loss(w, inner, s), has_aux=True)
                bent, found[step] = derivative(both, path[step], v)
                v = _plus(v, bent, -self.lr)
        gradient = torch.stack(found) * (self.lr / inner.labels.shape[-2])
        return Outer(gradient, loss.detach(), error(logits.detach(), truth))

    def move(self, inner: Inner, labels: Tensor) -> Tensor:
        for name, parameter in self.network.named_parameters():
            parameter.grad = inner.gradient[name]
        self.optimiser.step()
        return inner.loss

    def predict(self, pixels: Tensor) -> Tensor:
        return self.network(pixels)

    def _log_probs(self, weights: Weights, images: Tensor) -> Tensor:
        return F.log_softmax(apart(self.network, weights, images), -1)

    def _loss(self, weights: Weights, inner: Inner, step: int) -> tuple[Tensor, Tensor]:
        log_probs = self._log_probs(weights, inner.images[step])
        return -(inner.labels[step] * log_probs).sum(-1).mean(-1).sum(), log_probs

    def _slope(self, weights: Weights, inner: Inner, step: int) -> Weights:
        return grad(lambda w: self._loss(w, inner, step)[0])(weights)


def derivative(function: Callable[[Weights], Any], at: Weights, along: Weights) -> Any:
    """The derivative of `function` at some weights in a direction, by forward differentiation.

    By dual numbers themselves: `torch.func.jvp` takes normalisations apart, and is slower.
    """
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
        # torch's own forward derivatives still use its deprecated script compiler.
        warnings.filterwarnings("ignore", "`torch.jit")
        dual = {name: forward_ad.make_dual(value, along[name]) for name, value in at.items()}
        return tree_map(_derivative, function(dual))


def _derivative(value: Tensor) -> Tensor:
    """That of a dual number; zero where it does not depend on the weights."""
    found = forward_ad.unpack_dual(value).tangent
    return torch.zeros_like(value) if found is None else found


def require_differentiable(network: nn.Module, name: str, images: Tensor) -> None:
    """Raise a UserError if the network cannot be differentiated forward, or is not a function.

    Args:
        images: a few, (n, channels, R, R).
    """
    weights = {name: p.detach() for name, p in network.train().named_parameters()}
    with torch.no_grad():
        if not apart(network, weights, images).equal(apart(network, weights, images)):
            raise UserError(
                f"{name} answers differently when asked again (it has dropout, or drops paths), "
                "so its steps have no gradient; learn labels with a network such as convnet-d3."
            )
    try:
        derivative(lambda w: apart(network, w, images), weights, weights)
    except (NotImplementedError, RuntimeError) as problem:
        reason = str(problem).partition("\n")[0]
        raise UserError(
            f"torch cannot differentiate {name} forward ({reason}); learn labels with a network "
            "such as convnet-d3, or by ridge regression (ld_rr), which needs no such derivative."
        ) from problem


def _plus(weights: Weights, change: Weights, factor: float) -> Weights:
    return {name: value + factor * change[name] for name, value in weights.items()}
