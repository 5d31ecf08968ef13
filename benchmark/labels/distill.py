"""Distillation: a network fitted to teachers' logits on views of the real training set.

HeLlO's projector and teachers that were made smaller learn this way. The real images are seen
through the recipe's views, since on those the network will be asked.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.progress import track
from ..data.real_batches import epoch_views, with_pixels
from ..data.rendering import render_gathered
from ..data.views import SAMPLE, ViewBatch, permutation, random_words
from ..models.gradients import Batch
from ..models.priors import weights_digest
from ..models.training import Optimisation, optimise
from .contract import divergence
from .task import LabelTask
from .writer import Stored, TensorWriter

HELD_OUT_EPOCH = 0
Frozen = tuple[str, Callable[[Tensor], Tensor]]


@dataclass(frozen=True)
class DistillOptions:
    """How a network is fitted.

    Attributes:
        loss: `mse`, the mean squared error of logits, or `kl`, the Kullback-Leibler divergence
            at the recipe's temperature, times its square.
        ce_weight: of an added cross-entropy with the real labels.
        held_out: share of the real training images kept apart, to measure how often network
            and teacher name the same class.
        patience: epochs without more agreement after which the fit ends, at its best weights;
            0 never ends early, and keeps the last.
        minutes: after which the fit ends with the weights it has; 0 is without limit.
        replay: epochs of views that differ. Later epochs show these again, and read from disk
            what teachers and frozen layers said of them; 0 shows fresh views in every epoch.
    """

    epochs: int
    batch_size: int = 64
    lr: float = 1e-3
    loss: Literal["mse", "kl"] = "mse"
    ce_weight: float = 0.0
    held_out: float = 0.02
    patience: int = 0
    minutes: float = 0.0
    replay: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.lr > 0:
            raise ValueError("epochs and batch_size must be at least 1, lr positive")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out must be a share below 1, got {self.held_out}")
        for name in ("ce_weight", "patience", "minutes", "replay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.patience and not self.held_out:
            raise ValueError("patience needs held_out images to measure agreement on")


@dataclass(frozen=True)
class TeacherBatch:
    """A batch of real views: what the network is shown, and what it should say.

    Attributes:
        shown: pixels (B, C, R, R) in 0..1, or what frozen layers make of them.
        target: mean of the teachers' logits, float32 (B, classes).
        labels: of the views' images, and of those mixed in, int64 (B,) each.
        weight: share of each view that is its own image, (B,).
    """

    shown: Tensor
    target: Tensor
    labels: tuple[Tensor, Tensor]
    weight: Tensor


class TeacherBatches:
    """The views of real images that a network is fitted on, and those it is held against.

    Args:
        teachers: whose mean logits are target; take pixels.
        frozen: a name that stands for them in cache keys, and layers that do not learn, whose
            outputs are shown in place of pixels.
    """

    def __init__(
        self,
        task: LabelTask,
        teachers: Sequence[nn.Module],
        fit: DistillOptions,
        frozen: Frozen | None = None,
    ) -> None:
        self.task, self.teachers, self.fit, self.frozen = task, teachers, fit, frozen
        self.train = task.real_images()
        self.labels = self.train.labels.to(task.device)
        count = len(self.train)
        order = torch.from_numpy(permutation(random_words(task.seed, 0, 0, SAMPLE, count)))
        held = min(max(1, round(fit.held_out * count)), count - 1) if fit.held_out else 0
        self.held_out, self.seen = order[:held], order[held:]
        self.plan = replace(
            task.plan, images=count - held, batch_size=fit.batch_size, epochs=fit.epochs
        )
        self._stored = self._store() if fit.replay else {}

    def epoch(self, epoch: int) -> Iterator[TeacherBatch]:
        """The batches of one epoch."""
        if self.fit.replay:
            epoch %= self.fit.replay
        every = epoch_views(self.train, self.plan, epoch, self.seen)
        seen = "logits" not in self._stored or not (self.frozen and "features" in self._stored)
        for views, block in with_pixels(self.train, every) if seen else zip(every, repeat(None)):
            rows, index = self.plan.rows(epoch, views.batch), views.index
            views = views.to(self.task.device)
            kept = {name: stored[rows] for name, stored in self._stored.items()}
            kept = {
                name: value.to(self.task.device, non_blocking=True).float()
                for name, value in kept.items()
            }
            pixels = None if block is None else self._pixels(block, views)
            target = kept["logits"] if "logits" in kept else self._target(pixels)
            shown = kept["features"] if "features" in kept else self._shown(pixels)
            own = self.labels[index.to(self.task.device, non_blocking=True)]
            yield TeacherBatch(shown, target, (own, own[views.partner]), views.mix_weight)

    def agreement(self, network: nn.Module) -> float:
        """Share of held-out views whose top class is the same for network and teacher."""
        teacher, _, _ = self.task.fitting()
        plan = replace(self.plan, seed=self.plan.seed + 1, images=len(self.held_out))
        same = []
        network.eval()
        with torch.no_grad(), self.task.compute.autocast():
            every = epoch_views(self.train, plan, HELD_OUT_EPOCH, self.held_out)
            for views, block in with_pixels(self.train, every):
                pixels = self._pixels(block, views.to(self.task.device))
                same.append(teacher(pixels).argmax(1) == network(self._shown(pixels)).argmax(1))
        return torch.cat(same).float().mean().item()

    def _pixels(self, block: Tensor, views: ViewBatch) -> Tensor:
        return render_gathered(block.to(self.task.device, non_blocking=True), views)

    def _target(self, pixels: Tensor | None) -> Tensor:
        with torch.no_grad(), self.task.compute.autocast():
            return torch.stack([t(pixels).float() for t in self.teachers]).mean(0)

    def _shown(self, pixels: Tensor | None) -> Tensor:
        assert pixels is not None
        if self.frozen is None:
            return pixels
        with torch.no_grad(), self.task.compute.autocast():
            return self.frozen[1](pixels).float()

    def _store(self) -> dict[str, Stored]:
        """What teachers and frozen layers say of the views that are shown again, on disk."""
        plan = self.plan
        shared = {
            "batch_size": plan.batch_size,
            "held_out": self.fit.held_out,
            "epochs": self.fit.replay,
            "resolution": plan.resolution,
        }
        parts: dict[str, tuple[Any, Callable[[Tensor], Tensor]]] = {
            "logits": ([weights_digest(t) for t in self.teachers], self._target)
        }
        if self.frozen is not None:
            parts["features"] = (self.frozen[0], self._shown)
        stored = {}
        for name, (identity, make) in parts.items():

            def build(folder: Path, name: str = name, make: Any = make) -> None:
                writer = None
                every = (
                    views
                    for epoch in range(self.fit.replay)
                    for views in epoch_views(self.train, plan, epoch, self.seen)
                )
                shown, count = with_pixels(self.train, every), self.fit.replay * plan.batches
                for views, block in track(shown, f"{name} of real views", count):
                    made = make(self._pixels(block, views.to(self.task.device)))
                    if writer is None:
                        writer = TensorWriter(folder / name, torch.float16, tuple(made.shape[1:]))
                    writer.add(made.clamp(-65504, 65504))
                assert writer is not None
                (folder / "width").write_text(str(writer.row[0]))

            folder = self.task.shared_cache(name, {**shared, "of": identity}, build)
            width = int((folder / "width").read_text())
            rows = self.fit.replay * plan.images
            stored[name] = Stored(folder / name, torch.float16, (rows, width))
        return stored


def distill(
    task: LabelTask,
    network: nn.Module,
    teachers: Sequence[nn.Module],
    fit: DistillOptions,
    label: str,
    checkpoint: Path,
    frozen: Frozen | None = None,
) -> dict[str, Any]:
    """Fit `network` in place to the mean of the teachers' logits on real views.

    Args:
        network: pixels in 0..1, or what `frozen` makes of them, to logits.
        label: shown with the progress.
        checkpoint: a file to go on from after a kill; the caller removes it.
        frozen: see `TeacherBatches`.

    Returns:
        What a record tells of the fit: mean loss of each epoch, agreement with the teacher on
        held-out views after each, and why it ended.
    """
    return _Fitting(task, network, TeacherBatches(task, teachers, fit, frozen), fit).run(
        label, checkpoint
    )


class _Fitting:
    """One network's way to the teachers; its `memory` is in the checkpoint."""

    def __init__(
        self, task: LabelTask, network: nn.Module, batches: TeacherBatches, fit: DistillOptions
    ) -> None:
        self.task, self.network, self.batches, self.fit = task, network, batches, fit
        self.trainable = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.memory = {"agreement": torch.zeros(0), "seconds": torch.zeros(())}
        self.started: float | None = None
        self.ended = "all epochs done"

    def run(self, label: str, checkpoint: Path) -> dict[str, Any]:
        fit, memory = self.fit, self.memory
        steps = Optimisation(
            fit.epochs, self.batches.plan.batches, lr=fit.lr, weight_decay=0.0, warmup=0.05
        )
        curve = optimise(self.network, self.losses, steps, label, checkpoint, memory, self.enough)
        if fit.held_out and len(memory["agreement"]) < len(curve):
            self.validate()  # it was killed between its last checkpoint and this
        if fit.patience:
            with torch.no_grad():
                for name, parameter in self.trainable.items():
                    parameter.copy_(memory[f"best.{name}"])
        return {"loss": curve, "agreement": memory["agreement"].tolist(), "ended": self.ended}

    def losses(self, epoch: int) -> Iterator[Batch]:
        """The losses of an epoch, one a step."""
        if self.started is None:
            self.started = time.monotonic() - float(self.memory["seconds"])
        if self.fit.held_out and len(self.memory["agreement"]) < epoch:
            self.validate()  # the checkpoint gone on from was written before it
            self.network.train()
        for batch in self.batches.epoch(epoch):

            def logits(rows: slice, batch: TeacherBatch = batch) -> Tensor:
                with self.task.compute.autocast():
                    return self.network(batch.shown[rows]).float()

            temperature = self.task.objective.temperature
            of_logits = partial(loss, batch=batch, fit=self.fit, temperature=temperature)
            yield Batch(len(batch.target), logits, of_logits)
            if self.late:
                return

    def validate(self) -> None:
        """Measure the agreement after an epoch, and keep weights that are better than all."""
        found = torch.tensor([self.batches.agreement(self.network)])
        self.memory["agreement"] = torch.cat([self.memory["agreement"].cpu(), found])
        last = len(self.memory["agreement"]) - 1
        if self.fit.patience and self.memory["agreement"].argmax() == last:
            best = {f"best.{n}": p.detach().clone() for n, p in self.trainable.items()}
            self.memory.update(best)

    def enough(self) -> bool:
        """Whether the fit ends after this epoch; says why."""
        self.memory["seconds"] = torch.tensor(self.spent)
        if self.fit.held_out:
            self.validate()
        if self.fit.patience:
            since = len(self.memory["agreement"]) - 1 - int(self.memory["agreement"].argmax())
            if since >= self.fit.patience:
                self.ended = f"no more agreement for {since} epochs"
                return True
        if self.late:
            self.ended = f"{self.fit.minutes:g} minutes were over"
        return self.late

    @property
    def spent(self) -> float:
        """Seconds of the fit, those before a kill too."""
        return time.monotonic() - (self.started or 0.0)

    @property
    def late(self) -> bool:
        return bool(self.fit.minutes) and self.spent > 60 * self.fit.minutes


def loss(logits: Tensor, batch: TeacherBatch, fit: DistillOptions, temperature: float) -> Tensor:
    """The loss of one batch, a scalar."""
    if fit.loss == "mse":
        main = F.mse_loss(logits, batch.target)
    else:
        main = divergence(batch.target, logits, temperature) * temperature**2
    if not fit.ce_weight:
        return main
    own, mixed = (F.cross_entropy(logits, y, reduction="none") for y in batch.labels)
    return main + fit.ce_weight * torch.lerp(mixed, own, batch.weight).mean()
