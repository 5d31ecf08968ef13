"""Learning the labels of a task: epochs, resets, the choice on held-out images, checkpoints."""

import io
import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...core.errors import UserError
from ...core.files import write_atomic
from ...core.progress import say, track
from ...models import networks
from ...models.training import CHECKPOINT_EVERY_SECONDS
from ..task import LabelTask
from .learner import Learner
from .real import INNER, TRIAL, RealImages, as_input, draw, weights_seed
from .resets import Resets, steps_worth
from .settings import Learning
from .table import LabelTable

KIND = "learned-labels"
Make = Callable[[nn.Module], Learner]  # from a fresh network that takes normalised pixels


class LrSchedule(ABC):
    """Epochs of learning, with trials in between; it can be cut at any epoch and gone on with."""

    options: Learning

    @abstractmethod
    def epoch(self, epoch: int) -> None:
        """One step for each batch of target images."""

    @abstractmethod
    def trial(self, epoch: int) -> None:
        """Train fresh networks on the labels alone, and keep labels that are best held out."""

    @property
    @abstractmethod
    def errors(self) -> list[float]:
        """The outer error of each epoch so far."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that `restore` needs."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, on the CPU."""

    def go(self, checkpoint: Path) -> None:
        """All epochs.

        Args:
            checkpoint: a file to go on from, and to write at times; the caller removes it.

        Raises:
            UserError: a loss is no longer finite.
        """
        self._go_on(checkpoint)
        epochs, saved = self.options.epochs, time.monotonic()
        for epoch in track(range(len(self.errors), epochs), self._label):
            self.epoch(epoch)
            if (epoch + 1) % self.options.select_every == 0 or epoch + 1 == epochs:
                self.trial(epoch)
            if time.monotonic() - saved > CHECKPOINT_EVERY_SECONDS:
                self._save(checkpoint)
                saved = time.monotonic()

    def _label(self) -> str:
        errors = self.errors
        return f"learn labels, outer error {errors[-1]:.1%}" if errors else "learn labels"

    def _save(self, checkpoint: Path) -> None:
        data = io.BytesIO()
        torch.save(self.state(), data)
        write_atomic(checkpoint, data.getvalue())

    def _go_on(self, checkpoint: Path) -> None:
        """Load a checkpoint, if there is one."""
        if not checkpoint.exists():
            return
        try:
            state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:
            say(f"{checkpoint} cannot be read ({type(error).__name__}); starting over")
            checkpoint.unlink()
            return
        self.restore(state)


