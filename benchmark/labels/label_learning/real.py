"""The real images that labels are learned from, and those that they are chosen on."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ...core.errors import UserError
from ...data.real_batches import real_order
from ...data.views import permutation, random_words
from ..task import LabelTask
from ..validation import held_out

# What random words are for: streams beyond those of `views`.
TARGETS, INNER, TRIAL, WEIGHTS = range(100, 104)


class RealImages:
    """A training set cut in two by its seed: target images and held-out ones.

    Distilled images that are real ones are not among the held-out, but may be targets; in the
    authors' code they may be either. Pixels are whole, without augmentation.

    Args:
        share: of the training set, held out.
        batch: images at once.
    """

    def __init__(self, task: LabelTask, share: float, batch: int) -> None:
        self._train = task.real_images()
        count = len(self._train)
        held = max(1, round(share * count))
        if held >= count:
            raise UserError(
                f"Labels cannot be learned from {count} real images of which {held} are held out."
            )
        self._apart, self.target = held_out(task, held)
        self._seed, self._batch, self._device = task.seed, batch, task.device
        self._labels = self._train.labels.to(task.device)

    def epoch(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Target images once each, in batches whose sizes differ by at most one.

        Pixels are float32 (B, channels, R, R) in 0..1; labels are (B,).
        """
        words = random_words(self._seed, epoch, 0, TARGETS, len(self.target))
        order = real_order(self._train, self._seed, epoch, self.target)
        if order is None:
            order = self.target[torch.from_numpy(permutation(words))]
        batches = order.tensor_split(-(-len(order) // self._batch))
        for rows, pixels in zip(batches, self._train.batches(batches), strict=True):
            labels = self._labels[rows.to(self._device, non_blocking=True)]
            yield as_input(pixels, self._device), labels

    def held_out(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Held-out images once each, likewise."""
        batches = torch.arange(len(self._apart)).split(self._batch)
        for rows, pixels in zip(batches, self._apart.batches(batches), strict=True):
            labels = self._apart.labels[rows].to(self._device, non_blocking=True)
            yield as_input(pixels, self._device), labels


def as_input(pixels: Tensor, device: torch.device) -> Tensor:
    """Float32 in 0..1 of uint8 (B, channels, R, R), on the device.

    Channels lie last in memory: small convolutions and pooling run up to a third faster so.
    """
    resident = pixels.to(device, non_blocking=True, memory_format=torch.channels_last)
    return resident.float() / 255


def draw(
    seed: int, epoch: int, step: int, purpose: int, images: int, batches: int, size: int
) -> Tensor:
    """Rows of a step's inner batches, int64 (batches, size); no row twice in one batch."""
    words = random_words(seed, epoch, step, purpose, batches * images).reshape(batches, images)
    return torch.from_numpy(permutation(words)[:, :size].copy())


def weights_seed(seed: int, number: int, trial: bool) -> int:
    """The seed of a new network's weights: after reset `number`, or in the trial of an epoch."""
    return int(random_words(seed, number, int(trial), WEIGHTS, 1)[0] >> np.uint64(1))
