"""Networks side by side: stacked weights, one pass for all, and an optimiser's state for each."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from ...core.errors import UserError


class BatchedNetwork(nn.Module):
    """L networks of one architecture as one, whose parameters are (L, ...).

    Buffers are those of the first network, and must stay as they are.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.network = deepcopy(networks[0])
        for name, part in [*self.network.named_modules()]:
            if isinstance(part, nn.GroupNorm):
                self.network.set_submodule(name, PlainGroupNorm(part))
        for name, parameter in self.network.named_parameters():
            parameter.data = torch.stack([n.get_parameter(name).detach() for n in networks])

    def forward(self, pixels: Tensor) -> Tensor:
        """Outputs (L, B, ...) of pixels (L, B, ...), or of (B, ...) that all members see."""
        weights: dict[str, Tensor] = dict(self.network.named_parameters())

        def one(weights: dict[str, Tensor], pixels: Tensor) -> Tensor:
            return functional_call(self.network, weights, (pixels,))

        with sdpa_kernel(SDPBackend.MATH):  # the only attention with all rules
            return vmap(one, (0, 0 if pixels.dim() == 5 else None))(weights, pixels)

    def put(self, member: int, network: nn.Module) -> None:
        """Give one member the weights of another network."""
        for name, parameter in self.network.named_parameters():
            parameter.data[member].copy_(network.get_parameter(name).data)


class PlainGroupNorm(nn.Module):
    """A group norm in plain operations: torch's own cannot be stacked before torch 2.15."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, values: Tensor) -> Tensor:
        """Of (B, channels, ...), alike."""
        grouped = values.reshape(len(values), self.groups, -1)
        variance, mean = torch.var_mean(grouped, 2, correction=0, keepdim=True)
        normal = ((grouped - mean) * (variance + self.eps).rsqrt()).reshape(values.shape)
        if self.weight is None:
            return normal
        each = (-1, *(1 for _ in values.shape[2:]))
        return normal * self.weight.reshape(each) + self.bias.reshape(each)


def batched_in(network: nn.Module) -> BatchedNetwork | None:
    """The members that a network is or holds, if any."""
    return next((part for part in network.modules() if isinstance(part, BatchedNetwork)), None)


class BatchedOptimiser:
    """A torch optimiser of stacked weights (L, ...) that counts and averages for each member apart.

    Args:
        groups: as for a torch optimiser; its members are views of their weights.
    """

    def __init__(self, kind: type[Any], groups: list[dict[str, Any]]) -> None:
        self._batched = {p: [p.data[i] for i in range(len(p))] for g in groups for p in g["params"]}
        apart = [
            {**g, "params": [w for p in g["params"] for w in self._batched[p]]} for g in groups
        ]
        self._optimiser: torch.optim.Optimizer = kind(apart)
        self.state_dict = self._optimiser.state_dict
        self.load_state_dict = self._optimiser.load_state_dict

    def step(self) -> None:
        """Step along the gradients of the stacked weights."""
        for stacked, members in self._batched.items():
            assert stacked.grad is not None
            for member, gradient in zip(members, stacked.grad, strict=True):
                member.grad = gradient
        self._optimiser.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of the stacked weights."""
        assert set_to_none
        for stacked in self._batched:
            stacked.grad = None

    def forget(self, member: int) -> None:
        """Begin anew for one member."""
        for members in self._batched.values():
            self._optimiser.state.pop(members[member], None)


def require_batchable(network: nn.Module, name: str, images: Tensor) -> None:
    """Raise a UserError if such networks cannot stand side by side.

    Args:
        images: a few, (n, channels, R, R).
    """
    try:
        with torch.no_grad():
            BatchedNetwork([network, network])(images)
    except RuntimeError as problem:  # running statistics, or random numbers
        reason = str(problem).partition("\n")[0].partition(". ")[0]
        raise UserError(
            f"{name} networks cannot learn labels side by side ({reason}): leave out --batched, "
            "or learn with a network such as convnet-d3 or lenet."
        ) from problem