class Run(LrSchedule):
    """One learning of labels.

    Nothing waits for the device until a network could be at its end (see `Resets.safe`) or an
    epoch is over.

    Attributes:
        notes: what records tell, with the outer error and loss of each epoch; every reset's
            learner and steps; every trial's epoch, held-out error and steps of each learner;
            and the trial whose labels are kept.
    """

    def __init__(self, task: LabelTask, options: Learning, make: Make) -> None:
        self.task, self.options, self.make = task, options, make
        self.real = RealImages(task, options.held_out, options.outer_batch)
        self.base = as_input(task.images.pixels, task.device)
        even = torch.full((len(self.base), task.classes), 1 / task.classes, device=task.device)
        self.table = LabelTable(even, options.label_optimiser, options.label_lr)
        self.best = even
        self.resets = Resets(options.window)
        self.notes: dict[str, Any] = {
            "outer_error": [],
            "outer_loss": [],
            "resets": [],
            "validation": [],
            "chosen": None,
        }
        self._seen: list[tuple[float, float]] = []
        self.learner = make(self.due())

    def learn(self, checkpoint: Path) -> Tensor:
        """The labels chosen, (M, C); see `go`."""
        self.go(checkpoint)
        return self.best

    def epoch(self, epoch: int) -> None:
        waiting: list[Tensor] = []
        for step, (pixels, truth) in enumerate(self.real.epoch(epoch)):
            waiting.append(self._step(epoch, step, pixels, truth))
            if len(waiting) == self.resets.safe:
                self._look(waiting)
        self._look(waiting)
        self.close()

    def trial(self, epoch: int) -> None:
        found, worth = [], {}
        for number, name in enumerate(dict.fromkeys(self.options.learners)):
            worth[name] = self.worth(name)
            learner = self.make(self.untried(name, epoch, number))
            for step in range(worth[name]):
                rows = self.rows(epoch, step, TRIAL, 1)
                labels = self.table.values[rows]
                learner.move(learner.inner(self.base[rows], labels), labels)
            found.append(learner.mistakes(self.real.held_out()))
        self.choose(epoch, found, worth, self.table.values)

    def worth(self, name: str) -> int:
        """Steps to train a fresh network of this kind in a trial."""
        lengths = [steps for who, steps in self.notes["resets"] if who == name]
        return steps_worth(lengths, self.resets.steps)

    def choose(self, epoch: int, found: list[float], worth: dict[str, int], labels: Tensor) -> None:
        """Keep the labels (M, C) if they are best; note the errors `found`, one a learner."""
        told = {"epoch": epoch + 1, "held_out_error": sum(found) / len(found), "steps": worth}
        self.notes["validation"].append(told)
        chosen = self.notes["chosen"]
        if chosen is None or told["held_out_error"] <= chosen["held_out_error"]:
            self.notes["chosen"], self.best = told, labels.clone()

    def count(self, error: float, loss: float) -> bool:
        """Count a step; whether the network is at its end, so that another is `due`."""
        if not math.isfinite(loss):
            raise UserError(
                f"learn labels: the outer loss is {loss} in epoch "
                f"{len(self.errors) + 1}. A lower network_lr than "
                f"{self.options.network_lr}, or another learner than {self._name}, may help."
            )
        self._seen.append((error, loss))
        length = self.resets.add(error)
        if length is not None:
            self.notes["resets"].append([self._name, length])
        return length is not None

    def close(self) -> None:
        """Note the epoch that is over."""
        errors, losses = zip(*self._seen, strict=True)
        self.notes["outer_error"].append(sum(errors) / len(errors))
        self.notes["outer_loss"].append(sum(losses) / len(losses))
        self._seen.clear()

    def due(self) -> nn.Module:
        """The network whose turn it is, with fresh weights."""
        number = len(self.notes["resets"])
        return self._network(self._name, weights_seed(self.task.seed, number, trial=False))

    def untried(self, name: str, epoch: int, number: int) -> nn.Module:
        """The network of a trial, `number` of those with other networks."""
        return self._network(name, weights_seed(self.task.seed, epoch, trial=True) + number)

    def rows(self, epoch: int, step: int, purpose: int, batches: int) -> Tensor:
        """Rows of a step's inner batches, (batches, n), on the device."""
        size = self.options.inner_batch
        rows = draw(self.task.seed, epoch, step, purpose, len(self.base), batches, size)
        return rows.to(self.task.device, non_blocking=True)

    @property
    def errors(self) -> list[float]:
        return self.notes["outer_error"]

    def state(self) -> dict[str, Any]:
        return {**self.told(), "table": self.table.state(), "learner": self.learner.state()}

    def restore(self, state: dict[str, Any]) -> None:
        self.recall(state)
        self.table.restore(state["table"])
        self.learner = self.make(self.due())
        self.learner.restore(state["learner"])

    def told(self) -> dict[str, Any]:
        """The part of `state` that is not of labels being learned and networks."""
        return {"resets": asdict(self.resets), "notes": self.notes, "best": self.best}

    def recall(self, told: dict[str, Any]) -> None:
        """Go on from `told`."""
        self.notes, self.resets = told["notes"], Resets(**told["resets"])
        self.best = told["best"].to(self.task.device)

    def _step(self, epoch: int, step: int, pixels: Tensor, truth: Tensor) -> Tensor:
        """Move labels and network; the outer error and loss, on the device."""
        rows = self.rows(epoch, step, INNER, self.learner.batches)
        inner = self.learner.inner(self.base[rows], self.table.values[rows])
        outer = self.learner.outer(inner, pixels, truth)
        self.table.move(rows, outer.gradient)
        self.learner.move(inner, self.table.values[rows])
        return torch.stack([outer.error, outer.loss])

    def _look(self, waiting: list[Tensor]) -> None:
        """Read the steps that wait to be looked at; the last may be its network's end."""
        if not waiting:
            return
        for error, loss in torch.stack(waiting).tolist():
            if self.count(error, loss):
                self.learner = self.make(self.due())
        waiting.clear()

    @property
    def _name(self) -> str:
        """The learner whose turn it is."""
        return self.options.learners[len(self.notes["resets"]) % len(self.options.learners)]

    def _network(self, name: str, seed: int) -> nn.Module:
        torch.manual_seed(seed)
        images = self.task.images
        return networks.create(name, self.task.classes, images.channels, images.resolution)


def stage_key(task: LabelTask, options: Learning, method: str) -> dict[str, Any]:
    """What decides the labels of a task; in which form they ship does not."""
    key: dict[str, Any] = {
        name: value for name, value in asdict(options).items() if name not in ("form", "k")
    }
    return key | {"method": method, "images": task.images.digest}


def keep(folder: Path, labels: Tensor, notes: dict[str, Any]) -> None:
    """Leave what was learned in a stage's folder, and no checkpoint."""
    for checkpoint in folder.glob("*.pt"):
        checkpoint.unlink()
    save_file({"labels": labels.cpu()}, folder / "labels.safetensors")
    (folder / "notes.json").write_text(json.dumps(notes))


def learned(
    task: LabelTask, options: Learning, method: str, make: Make
) -> tuple[Tensor, dict[str, Any]]:
    """Labels (M, C) for the task's images, and `Run.notes`; learned once for all shipped forms."""

    def build(folder: Path) -> None:
        run = Run(task, options, make)
        labels = run.learn(folder / "checkpoint.pt")
        keep(folder, labels, run.notes)

    folder = task.shared_cache(KIND, stage_key(task, options, method), build)
    labels = load_file(folder / "labels.safetensors")["labels"]
    return labels, json.loads((folder / "notes.json").read_text())
