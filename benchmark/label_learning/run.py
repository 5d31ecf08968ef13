"""Learning the labels of a task: epochs, resets, the choice on held-out images, checkpoints."""

import io
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark import networks
from benchmark.contract import LabelTask
from benchmark.errors import UserError
from benchmark.progress import say, track
from benchmark.stages import write_atomic
from benchmark.training import CHECKPOINT_EVERY_SECONDS

from .learner import Learner
from .real import INNER, TRIAL, RealImages, as_input, draw, weights_seed
from .resets import Resets, steps_worth
from .settings import Learning
from .table import LabelTable

Make = Callable[[nn.Module], Learner]  # from a fresh network that takes normalised pixels


class Run:
    """One learning of labels, which can be cut at any epoch and gone on with.

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
        self.table = LabelTable(even, options.label_optimiser, options.label_rate)
        self.best = even
        self.resets = Resets(options.window)
        self.notes: dict[str, Any] = {
            "outer_error": [],
            "outer_loss": [],
            "resets": [],
            "trials": [],
            "chosen": None,
        }
        self.learner = self._new(self._name, weights_seed(task.seed, 0, trial=False))

    def learn(self, checkpoint: Path) -> Tensor:
        """The labels chosen, (M, C).

        Args:
            checkpoint: a file to go on from, and to write at times; the caller removes it.

        Raises:
            UserError: a loss is no longer finite.
        """
        self._go_on(checkpoint)
        epochs, saved = self.options.epochs, time.monotonic()
        for epoch in track(range(len(self.notes["outer_error"]), epochs), self._label):
            self.epoch(epoch)
            if (epoch + 1) % self.options.select_every == 0 or epoch + 1 == epochs:
                self.trial(epoch)
            if time.monotonic() - saved > CHECKPOINT_EVERY_SECONDS:
                self._save(checkpoint)
                saved = time.monotonic()
        return self.best

    def epoch(self, epoch: int) -> None:
        """One step for each batch of target images."""
        errors, losses, waiting = [], [], []
        for step, (pixels, truth) in enumerate(self.real.epoch(epoch)):
            waiting.append(self._step(epoch, step, pixels, truth))
            if len(waiting) == self.resets.safe:
                self._look(waiting, errors, losses)
        self._look(waiting, errors, losses)
        self.notes["outer_error"].append(sum(errors) / len(errors))
        self.notes["outer_loss"].append(sum(losses) / len(losses))

    def trial(self, epoch: int) -> None:
        """Train fresh networks on the labels alone, and keep labels that are best held out."""
        found, worth = [], {}
        for number, name in enumerate(dict.fromkeys(self.options.learners)):
            lengths = [steps for who, steps in self.notes["resets"] if who == name]
            worth[name] = steps_worth(lengths, self.resets.steps)
            learner = self._new(name, weights_seed(self.task.seed, epoch, trial=True) + number)
            for step in range(worth[name]):
                rows = self._rows(epoch, step, TRIAL, 1)
                labels = self.table.values[rows]
                learner.move(learner.inner(self.base[rows], labels), labels)
            found.append(learner.mistakes(self.real.held_out()))
        told = {"epoch": epoch + 1, "held_out_error": sum(found) / len(found), "steps": worth}
        self.notes["trials"].append(told)
        chosen = self.notes["chosen"]
        if chosen is None or told["held_out_error"] <= chosen["held_out_error"]:
            self.notes["chosen"], self.best = told, self.table.values.clone()

    def _step(self, epoch: int, step: int, pixels: Tensor, truth: Tensor) -> Tensor:
        """Move labels and network; the outer error and loss, on the device."""
        rows = self._rows(epoch, step, INNER, self.learner.batches)
        inner = self.learner.inner(self.base[rows], self.table.values[rows])
        outer = self.learner.outer(inner, pixels, truth)
        self.table.move(rows, outer.gradient)
        self.learner.move(inner, self.table.values[rows])
        return torch.stack([outer.error, outer.loss])

    def _look(self, waiting: list[Tensor], errors: list[float], losses: list[float]) -> None:
        """Read the steps that wait to be looked at; the last may be its network's end."""
        if not waiting:
            return
        for error, loss in torch.stack(waiting).tolist():
            if not math.isfinite(loss):
                raise UserError(
                    f"learn labels: the outer loss is {loss} in epoch "
                    f"{len(self.notes['outer_error']) + 1}. A lower network_rate than "
                    f"{self.options.network_rate}, or another learner than {self._name}, may help."
                )
            errors.append(error)
            losses.append(loss)
            length = self.resets.add(error)
            if length is not None:
                self.notes["resets"].append([self._name, length])
                number = len(self.notes["resets"])
                self.learner = self._new(
                    self._name, weights_seed(self.task.seed, number, trial=False)
                )
        waiting.clear()

    def _rows(self, epoch: int, step: int, purpose: int, batches: int) -> Tensor:
        """Rows of a step's inner batches, (batches, n), on the device."""
        size = self.options.inner_batch
        rows = draw(self.task.seed, epoch, step, purpose, len(self.base), batches, size)
        return rows.to(self.task.device, non_blocking=True)

    @property
    def _name(self) -> str:
        """The learner whose turn it is."""
        return self.options.learners[len(self.notes["resets"]) % len(self.options.learners)]

    def _new(self, name: str, seed: int) -> Learner:
        torch.manual_seed(seed)
        images = self.task.images
        network = networks.create(name, self.task.classes, images.channels, images.resolution)
        return self.make(network)

    def _label(self) -> str:
        errors = self.notes["outer_error"]
        return f"learn labels, outer error {errors[-1]:.1%}" if errors else "learn labels"

    def _save(self, checkpoint: Path) -> None:
        state = {
            "table": self.table.state(),
            "learner": self.learner.state(),
            "resets": asdict(self.resets),
            "notes": self.notes,
            "best": self.best,
        }
        data = io.BytesIO()
        torch.save(state, data)
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
        self.notes, self.resets = state["notes"], Resets(**state["resets"])
        self.best = state["best"].to(self.task.device)
        self.table.restore(state["table"])
        self.learner = self._new(self._name, 0)
        self.learner.restore(state["learner"])


def learned(
    task: LabelTask, options: Learning, method: str, make: Make
) -> tuple[Tensor, dict[str, Any]]:
    """Labels (M, C) for the task's images, and `Run.notes`; learned once for all shipped forms."""
    key: dict[str, Any] = {
        name: value for name, value in asdict(options).items() if name not in ("form", "k")
    }
    key |= {"method": method, "images": task.images.digest}

    def build(folder: Path) -> None:
        checkpoint = folder / "checkpoint.pt"
        run = Run(task, options, make)
        labels = run.learn(checkpoint)
        checkpoint.unlink(missing_ok=True)
        save_file({"labels": labels.cpu()}, folder / "labels.safetensors")
        (folder / "notes.json").write_text(json.dumps(run.notes))

    folder = task.once("learned-labels", key, build)
    labels = load_file(folder / "labels.safetensors")["labels"]
    return labels, json.loads((folder / "notes.json").read_text())
