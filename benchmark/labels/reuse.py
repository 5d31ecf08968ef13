"""Labels used more than once: the temperature schedule, and the student's own temperature."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .top_targets import TopTargets

# LPQLD's, of its `step` schedule and of all.
DECAY, INTERVAL, FLOOR = 0.7, 0.1, 2.0
TemperatureSchedule = Literal["step", "cosine", "step_reverse", "cosine_reverse", "none"]


def label_temperature(
    schedule: TemperatureSchedule,
    start: float,
    floor: float,
    decay: float,
    interval: int,
    epoch: int,
    epochs: int,
) -> float:
    """Dynamic knowledge reuse: the labels' temperature in `epoch` (from 0).

    `step` falls by the factor `decay` every `interval` epochs, `cosine` along a half cosine,
    both from `start` to `floor`; the reversed schedules rise from low to high; `none` stays at
    `start`. (LPQLD's released code, whose epochs count from 1; its reversed step has no floor,
    rises an epoch sooner, and so ends above `start`.)
    """
    done = epoch + 1
    middle, swing = 0.5 * (start + floor), 0.5 * (start - floor) * math.cos(math.pi * done / epochs)
    match schedule:
        case "step":
            return max(start * decay ** (done // interval), floor)
        case "step_reverse":
            return max(start * decay ** ((epochs - done) // interval), floor)
        case "cosine":
            return middle + swing
        case "cosine_reverse":
            return middle - swing
        case "none":
            return start


def calibrated(
    memory: dict[str, Tensor], logits: Tensor, targets: Tensor | TopTargets, epoch: int
) -> Tensor:
    """Calibrated student-teacher alignment: the student's temperature in `epoch`, a scalar.

    1 at first, then of {0.01, 0.02, ..., 1.00} the one with the least divergence on the last
    batch of the epoch before; not multiplied by the labels' temperature (as released).

    Args:
        memory: kept from step to step; this batch is remembered in it.
        logits: the student's, (B, C).
        targets: probabilities of (B, C).
    """
    if "epoch" not in memory:
        memory["temperature"] = torch.ones((), device=logits.device)
    elif int(memory["epoch"]) != epoch:
        grid = torch.arange(1, 101, device=logits.device) / 100
        scaled = F.log_softmax(memory["logits"] / grid[:, None, None], 2)
        # Not by brackets: those ask the device for the place.
        memory["temperature"] = grid.take(_cross_entropy(memory, scaled).sum(1).argmin())
    memory["epoch"] = torch.tensor(epoch)  # stays on the CPU: read without waiting
    memory["logits"] = logits.detach().float()
    if isinstance(targets, Tensor):
        memory["targets"] = targets
    else:
        memory["indices"], memory["shares"] = targets.indices, targets.shares
        if targets.rest is not None:
            memory["rest"] = targets.rest
    return memory["temperature"]


def _cross_entropy(memory: dict[str, Tensor], log_probs: Tensor) -> Tensor:
    """Of the remembered targets with log-probabilities (..., B, C), each view's."""
    if "targets" in memory:
        return -(memory["targets"] * log_probs).sum(-1)
    classes = log_probs.shape[-1]
    kept = TopTargets(memory["indices"], memory["shares"], memory.get("rest"), classes)
    return kept.cross_entropy(log_probs)
