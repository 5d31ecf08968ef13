"""Tuning a shrunk network towards the whole one, in the form in which it ships."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from benchmark.labels.distill import DistillOptions, distill
from benchmark.labels.task import LabelTask
from benchmark.models.teachers import Teacher

from .options import Options
from .shrink import dense, matrices


class Masked(nn.Module):
    """A weight whose zeros stay zeros."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.mask


class Product(nn.Module):
    """A weight that is the product of two factors, and starts from the ones given."""

    def __init__(self, left: Tensor, right: Tensor, shape: torch.Size) -> None:
        super().__init__()
        self.start, self.shape = (left, right), shape

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return (left @ right).view(self.shape)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The factors to start from, which torch's parametrisation asks for by this name."""
        return self.start


class Pupil(Teacher):
    """A network that stays in evaluation mode, so that batch norms keep their statistics."""

    def train(self, mode: bool = True) -> Self:
        return super().train(False)


def tune(
    task: LabelTask,
    teacher: Teacher,
    state: Mapping[str, Tensor],
    options: Options,
    folder: Path,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Train what is left of a network, on views of the real training set.

    Args:
        state: see `shrink`.
        options: the method's; `epochs`, `batch_size` and `lr` count.
        folder: for checkpoints.

    Returns:
        The state after training, and what `distill` tells of it.
    """
    network = copy.deepcopy(teacher.network)
    shapes = matrices(network)
    network.load_state_dict(dense(state, shapes), strict=False)
    network.requires_grad_(True)
    for name, shape in shapes.items():
        module, leaf = _owner(network, name)
        if f"{name}:0" in state:
            left, right = (state[f"{name}:{side}"].to(task.device) for side in (0, 1))
            register_parametrization(module, leaf, Product(left, right, shape))
        elif options.shrink == "prune":
            register_parametrization(module, leaf, Masked((state[name] != 0).to(task.device)))
    pupil = Pupil(teacher.network_name, network, teacher.mean, teacher.std).to(task.device)
    checkpoint = folder / "tuning.pt"
    fit = DistillOptions(options.epochs, options.batch_size, options.lr)
    notes = distill(task, pupil, [teacher], fit, "tune the shrunk teacher", checkpoint)
    checkpoint.unlink(missing_ok=True)
    return {name: _current(network, name).detach().cpu() for name in state}, notes


def _owner(network: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that holds a tensor, and the tensor's name there."""
    path, _, leaf = name.rpartition(".")
    return network.get_submodule(path), leaf


def _current(network: nn.Module, name: str) -> Tensor:
    """A tensor of the state, as it is now."""
    path, _, side = name.partition(":")
    module, leaf = _owner(network, path)
    if side:
        return getattr(module.get_submodule(f"parametrizations.{leaf}"), f"original{side}")
    return getattr(module, leaf)
