"""Throughput: a method's training step beside the bare student step, in the same run."""

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from torch import Tensor

from ..core import ranks
from ..data.views import ViewBatch
from ..labels.contract import LabelSource
from ..labels.student import Student, rendered, stream, supplied
from ..models.gradients import Batch, Gradients
from ..models.training import Optimisation

REPEATS = 3
LEAST_SECONDS = 0.04


@dataclass(frozen=True)
class Timings:
    """Seconds of every repeat; the bare step, the method's and its labels take turns.

    Attributes:
        batch: views a step, of all devices.
        floor: of an online source's bare network; None of others.
        devices: that share each step.
    """

    batch: int
    bare_step: list[float]
    step: list[float]
    targets: list[float]
    floor: list[float] | None
    devices: int = 1


def measure(
    student: Student, source: LabelSource, optimisation: Optimisation, parts: int = 1
) -> Timings:
    """Time the whole step, its labels alone, and the bare step, taking turns.

    The bare step is forward, backward and optimiser on resident random pixels and targets;
    the whole step adds views, rendering and labels. An online source's labels are also timed
    against their floor, its bare network on the same pixels. The student is copied, not changed.
    Processes that train together time their common steps.

    Args:
        parts: in which a batch's rows are seen, where memory does not hold them at once.
    """
    state = dict(source.training_state)
    steps = Steps(student, source, optimisation, parts)
    timed = {"bare_step": steps.bare, "step": steps.whole, "targets": steps.targets}
    if source.network is not None:
        timed["floor"] = steps.floor
    seconds = in_turns(timed, source.task.compute.wait, REPEATS)
    source.training_state = state
    return Timings(
        source.task.plan.sizes()[0],
        seconds["bare_step"],
        seconds["step"],
        seconds["targets"],
        seconds.get("floor"),
        ranks.count(),
    )


def in_turns(
    timed: Mapping[str, Callable[[], None]], wait: Callable[[], None], repeats: int
) -> dict[str, list[float]]:
    """Seconds that each work takes, in every repeat; they take turns.

    So what slows the machine down for a while slows down all of them.

    Args:
        wait: until the device has done all that was asked of it.
    """
    counts = {name: _repetitions(work, wait) for name, work in timed.items()}
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats):
        for name, work in timed.items():
            seconds[name].append(_seconds(work, counts[name], wait))
    return seconds


class Steps:
    """What is timed, each with all that it needs on the device."""

    def __init__(
        self, student: Student, source: LabelSource, optimisation: Optimisation, parts: int = 1
    ) -> None:
        task = source.task
        self.source, self.compute = source, task.compute
        self.student = copy.deepcopy(student).train()
        self.optimiser, _ = optimisation.build(self.student)
        self._gradients = Gradients(self.student, source.name, source.training_state, parts)
        batch, side, device = task.plan.sizes()[0], task.images.resolution, task.device
        self.noise = torch.rand(batch, task.images.channels, side, side, device=device)
        self.random_targets = torch.rand(batch, task.classes, device=device).softmax(1)
        self._stream = self._all_steps()
        self._stored = next(iter(source.views(0))).to(device)
        self._pixels = rendered(source, self._stored)

    def bare(self) -> None:
        """The student's own step, on resident random data."""
        self._descend(self.student.bare_batch(self.noise, self.random_targets, self.compute))

    def whole(self) -> None:
        """A step of training: views, rendering, targets, and the step on them."""
        epoch, (views, pixels, targets) = next(self._stream)
        self._descend(self.student.batch(self.source, pixels, targets, views, epoch))

    def targets(self) -> Any:
        """The targets of one resident batch."""
        return supplied(self.source, self._stored, self._pixels, 0)

    def floor(self) -> None:
        """The forward pass that these targets cannot do without: of the source's network."""
        assert self.source.network is not None
        with torch.no_grad(), self.compute.autocast():
            self.source.network(self._pixels)

    def _descend(self, batch: Batch) -> None:
        self.optimiser.zero_grad(set_to_none=True)
        self._gradients.of(batch)
        self.optimiser.step()

    def _all_steps(self) -> Iterator[tuple[int, tuple[ViewBatch, Tensor, Any]]]:
        """What a student is trained on: epoch after epoch, without end."""
        for epoch in cycle(range(self.source.task.plan.epochs)):
            for step in stream(self.source, epoch):
                yield epoch, step


def _seconds(work: Callable[[], None], count: int, wait: Callable[[], None]) -> float:
    wait()
    start = time.perf_counter()
    for _ in range(count):
        work()
    wait()
    return (time.perf_counter() - start) / count


def _repetitions(work: Callable[[], None], wait: Callable[[], None]) -> int:
    """How often to do `work` for a time well above the clock's grain; also warms up."""
    work()
    count = max(1, round(LEAST_SECONDS / max(1e-6, _seconds(work, 1, wait))))
    return ranks.told(count)  # as often in all processes that work together
