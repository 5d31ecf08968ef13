"""Shipped labels in anyone's own training loop: open the folder, iterate over batches."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from . import artefact, distilled, registry
from .contract import LabelSource, LabelTask
from .device import Precision, choose
from .options import build
from .recipe import Objective
from .render import render
from .views import ViewPlan


class ShippedLabels:
    """Images and their labels, view by view, on the device.

    Attributes:
        epochs: how many the labels were made for.
        class_names: one a class, in label order.
        source: the label source, for its own `loss`.
    """

    def __init__(self, source: LabelSource) -> None:
        self.source = source
        self.epochs = source.task.plan.epochs
        self.class_names = source.task.images.class_names

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, from 0.

        Yields:
            images: float32 (B, channels, R, R), normalised with the dataset's statistics.
            targets: probabilities, float32 (B, classes); logits were softened at the
                objective's temperature.
        """
        task = self.source.task
        mean = torch.tensor(task.mean, device=task.device).view(1, -1, 1, 1)
        std = torch.tensor(task.std, device=task.device).view(1, -1, 1, 1)
        for views in self.source.views(epoch):
            views = views.to(task.device)
            pixels = render(task.images.pixels, views)
            targets = self.source.targets(views, pixels, epoch)
            yield (pixels - mean) / std, self.source.probabilities(targets)


def open_labels(
    labels: str | Path,
    images: str | Path,
    device: str = "auto",
    precision: Precision = "auto",
    seed: int = 0,
) -> ShippedLabels:
    """Open shipped labels with their images.

    Args:
        labels: the artefact's folder.
        images: the folder with `images.safetensors`.
        device: `auto`, `cpu` or `cuda`.
        seed: of what the method draws while training, such as LPQLD's pool.

    Raises:
        ArtefactError: either is damaged, or they do not belong together.
        UserError: the method is not known here, or CUDA is asked for and not there.
    """
    compute = choose(device, precision)
    manifest = artefact.read_manifest(Path(labels))
    task = LabelTask(
        images=distilled.read(Path(images), compute.device),
        plan=build(ViewPlan, manifest["plan"], "plan"),
        objective=build(Objective, manifest["objective"], "objective"),
        compute=compute,
        seed=seed,
        mean=tuple(manifest["mean"]),
        std=tuple(manifest["std"]),
    )
    return ShippedLabels(registry.method(manifest["method"]).load(Path(labels), task))
