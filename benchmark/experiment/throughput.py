"""Throughput: a method's training step beside the bare student step, in the same run."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle

import torch

from ..data.rendering import render
from ..labels.contract import LabelSource
from ..labels.student import Student
from ..models.training import Optimisation

REPEATS = 5
LEAST_SECONDS = 0.05


@dataclass(frozen=True)
class Timings:
    """Seconds of every repeat; the bare step, the method's and its labels take turns.

    Attributes:
        batch: views a step.
        floor: of an online source's bare network; None of others.
    """

    batch: int
    bare_step: list[float]
    step: list[float]
    targets: list[float]
    floor: list[float] | None


def measure(student: Student, source: LabelSource, schedule: Optimisation) -> Timings:
    """Time the whole step, its labels alone, and the bare step, taking turns.

    The bare step is forward, backward and optimiser on resident random pixels and targets;
    the whole step adds views, rendering and labels. An online source's labels are also timed
    against their floor, its bare network on the same pixels. The student is copied, not changed.
    """
    task, compute = source.task, source.task.compute
    student = copy.deepcopy(student).train()
    optimiser, _ = schedule.build(student)
    epoch = cycle(range(task.plan.epochs))
    views_now = iter(())
    batch = task.plan.sizes()[0]
    side = task.images.resolution
    noise = torch.rand(batch, task.images.channels, side, side, device=compute.device)
    random_targets = torch.rand(batch, task.classes, device=compute.device).softmax(1)
    state = dict(source.training_state)

    def descend(loss: torch.Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    def bare_step() -> None:
        descend(student.bare_loss(noise, random_targets, compute))

    now = 0

    def step() -> None:
        nonlocal views_now, now
        views = next(views_now, None)
        if views is None:
            now = next(epoch)
            views_now = source.views(now)
            views = next(views_now)
        views = views.to(compute.device)
        pixels = render(task.images.pixels, views)
        targets = source.targets(views, pixels, now)
        descend(student.loss(source, pixels, targets, views, now))

    stored = next(iter(source.views(0))).to(compute.device)
    pixels = render(task.images.pixels, stored)

    def make_targets() -> None:
        source.targets(stored, pixels, 0)

    timed = {"bare_step": bare_step, "step": step, "targets": make_targets}
    network = source.network
    if network is not None:

        def floor() -> None:
            with torch.no_grad(), compute.autocast():
                network(pixels)

        timed["floor"] = floor
    counts = {name: _repetitions(work, compute.wait) for name, work in timed.items()}
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(REPEATS):
        for name, work in timed.items():
            seconds[name].append(_seconds(work, counts[name], compute.wait))
    source.training_state = state
    return Timings(
        batch, seconds["bare_step"], seconds["step"], seconds["targets"], seconds.get("floor")
    )


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
    return max(1, round(LEAST_SECONDS / max(1e-6, _seconds(work, 1, wait))))
