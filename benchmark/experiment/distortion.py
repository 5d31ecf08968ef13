"""Distortion: how far a method's labels are from the teacher's, on views that students see."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.progress import track
from ..data.rendering import render
from ..data.views import ViewBatch
from ..labels.contract import LabelSource, method
from ..labels.label_basis import centred
from ..models.classifier import Classifier
from ..records import speed
from ..records.distortion import DistortionRecord, Loss
from ..records.environment import environment
from ..records.record import as_json
from .grid import Cell
from .measure_each import SEED, names
from .run_cell import Cells
from .stages import ResolvedLabels

EPOCHS, BATCHES = 16, 4  # looked at: so many of the plan, and of each


@dataclass(frozen=True)
class Seen:
    """What was seen of a method's labels.

    Attributes:
        looked_at: labels.
        spectrum: share of the power of the teacher's centred logits that their first 1, 2, 4, ...
            principal directions hold.
    """

    looked_at: int
    loss: Loss
    spectrum: dict[str, float]


def distortion(runner: Cells, cell: Cell, labels: ResolvedLabels) -> DistortionRecord:
    """Compare one method's labels, which are made, with the teacher's."""
    experiment = runner.experiment
    folder, fit = experiment.finished(labels)
    task = experiment.task(labels, SEED)
    started = time.monotonic()
    source = method(cell.variant.method).load(folder / "artefact", task)
    loaded = time.monotonic() - started
    seen = look(source, experiment.teacher)
    return DistortionRecord(
        schema=speed.SCHEMA,
        kind="distortion",
        cell=names(runner, cell),
        precision=task.compute.precision,
        options=as_json(asdict(source.options)),
        bytes=source.storage().total,
        soft=task.shape.soft_bytes,
        looked_at=seen.looked_at,
        loss=seen.loss,
        spectrum=seen.spectrum,
        seconds_fit=fit.seconds,
        seconds_load=loaded,
        world=runner.world,
        environment=environment(),
    )


@torch.no_grad()
def look(source: LabelSource, teacher: Classifier) -> Seen:
    """Compare the labels of a sample of a student's views with the teacher's."""
    task = source.task
    objective, device = task.objective, task.device
    scale = objective.label_scale / objective.temperature
    covariance = torch.zeros(task.classes, task.classes, dtype=torch.float64, device=device)
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    looked_at = 0
    for epoch, views in track([*_sample(source)], "compare labels with the teacher's"):
        views = views.to(device)
        pixels = render(task.images.pixels, views)
        exact = teacher(pixels).float()
        targets = source.targets(views, pixels, epoch)
        given = source.probabilities(targets)
        rows = centred(exact)
        covariance += (rows.T @ rows).double()
        divergence = F.kl_div(F.log_softmax(exact * scale, 1), given, reduction="sum")
        wrong = (centred(targets) - rows).square().sum()  # of logits, if they are
        same = (given.argmax(1) == exact.argmax(1)).sum()
        sums += torch.stack([divergence, wrong, rows.square().sum(), same]).double()
        looked_at += len(rows)
    divergence, wrong, power, same = sums.tolist()
    return Seen(
        looked_at,
        Loss(
            divergence=max(divergence, 0.0) / looked_at,
            squared_error=wrong / power if source.space == "logits" else None,
            agreement=same / looked_at,
        ),
        _spectrum(covariance),
    )


def _sample(source: LabelSource) -> Iterator[tuple[int, ViewBatch]]:
    """The first batches of epochs spread over the plan, with the epoch's number."""
    plan = source.task.plan
    for epoch in sorted({round(at) for at in torch.linspace(0, plan.epochs - 1, EPOCHS).tolist()}):
        for views in islice(source.views(epoch), BATCHES):
            yield epoch, views


def _spectrum(covariance: Tensor) -> dict[str, float]:
    """Shares of the power in the first 1, 2, 4, ... directions, and in all."""
    powers = torch.linalg.eigvalsh(covariance).flip(0).clamp(min=0)
    shares = (powers.cumsum(0) / powers.sum().clamp(min=torch.finfo(powers.dtype).tiny)).tolist()
    counts = [*(2**k for k in range((len(shares) - 1).bit_length())), len(shares)]
    return {str(count): min(shares[count - 1], 1.0) for count in counts}
