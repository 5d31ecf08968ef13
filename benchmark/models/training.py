"""The one training loop: whatever is trained gives a stream of losses, and this optimises it.

Students, teachers and HeLlO's projector all pass through here, so schedule, weight decay,
checkpoints and resume are the same for all. Nothing waits for the device inside an epoch.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..core import ranks
from ..core.errors import UserError
from ..core.progress import say, track
from ..data.recipe import LrSchedule
from . import random_numbers
from .gradients import Batch, Gradients

CHECKPOINT_EVERY_SECONDS = 20.0
LOOK_EVERY_STEPS = 50  # at losses on the device, where epochs are shorter
RANK_SEEDS = 2**40  # between the seeds of processes that train together, for their dropout

Loss = Tensor | Batch  # of a step; what has no rows to be seen in parts is a tensor


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

    def build(self, module: nn.Module, stacked: bool = False) -> tuple[torch.optim.Optimizer, Any]:
        """The optimiser over `module`'s trainable weights, and its lr's schedule.

        Args:
            stacked: whether each weight holds those of several networks, one after another.
        """
        trainable = [p for p in module.parameters() if p.requires_grad]
        matrices = [p for p in trainable if p.ndim > 1 + stacked]
        vectors = [p for p in trainable if p.ndim <= 1 + stacked]
        groups = [
            {"params": matrices, "weight_decay": self.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        if self.optimiser == "sgd":
            optimiser = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, fused=True)
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


class Training:
    """One module on its way: what moves its weights, and how far it has come.

    Torch's random numbers are each training's own, so that a module learns the same whether it
    is trained alone or in turn with others. Of several processes that train it together, the first
    alone writes checkpoints.

    Args:
        label: for errors.
        checkpoint: a file to go on from, and to write at times; the caller removes it.
        memory: tensors that the losses keep from step to step, saved and restored too.
        members: networks that the module stacks, each with a loss of its own; 0 for one as it is.
        seed: of its random numbers; by default it begins where the process's stand.

    Attributes:
        curve: the mean loss of each epoch; a list of the members', where there are some.
        gradients: how they are had of batches.
        error: what ended it, if anything did.
    """

    def __init__(
        self,
        module: nn.Module,
        schedule: Optimisation,
        label: str,
        checkpoint: Path | None = None,
        memory: dict[str, Tensor] | None = None,
        members: int = 0,
        seed: int | None = None,
    ) -> None:
        self.module, self.label, self.lr = module, label, schedule.lr
        self.device = next(module.parameters()).device
        self.checkpoint, self.memory = checkpoint, {} if memory is None else memory
        self.gradients = Gradients(module, label, self.memory)
        self.optimiser, self.rates = schedule.build(module, stacked=members > 0)
        self._parts = {"module": module, "optimiser": self.optimiser, "rates": self.rates}
        if seed is not None:
            seed += RANK_SEEDS * ranks.rank()
        elif ranks.rank():
            torch.manual_seed(torch.initial_seed() + RANK_SEEDS * ranks.rank())
        self._random, self._own_numbers = random_numbers.state(self.device, seed), seed is not None
        self.curve: list[Any] = self._restore()
        self.error: Exception | None = None
        self._shape = (members,) if members else ()

    def begin(self) -> None:
        """Start an epoch."""
        self.module.train()
        self.total = torch.zeros(self._shape, device=self.device)

    def step(self, loss: Loss) -> None:
        """One step on a loss, or on a vector of them, one a member. Waits for nothing."""
        self.optimiser.zero_grad(set_to_none=True)
        if isinstance(loss, Batch):
            found = self.gradients.of(loss)
        else:
            (loss.sum() if loss.ndim else loss).backward()
            found = loss.detach()
        self.optimiser.step()
        self.rates.step()
        self.total += found

    def descend(self, losses: Iterator[Loss]) -> int:
        """One epoch: a step for each loss. Returns their number."""
        self.begin()
        count = 0
        for loss in losses:
            self.step(loss)
            count += 1
        return count

    @contextmanager
    def own_random_numbers(self) -> Iterator[None]:
        """Draw from this training's random numbers, and leave them where they stand."""
        random_numbers.go_on_from(self._random, self.device)
        yield
        self._random = random_numbers.state(self.device)

    def save(self) -> None:
        """Write the checkpoint, all of it or nothing."""
        assert self.checkpoint is not None
        state = {name: part.state_dict() for name, part in self._parts.items()}
        state |= {"memory": self.memory, "curve": self.curve}
        state |= self._random if self._own_numbers else random_numbers.state(self.device)
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = self.checkpoint.with_suffix(".partial")
        try:
            # Into an open file: given a path, torch hides that the disk is full.
            with partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
        except Exception:
            partial.unlink(missing_ok=True)
            raise
        partial.replace(self.checkpoint)

    def _restore(self) -> list[Any]:
        """Load the checkpoint, if there is one; returns the losses of the epochs it has done."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return []
        try:
            state = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:
            say(f"{self.checkpoint} cannot be read ({type(error).__name__}); starting over")
            self.checkpoint.unlink()
            return []
        for name, part in self._parts.items():
            part.load_state_dict(state[name])
        for name, value in state["memory"].items():
            moved = value.ndim or value.is_floating_point()
            self.memory[name] = value.to(self.device) if moved else value
        if ranks.leads():  # it was the first process's that were saved
            self._random = {name: state[name] for name in state.keys() & {"rng", "cuda_rng"}}
        random_numbers.go_on_from(self._random, self.device)
        return state["curve"]


def optimise(
    module: nn.Module,
    losses: Callable[[int], Iterator[Loss]],
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
        checkpoint, memory: see `Training`.
        enough: asked after each epoch; a yes ends the training.
        until: epochs to train of the schedule's, if not all.

    Returns:
        The mean loss of each epoch that was begun.

    Raises:
        UserError: the loss is no longer finite.
    """
    training = Training(module, schedule, label, checkpoint, memory)

    def train(going: Going, epoch: int) -> int:
        return training.descend(losses(epoch))

    advance([training], train, until or schedule.epochs, label, enough)
    if training.error is not None:
        raise training.error
    return training.curve


