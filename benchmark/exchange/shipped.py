"""Shipped labels in anyone's own loop: their views, their pixels, their loss.

A student that steps upon `ShippedLabels.loss` over all epochs trains as the harness's do.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from ..core.errors import UserError
from ..data.images import Encoded, decode
from ..data.rendering import render
from ..data.views import ViewBatch
from ..labels.contract import LabelSource

SLACK = 1e-3  # pixels that were computed may leave 0..1 by as much


@dataclass(frozen=True)
class Targets:
    """What a student is trained towards in one batch, for `ShippedLabels.loss`.

    Attributes:
        rows: float32 (B, classes), probabilities or logits, as the method has them.
        views: which images the batch shows, and how.
        epoch: in which it is shown, from 0.
    """

    rows: Tensor
    views: ViewBatch
    epoch: int

    def __len__(self) -> int:
        return len(self.rows)


class ShippedLabels(IterableDataset[tuple[Tensor, Targets]]):
    """Images and their labels, view by view: the batches of all epochs, as `ShippedEpoch` has them.

    `len` is the number of steps of a whole training; that of an epoch is `len(labels.epoch(0))`.

    Attributes:
        epochs: how many the labels were made for.
        class_names: one a class, in label order.
        source: the label source itself.
    """

    def __init__(self, source: LabelSource) -> None:
        self.source = source
        self.epochs = source.task.plan.epochs
        self.class_names = source.task.images.class_names
        shape = (1, -1, 1, 1)
        self._mean = torch.tensor(source.task.mean, device=source.task.device).view(shape)
        self._std = torch.tensor(source.task.std, device=source.task.device).view(shape)

    @property
    def device(self) -> torch.device:
        """Where images and targets are."""
        return self.source.task.device

    def __len__(self) -> int:
        return self.source.task.plan.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Targets]]:
        return self._batches(range(self.epochs))

    def epoch(self, epoch: int) -> "ShippedEpoch":
        """The batches of one epoch, from 0; iterate over them, or give them to a DataLoader.

        Raises:
            UserError: the labels were not made for it.
        """
        if not 0 <= epoch < self.epochs:
            raise UserError(
                f"These labels were made for epochs 0 to {self.epochs - 1}, not for {epoch!r}."
            )
        return ShippedEpoch(self, epoch)

    def loss(self, logits: Tensor, targets: Targets) -> Tensor:
        """The scalar to minimise, as the labels' recipe and method have it.

        Computed on the labels' device; a method may keep memory from step to step, so it is asked
        once a step, in order.

        Args:
            logits: of the student, (B, classes).
            targets: as they came with the images.

        Raises:
            UserError: they are of another number of views or classes, or were not given by `epoch`.
        """
        if not isinstance(targets, Targets):
            raise UserError(
                f"loss takes the targets that come with the images, got {type(targets).__name__}."
            )
        if logits.shape != targets.rows.shape:
            raise UserError(
                f"The targets are for logits of shape {tuple(targets.rows.shape)}, got "
                f"{tuple(logits.shape)}."
            )
        device = self.source.task.device
        rows, views = targets.rows.to(device), targets.views.to(device)
        return self.source.loss(logits.float().to(device), rows, views, targets.epoch)

    def probabilities(self, targets: Targets) -> Tensor:
        """Targets as float32 (B, classes) for another loss than the labels' own.

        Logits are softened at the objective's temperature.
        """
        return self.source.probabilities(targets.rows)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels as students are shown them, float32 (B, channels, R, R) on their device.

        Args:
            pixels: of any images, uint8, or floats in 0..1; (B, channels, R, R).

        Raises:
            UserError: they are of another kind, or have another number of channels.
        """
        channels = self._mean.shape[1]
        if pixels.ndim != 4 or pixels.shape[1] != channels:
            raise UserError(
                f"normalise takes pixels (B, {channels}, R, R), got {tuple(pixels.shape)}."
            )
        if pixels.dtype == torch.uint8:
            pixels = pixels.float() / 255
        elif not pixels.is_floating_point():
            raise UserError(f"normalise takes uint8 or floats in 0..1, got {pixels.dtype}.")
        elif len(pixels) and not -SLACK <= pixels.min() <= pixels.max() <= 1 + SLACK:
            raise UserError(
                "normalise takes floats in 0..1, got some from "
                f"{pixels.min().item():g} to {pixels.max().item():g}."
            )
        return self._normalised(pixels)

    def transform(self, picture: Image.Image | Tensor) -> Tensor:
        """One test image as students are shown them, float32 (channels, R, R).

        For torchvision's datasets, `CIFAR10(root, train=False, transform=labels.transform)`.

        Args:
            picture: a picture of Pillow of any size, which becomes grey or RGB as the images are,
                its short side resized and its centre cropped, as the harness reads pictures; or
                pixels (channels, R, R) as `normalise` takes them.

        Raises:
            UserError: it has colours and the images are grey, or has no such pixels.
        """
        shape = (self._mean.shape[1], *[self.source.task.plan.resolution] * 2)
        if isinstance(picture, Tensor):
            if tuple(picture.shape) != shape:
                raise UserError(
                    f"transform takes pixels {shape} or a picture, got {tuple(picture.shape)}."
                )
            return self.normalise(picture[None])[0]
        file = io.BytesIO()  # as a file, so that one function reads whatever there is
        ImageOps.exif_transpose(picture).save(file, "TIFF")  # holds every kind of pixels
        pixels = decode(Encoded(file.getvalue(), Path("a picture"), 0), shape[0], shape[1])
        return self.normalise(torch.tensor(pixels)[None])[0]

    def _normalised(self, pixels: Tensor) -> Tensor:
        mean, std = self._mean.to(pixels.device), self._std.to(pixels.device)
        return (pixels.float() - mean) / std

    def _batches(self, epochs: Sequence[int]) -> Iterator[tuple[Tensor, Targets]]:
        """The batches of these epochs; in a worker of a DataLoader those that are its own."""
        task, worker = self.source.task, get_worker_info()
        if worker is not None and task.device.type != "cpu":
            raise UserError(
                "Workers of a DataLoader make batches on the CPU: open the labels with "
                "device='cpu', or take num_workers=0."
            )
        first, every = (0, 1) if worker is None else (worker.id, worker.num_workers)
        planned = ((epoch, views) for epoch in epochs for views in self.source.views(epoch))

        def made() -> Iterator[tuple[Tensor, Targets]]:
            for epoch, views in islice(planned, first, None, every):
                views = views.to(task.device)
                pixels = render(task.images.pixels, views)
                rows = self.source.targets(views, pixels, epoch)
                yield self._normalised(pixels), Targets(rows, views, epoch)

        return made()


class ShippedEpoch(IterableDataset[tuple[Tensor, Targets]]):
    """The batches of one epoch, each made when it is asked for.

    In a `DataLoader(..., batch_size=None, num_workers=N)` each worker makes every N-th batch, and
    they come in the same order as without.

    Yields:
        images: float32 (B, channels, R, R), normalised.
        targets: for `ShippedLabels.loss`.
    """

    def __init__(self, labels: ShippedLabels, epoch: int) -> None:
        self._labels, self._epoch = labels, epoch

    def __len__(self) -> int:
        return self._labels.source.task.plan.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Targets]]:
        return self._labels._batches([self._epoch])
