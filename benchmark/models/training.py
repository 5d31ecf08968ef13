"""The one training loop: whatever is trained gives a stream of losses, and this optimises it.

Students, teachers and HeLlO's projector all pass through here, so schedule, weight decay,
checkpoints and resume are the same for all. Nothing waits for the device inside an epoch.
"""

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..core.errors import UserError
from ..core.progress import say, track
from ..data.recipe import LrSchedule

CHECKPOINT_EVERY_SECONDS = 20.0


@dataclass(frozen=True)
class Optimisation:
    """How weights are moved: optimiser, peak learning rate, and its schedule.

    The lr rises linearly over the first `warmup` share of steps; then it follows `schedule`,
    see `Recipe`.
    """

    epochs: int
    steps_per_epoch: int
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.9
    warmup: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: LrSchedule = "cosine"

    def build(self, module: nn.Module) -> tuple[torch.optim.Optimizer, Any]:
        """The optimiser over `module`'s trainable weights, and its lr's schedule."""
        trainable = [p for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trainable if p.ndim > 1], "weight_decay": self.weight_decay},
            {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
        ]
        if self.optimiser == "sgd":
            optimiser = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum)
        else:
            optimiser = torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, fused=True)
        steps = self.epochs * self.steps_per_epoch
        rising = round(self.warmup * steps)

        def share(step: int) -> float:
            if step < rising:
                return (step + 1) / rising
            if self.schedule == "constant":
                return 1.0
            epoch = step // self.steps_per_epoch
            if self.schedule == "quarters":
                return 0.3 ** (epoch // max(1, self.epochs // 4))
            if self.schedule == "to-half":
                return 0.5 * (1 + math.cos(math.pi * epoch / (2 * self.epochs)))
            done = (step - rising) / max(1, steps - rising)
            return 0.5 * (1 + math.cos(math.pi * done))

        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def optimise(
    module: nn.Module,
    losses: Callable[[int], Iterator[Tensor]],
    schedule: Optimisation,
    label: str,
    checkpoint: Path | None = None,
    memory: dict[str, Tensor] | None = None,
    enough: Callable[[], bool] | None = None,
    until: int | None = None,
) -> list[float]:
    """Train `module` in place.

    Args:
        losses: gives the losses of one epoch, one a step; each is stepped upon before the
            next is asked for.
        label: shown with the progress.
        checkpoint: a file to go on from, and to write at times; the caller removes it.
        memory: tensors that `losses` keeps from step to step, saved and restored too.
        enough: asked after each epoch; a yes ends the training.
        until: epochs to train of the schedule's, if not all.

    Returns:
        The mean loss of each epoch that was begun.

    Raises:
        UserError: the loss is no longer finite.
    """
    optimiser, rates = schedule.build(module)
    parts = {"module": module, "optimiser": optimiser, "rates": rates}
    memory = {} if memory is None else memory
    curve = _restore(checkpoint, parts, memory) if checkpoint is not None else []
    device = next(module.parameters()).device
    saved = time.monotonic()
    for epoch in track(range(len(curve), until or schedule.epochs), label):
        module.train()
        total, steps = descend(losses(epoch), optimiser, rates, device)
        if not steps:
            break
        curve.append(total.item() / steps)
        if not math.isfinite(curve[-1]):
            raise UserError(
                f"{label}: the loss is {curve[-1]} in epoch {epoch + 1}. A lower lr than "
                f"{schedule.lr} may help."
            )
        if checkpoint is not None and time.monotonic() - saved > CHECKPOINT_EVERY_SECONDS:
            _save(checkpoint, parts, memory, curve)
            saved = time.monotonic()
        if enough is not None and enough():
            break
    return curve


def descend(
    losses: Iterator[Tensor], optimiser: torch.optim.Optimizer, rates: Any, device: torch.device
) -> tuple[Tensor, int]:
    """One epoch: a step for each loss. Nothing here waits for the device.

    Returns:
        The sum of the losses, a scalar on the device, and their number.
    """
    total, steps = torch.zeros((), device=device), 0
    for loss in losses:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        rates.step()
        total += loss.detach()
        steps += 1
    return total, steps


def _save(
    checkpoint: Path, parts: dict[str, Any], memory: dict[str, Tensor], curve: list[float]
) -> None:
    state = {name: part.state_dict() for name, part in parts.items()}
    state |= {"memory": memory, "curve": curve, "rng": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda_rng"] = torch.cuda.get_rng_state()
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    partial = checkpoint.with_suffix(".partial")
    try:
        # Into an open file: given a path, torch hides that the disk is full.
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except Exception:
        partial.unlink(missing_ok=True)
        raise
    partial.replace(checkpoint)


def _restore(checkpoint: Path, parts: dict[str, Any], memory: dict[str, Tensor]) -> list[float]:
    """Load a checkpoint, if there is one; returns the losses of the epochs it has done."""
    if not checkpoint.exists():
        return []
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        say(f"{checkpoint} cannot be read ({type(error).__name__}); starting over")
        checkpoint.unlink()
        return []
    for name, part in parts.items():
        part.load_state_dict(state[name])
    device = next(parts["module"].parameters()).device
    for name, value in state["memory"].items():
        memory[name] = value.to(device) if value.ndim or value.is_floating_point() else value
    torch.set_rng_state(state["rng"])
    if "cuda_rng" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda_rng"])
    return state["curve"]
