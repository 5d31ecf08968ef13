"""A step in its parts, each timed by itself and all in turns; plain copies and memory beside."""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain, cycle

import torch

from ..core.device import Compute
from ..data.images import Images
from ..data.rendering import render
from ..labels.contract import LabelSource
from ..labels.student import Student
from ..models.classifier import predicted
from ..models.training import Optimisation
from ..records.speed import Copied, LabelBytes, Memory, StepSeconds, Timed
from .throughput import Steps, in_turns

REPEATS = 5
COPIED_BYTES = 2**26  # more than a processor's caches hold
MOST_TESTED = 1000  # test images


@dataclass(frozen=True)
class Parts:
    """What a step is made of, and what it is measured against.

    Attributes:
        seconds: of every repeat.
        evaluation: of test images.
        copies: of bytes, by where they go.
        memory: its peak after some whole steps, before anything was copied.
    """

    seconds: StepSeconds
    evaluation: Timed
    copies: dict[Copied, Timed]
    memory: Memory


def measure(
    student: Student, source: LabelSource, optimisation: Optimisation, test: Images
) -> Parts:
    """Time the parts of a step, an evaluation and plain copies; all of them take turns.

    The student is copied, and neither it nor the source's memory is changed.
    """
    compute, state = source.task.compute, dict(source.training_state)
    if compute.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(compute.device)
    parts = _Parts(student, source, optimisation, test)
    for _ in range(3):
        parts.whole()
    memory = peak_memory(compute)
    copies = _copies(compute)
    timed = {
        "forward": parts.forward,
        "forward_backward": parts.forward_backward,
        "bare_step": parts.bare,
        "learning_step": parts.learning,
        "views": parts.sampling,
        "rendering": parts.rendering,
        "targets": parts.targets,
        "step": parts.whole,
    }
    beside = {"evaluation": parts.evaluation, **copies}
    seconds = in_turns({**timed, **beside}, compute.wait, REPEATS)
    source.training_state = state
    return Parts(
        StepSeconds(**{name: seconds[name] for name in timed}),
        Timed(size=len(parts.tested), seconds=seconds["evaluation"]),
        {name: Timed(size=COPIED_BYTES, seconds=seconds[name]) for name in copies},
        memory,
    )


def label_bytes(source: LabelSource, batch: int) -> LabelBytes:
    """What a step reads of the artefact's values and indices, and what it makes of them."""
    ledger, task = source.storage(), source.task
    stored = type(source).stored_views(source.options, task.shape)
    share = 1 / stored.batches if stored is not None else batch / len(task.images)
    return LabelBytes(
        stored=(ledger.values + ledger.indices) * share, targets=batch * task.classes * 4
    )


def peak_memory(compute: Compute) -> Memory:
    """On CUDA what was allocated at most since it was last reset; else of the whole process."""
    if compute.device.type == "cuda":
        allocated = torch.cuda.max_memory_allocated(compute.device)
        return Memory(bytes=max(1, allocated), of="device")
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return Memory(bytes=peak, of="process")


def _copies(compute: Compute) -> dict[Copied, Callable[[], None]]:
    """Plain copies of `COPIED_BYTES`: within the host, and where there is one, to a GPU and in it.

    Those to the GPU start from pinned memory.
    """

    def filled(device: torch.device | str, pinned: bool = False) -> torch.Tensor:
        made = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=device, pin_memory=pinned)
        return made.fill_(1)  # pages that nobody has written are not there yet

    found: dict[Copied, Callable[[], None]] = {
        "host": partial(_copy, filled("cpu"), filled("cpu")),
    }
    if compute.device.type == "cuda":
        here = filled(compute.device)
        found["device"] = partial(_copy, here, filled(compute.device))
        found["host to device"] = partial(_copy, here, filled("cpu", pinned=True))
    return found


def _copy(target: torch.Tensor, source: torch.Tensor) -> None:
    target.copy_(source, non_blocking=True)


class _Parts(Steps):
    """The steps whose throughput is measured, taken to pieces."""

    def __init__(
        self, student: Student, source: LabelSource, optimisation: Optimisation, test: Images
    ) -> None:
        super().__init__(student, source, optimisation)
        self.test = test
        self.tested = torch.arange(min(MOST_TESTED, len(test)))
        self._known = self.targets()
        epochs = cycle(range(source.task.plan.epochs))
        self._views = chain.from_iterable(map(source.views, epochs))

    def forward(self) -> torch.Tensor:
        return self.student.bare_batch(self.noise, self.random_targets, self.compute).whole()

    def forward_backward(self) -> None:
        loss = self.forward()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()

    def learning(self) -> None:
        """A bare step with the source's loss, on resident pixels and targets."""
        batch = self.student.batch(self.source, self._pixels, self._known, self._stored, 0)
        self._descend(batch)

    def sampling(self) -> None:
        next(self._views).to(self.compute.device)

    def rendering(self) -> None:
        render(self.source.task.images.pixels, self._stored)

    def evaluation(self) -> None:
        predicted(self.student, self.test, self.compute, self.tested)
        self.student.train()