Going = list[tuple[int, Training]]  # those without an error, each under its number


def advance(
    trainings: Sequence[Training],
    train: Callable[[Going, int], int],
    until: int,
    label: str,
    enough: Callable[[], bool] | None = None,
) -> None:
    """Take trainings that have come equally far through the same epochs, with checkpoints.

    One that fails keeps its `error`, and the others go on. Nothing waits for the device inside
    an epoch, nor at the end of each where epochs are short.

    Args:
        train: takes them through an epoch; returns how many steps that was.
        until: the epochs to have done.
        label: shown with the progress.
        enough: asked after each epoch; a yes ends all.
    """
    (begun,) = {len(training.curve) for training in trainings}
    going, waiting, saved = list(enumerate(trainings)), [], time.monotonic()
    saves = ranks.leads()
    for epoch in track(range(begun, until), label):
        count = train(going, epoch)
        going = [(number, training) for number, training in going if training.error is None]
        if not count or not going:
            break
        waiting.append(({number: training.total for number, training in going}, count))
        due = time.monotonic() - saved > CHECKPOINT_EVERY_SECONDS
        if due or enough is not None or sum(n for _, n in waiting) >= LOOK_EVERY_STEPS:
            going = _look(going, waiting)
        if due and saves:
            for _, training in going:
                if training.checkpoint is not None:
                    training.save()
            saved = time.monotonic()
        if not going or (enough is not None and enough()):
            break
    _look(going, waiting)
    for training in trainings:
        training.gradients.close()


def in_turn(going: Going, steps: Iterator[Callable[[int], Loss]]) -> int:
    """One epoch of trainings that take turns, each with its own random numbers.

    Args:
        steps: each gives the loss of the training of a number, which steps upon it before the
            next one is asked for.

    Returns:
        How many steps each took.
    """
    count = 0
    for _, training in going:
        training.begin()
    for loss_of in steps:
        for number, training in going:
            if training.error is not None:
                continue
            try:
                with training.own_random_numbers():
                    training.step(loss_of(number))
            except Exception as error:
                training.error = error
        count += 1
    return count


def diverged(label: str, loss: float, epoch: int, lr: float) -> UserError:
    """The error of a training whose loss is no longer finite; epochs count from 1."""
    return UserError(
        f"{label}: the loss is {loss} in epoch {epoch}. A lower lr than {lr} may help."
    )


def _look(going: Going, waiting: list[tuple[dict[int, Tensor], int]]) -> Going:
    """Fetch the losses of the epochs that wait; returns the trainings that are still finite."""
    for totals, count in waiting:
        kept = [(number, training) for number, training in going if training.error is None]
        if not kept:
            break
        fetched = torch.stack([totals[number] for number, _ in kept]).cpu() / count
        for (_, training), losses in zip(kept, fetched, strict=True):
            training.curve.append(losses.tolist())
            if not losses.isfinite().any():
                found, epoch = float(losses.flatten()[0]), len(training.curve)
                training.error = diverged(training.label, found, epoch, training.lr)
    waiting.clear()
    return [(number, training) for number, training in going if training.error is None]
