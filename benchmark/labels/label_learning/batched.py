"""Labels of several base sets learned side by side: one pass for all, each as it would be alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.errors import UserError
from ...core.progress import say
from ..shared_cache import shared_cache_for_all
from ..task import LabelTask
from .batched_network import BatchedNetwork, require_batchable
from .real import INNER, TRIAL, as_input
from .run import KIND, LrSchedule, Make, Run, keep, stage_key
from .settings import Learning
from .table import LabelTable


class BatchedRuns(LrSchedule):
    """Runs whose tasks differ only in their images, which see the same real images in time.

    A member is a run: its resets, trials, choice and notes are its own. Random numbers depend on
    seed, epoch and step alone, so that inner rows are the same in all.

    Attributes:
        runs: of the members; what they learn with is here.
    """

    def __init__(self, tasks: Sequence[LabelTask], options: Learning, make: Make) -> None:
        self.options, self.make = options, make
        self.runs = [Run(task, options, make) for task in tasks]
        if len(set(options.learners)) > 1:
            raise UserError(
                f"Learners {', '.join(options.learners)} take turns, in each base set at its own "
                "time, so labels cannot be learned side by side: leave out --batched, or give "
                "one learner."
            )
        self._name = options.learners[0]
        first = self.runs[0]
        require_batchable(
            first.due(), self._name, as_input(tasks[0].images.pixels[:2], torch.device("cpu"))
        )
        self.real = first.real
        self.base = torch.stack([run.base for run in self.runs])
        even = torch.stack([run.best for run in self.runs])
        self.table = LabelTable(even, options.label_optimiser, options.label_lr)
        self.learner = make(BatchedNetwork([run.due() for run in self.runs]))

    def epoch(self, epoch: int) -> None:
        waiting: list[Tensor] = []
        for step, (pixels, truth) in enumerate(self.real.epoch(epoch)):
            waiting.append(self._step(epoch, step, pixels, truth))
            if len(waiting) == min(run.resets.safe for run in self.runs):
                self._look(waiting)
        self._look(waiting)
        for run in self.runs:
            run.close()

    def trial(self, epoch: int) -> None:
        worth = [run.worth(self._name) for run in self.runs]
        learner = self.make(
            BatchedNetwork([run.untried(self._name, epoch, 0) for run in self.runs])
        )
        for step in range(max(worth)):
            rows = self.runs[0].rows(epoch, step, TRIAL, 1)
            labels = _taken(self.table.values, rows)
            learner.move(learner.inner(_taken(self.base, rows), labels), labels)
            for member, run in enumerate(self.runs):
                if worth[member] == step + 1:
                    found = learner.only(member).mistakes(run.real.held_out())
                    labels = self.table.values[member]
                    run.choose(epoch, [found], {self._name: worth[member]}, labels)

    @property
    def errors(self) -> list[float]:
        """The mean over the members."""
        epochs = zip(*(run.errors for run in self.runs), strict=True)
        return [sum(errors) / len(errors) for errors in epochs]

    def state(self) -> dict[str, Any]:
        return {
            "images": [run.task.images.digest for run in self.runs],
            "runs": [run.told() for run in self.runs],
            "table": self.table.state(),
            "learner": self.learner.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`, if it is of the same base sets."""
        if state["images"] != [run.task.images.digest for run in self.runs]:
            say("labels were being learned beside those of other base sets; starting over")
            return
        for run, told in zip(self.runs, state["runs"], strict=True):
            run.recall(told)
        self.table.restore(state["table"])
        self.learner.restore(state["learner"])

    def _step(self, epoch: int, step: int, pixels: Tensor, truth: Tensor) -> Tensor:
        """Move labels and networks; the outer errors and losses (L, 2), on the device."""
        rows = self.runs[0].rows(epoch, step, INNER, self.learner.batches)
        inner = self.learner.inner(_taken(self.base, rows), _taken(self.table.values, rows))
        outer = self.learner.outer(inner, pixels, truth)
        self.table.move(rows, outer.gradient.movedim(1, 0))
        self.learner.move(inner, _taken(self.table.values, rows))
        return torch.stack([outer.error, outer.loss], 1)

    def _look(self, waiting: list[Tensor]) -> None:
        """Read the steps that wait to be looked at; the last may be some networks' end."""
        if not waiting:
            return
        for step in torch.stack(waiting).tolist():
            for member, (error, loss) in enumerate(step):
                if self.runs[member].count(error, loss):
                    self.learner.begin(member, self.runs[member].due())
        waiting.clear()


def learn_batched(tasks: Sequence[LabelTask], options: Learning, method: str, make: Make) -> None:
    """Leave what `learned` would make for each task, as far as it is not there yet."""

    def build(folders: dict[int, Path]) -> None:
        members = BatchedRuns([tasks[i] for i in folders], options, make)
        members.go(next(iter(folders.values())) / "batched.pt")
        for run, folder in zip(members.runs, folders.values(), strict=True):
            keep(folder, run.best, run.notes)

    shared_cache_for_all(tasks, KIND, [stage_key(task, options, method) for task in tasks], build)


def _taken(values: Tensor, rows: Tensor) -> Tensor:
    """Rows (k, n) of all members' values (L, M, ...), batch by batch, (k, L, n, ...)."""
    return values[:, rows].movedim(1, 0)
