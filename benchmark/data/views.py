"""Views as data: which image, crop box, flip, mix partner and mix box, as plain tensors.

A view is a pure function of (plan seed, epoch, batch), so a shipped label set needs no crop
boxes, flips or partners: a seed and the ids of its batches give them back, on any machine.
For that the random numbers come from NumPy's Philox bit stream, whose raw 64-bit words are
promised never to change, and are turned into floats and permutations here. Golden values in
`tests/test_views.py` pin them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from ..core.device import moved
from .recipe import Augmentation

MANY = 2**18  # images; of more, orders of few epochs are kept
DRAWN_AT_ONCE = 16  # batches
# What a stream of random words is for; part of its counter, so streams never overlap.
ORDER, CROP, FLIP, MIX, POOL, SAMPLE, CUTOUT, DSA, MIRROR = range(9)


def random_words(seed: int, epoch: int, batch: int, purpose: int, count: int) -> np.ndarray:
    """`count` raw 64-bit words for one purpose, (count,) uint64.

    The Philox counter is a 256-bit number that the stream itself counts up from its lowest
    word; that word therefore starts at 0 and the address fills the other three.
    """
    # As uint64 from the start: a list with a word of 2^63 or more becomes float64, and rounds.
    key = np.array([seed, 0], np.uint64)
    stream = np.random.Philox(key=key, counter=[0, epoch, batch, purpose])
    return stream.random_raw(count)


def unit(words: np.ndarray) -> np.ndarray:
    """Uniform floats in [0, 1) from the words' upper 53 bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(words: np.ndarray) -> np.ndarray:
    """A random permutation: the order that sorts the words."""
    return np.argsort(words, kind="stable")


def epoch_order(seed: int, epoch: int, images: int) -> np.ndarray:
    """The order in which an epoch shows its images, (images,) int64."""
    return (_few_orders if images > MANY else _orders)(seed, epoch, images)


def _order(seed: int, epoch: int, images: int) -> np.ndarray:
    return permutation(random_words(seed, epoch, 0, ORDER, images))


_orders, _few_orders = lru_cache(maxsize=64)(_order), lru_cache(maxsize=2)(_order)


def beta(words: np.ndarray, alpha: float) -> np.ndarray:
    """Draws from Beta(alpha, alpha) by Jöhnk's rejection over pairs of words; (...) of (..., n)."""
    x, y = unit(words[..., 0::2]) ** (1 / alpha), unit(words[..., 1::2]) ** (1 / alpha)
    total = x + y
    fits = (total > 0) & (total <= 1)
    first = np.argmax(fits, axis=-1)[..., None]
    x, total = (np.take_along_axis(each, first, -1)[..., 0] for each in (x, total))
    return np.where(fits.any(axis=-1), x / np.where(total, total, 1), 0.5)


@dataclass(frozen=True)
class ViewBatch:
    """A batch of views; boxes are (top, left, height, width) as shares of the image's side.

    Attributes:
        index: image of each view, int64 (B,).
        crop: the part of the image that fills the view, float32 (B, 4).
        flip: mirrored left to right after the crop, bool (B,).
        partner: position in this batch of the view mixed in, int64 (B,).
        mix_box: where the partner goes, float32 (B, 4); empty without a mix, all for Mixup.
        mix_opacity: how much of the partner shows there, float32 (B,); 1 for CutMix.
        cutout_box: the part filled with one colour, float32 (B, 4); empty without Cutout.
        cutout_colour: red, green, blue in 0..1, float32 (B, 3).
        epoch, batch: the address in the plan, by which stored labels are found again.
        mixed, filled: whether any view may have a mix or Cutout; false only where all boxes of
            the kind are empty. Known without asking the device, so rendering leaves out the rest.
    """

    index: Tensor
    crop: Tensor
    flip: Tensor
    partner: Tensor
    mix_box: Tensor
    mix_opacity: Tensor
    cutout_box: Tensor
    cutout_colour: Tensor
    epoch: int
    batch: int
    mixed: bool = True
    filled: bool = True

    @property
    def mix_weight(self) -> Tensor:
        """The share of each view that is its own image, (B,) in 0..1.

        Derived from box and opacity, so that pixels and labels cannot disagree.
        """
        return 1 - self.mix_opacity * self.mix_box[:, 2] * self.mix_box[:, 3]

    def to(self, device: torch.device | str) -> "ViewBatch":
        """The same views on `device`; nothing waits for the copy."""
        tensors = self._tensors()
        there = moved(list(tensors.values()), device)
        return replace(self, **dict(zip(tensors, there, strict=True)))

    def mirrored(self) -> "ViewBatch":
        """The same views, mirrored left to right as they are: mixes and Cutout with them."""

        def across(boxes: Tensor) -> Tensor:
            return torch.stack(
                [boxes[:, 0], 1 - boxes[:, 1] - boxes[:, 3], boxes[:, 2], boxes[:, 3]], 1
            )

        return replace(
            self,
            flip=~self.flip,
            mix_box=across(self.mix_box),
            cutout_box=across(self.cutout_box),
        )

    def rows(self, rows: slice) -> "ViewBatch":
        """Some of these views, for what looks at each by itself.

        A partner outside of them gets a number that is no row, so that looking it up fails.
        """
        parts = {name: value[rows] for name, value in self._tensors().items()}
        size = len(parts["index"])
        partner = parts["partner"] - rows.start
        parts["partner"] = torch.where((partner < 0) | (partner >= size), size, partner)
        return replace(self, **parts)

    def with_partners(self, rows: slice) -> "ViewBatch":
        """Some of these views, and after them those that are mixed into them, to render both.

        Only the first ones, as many as `rows`, come out as they would among all.
        """
        own = torch.arange(rows.start, rows.stop, device=self.index.device)
        if not self.mixed:
            return self.rows(rows)
        partner = self.partner[rows]
        parts = {
            name: torch.cat([value[own], value[partner]]) for name, value in self._tensors().items()
        }
        count = len(own)
        after = torch.arange(count, 2 * count, device=own.device)
        parts["partner"] = torch.cat([after, after])
        return replace(self, **parts)

    def parts(self, batches: Sequence["ViewBatch"]) -> "list[ViewBatch]":
        """What was `concatenated` of these batches, taken apart again where it is now."""
        sizes = [len(batch) for batch in batches]
        tensors = {name: value.split(sizes) for name, value in self._tensors().items()}
        starts = accumulate(sizes, initial=0)
        tensors["partner"] = tuple(
            partner - start for partner, start in zip(tensors["partner"], starts, strict=False)
        )
        return [
            replace(batch, **{name: pieces[n] for name, pieces in tensors.items()})
            for n, batch in enumerate(batches)
        ]

    def _tensors(self) -> dict[str, Tensor]:
        """By name, all that is told of each view."""
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        return {name: value for name, value in values if isinstance(value, Tensor)}

    def __len__(self) -> int:
        return len(self.index)


def concatenated(batches: Sequence[ViewBatch]) -> ViewBatch:
    """Several batches as one, to be rendered at once: each view keeps its own partner.

    Its address in the plan is the first one's.
    """
    if len(batches) == 1:
        return batches[0]
    starts = accumulate((len(batch) for batch in batches), initial=0)
    own = [
        {**batch._tensors(), "partner": batch.partner + start}
        for batch, start in zip(batches, starts, strict=False)
    ]
    return replace(
        batches[0],
        **{name: torch.cat([tensors[name] for tensors in own]) for name in own[0]},
        mixed=any(batch.mixed for batch in batches),
        filled=any(batch.filled for batch in batches),
    )


@dataclass(frozen=True)
class ViewPlan:
    """The seeded rule that gives the views of (epoch, batch).

    Every epoch shows every image once, in batches whose sizes differ by at most one: a small
    left-over batch would starve batch normalisation.

    Attributes:
        images: how many distilled images there are.
        resolution: pixels a side; crop and mix boxes fall on whole pixels.
        batch_size: the largest batch.
        epochs: how many epochs a student trains, and so how many a full label set covers.
    """

    seed: int
    images: int
    resolution: int
    batch_size: int
    epochs: int
    augmentation: Augmentation

    @property
    def batches(self) -> int:
        """Batches an epoch."""
        return -(-self.images // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimiser steps of a whole training."""
        return self.epochs * self.batches

    def sizes(self) -> list[int]:
        """Views in each batch of an epoch."""
        small, larger = divmod(self.images, self.batches)
        return [small + (b < larger) for b in range(self.batches)]

    def _within(self, batch: int) -> tuple[int, int]:
        """Where a batch's views start and end among those of its epoch."""
        small, larger = divmod(self.images, self.batches)
        start = batch * small + min(batch, larger)
        return start, start + small + (batch < larger)

    def epoch(self, epoch: int) -> Iterator[ViewBatch]:
        """The views of one epoch, batch by batch."""
        order = epoch_order(self.seed, epoch, self.images)
        larger = self.images % self.batches
        for start, stop in ((0, larger), (larger, self.batches)):  # of two sizes
            for first in range(start, stop, DRAWN_AT_ONCE):
                yield from self._drawn(epoch, range(first, min(stop, first + DRAWN_AT_ONCE)), order)

    def batch(self, epoch: int, batch: int, order: np.ndarray | None = None) -> ViewBatch:
        """The views of one batch, on the CPU.

        Args:
            order: in which the epoch shows its images, (images,); the plan's own by default.
        """
        if order is None:
            order = epoch_order(self.seed, epoch, self.images)
        return self._drawn(epoch, range(batch, batch + 1), order)[0]

    def _drawn(self, epoch: int, batches: range, order: np.ndarray) -> list[ViewBatch]:
        """The views of some batches of one size, drawn together."""
        start, end = self._within(batches[0])
        count = end - start
        flips = unit(self._words(epoch, batches, FLIP, count))
        partner, mix_box, mix_opacity = self._mix(epoch, batches, count)
        cutout_box, cutout_colour = self._cutout(epoch, batches, count)
        every = {
            "index": order[start : start + len(batches) * count].reshape(-1, count).copy(),
            "crop": self._crops(epoch, batches, count),
            "flip": flips < self.augmentation.flip,
            "partner": partner,
            "mix_box": mix_box,
            "mix_opacity": mix_opacity,
            "cutout_box": cutout_box,
            "cutout_colour": cutout_colour,
        }
        parts = [torch.from_numpy(values).unbind() for values in every.values()]
        how = self.augmentation
        at = {"epoch": epoch, "mixed": how.mix != "none", "filled": how.cutout > 0}
        return [
            ViewBatch(**dict(zip(every, part, strict=True)), batch=batch, **at)
            for batch, part in zip(batches, zip(*parts, strict=True), strict=True)
        ]

    def rows(self, epoch: int, batch: int) -> slice:
        """Where this batch's views stand among all views of the plan, in order."""
        start, end = self._within(batch)
        return slice(epoch * self.images + start, epoch * self.images + end)

    def _words(self, epoch: int, batches: range, purpose: int, count: int) -> np.ndarray:
        """`random_words` of each batch, (batches, count)."""
        return np.stack(
            [random_words(self.seed, epoch, batch, purpose, count) for batch in batches]
        )

    def _crops(self, epoch: int, batches: range, count: int) -> np.ndarray:
        """RandomResizedCrop's rule: ten tries, then the whole image.

        Returns:
            float32 (batches, count, 4).
        """
        tries, side, shape = 10, self.resolution, (len(batches), count)
        if self.augmentation.crop_scale == self.augmentation.crop_ratio == (1, 1):
            # What the rule comes to, whatever is drawn.
            return np.tile(np.array([0, 0, 1, 1], np.float32), (*shape, 1))
        words = self._words(epoch, batches, CROP, count * (2 * tries + 2))
        draws = unit(words).reshape(*shape, 2 * tries + 2)
        low, high = self.augmentation.crop_scale
        area = side * side * (low + (high - low) * draws[..., :tries])
        log_low, log_high = np.log(self.augmentation.crop_ratio)
        ratio = np.exp(log_low + (log_high - log_low) * draws[..., tries : 2 * tries])
        width, height = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (width > 0) & (width <= side) & (height > 0) & (height <= side)
        first = np.argmax(fits, axis=-1)[..., None]
        found = fits.any(axis=-1)
        width = np.where(found, np.take_along_axis(width, first, -1)[..., 0], side)
        height = np.where(found, np.take_along_axis(height, first, -1)[..., 0], side)
        top = np.floor(draws[..., -2] * (side - height + 1))
        left = np.floor(draws[..., -1] * (side - width + 1))
        return (np.stack([top, left, height, width], axis=-1) / side).astype(np.float32)

    def _cutout(self, epoch: int, batches: range, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Boxes around uniform centres, clipped to the image; and colours.

        Returns:
            float32 (batches, count, 4) and (batches, count, 3).
        """
        shape = (len(batches), count)
        if not self.augmentation.cutout:
            return np.zeros((*shape, 4), np.float32), np.zeros((*shape, 3), np.float32)
        side = self.resolution
        draws = unit(self._words(epoch, batches, CUTOUT, count * 5)).reshape(*shape, 5)
        half = int(self.augmentation.cutout * side + 0.5) // 2
        box = self._box(np.floor(draws[..., :2] * side), half)
        return box.astype(np.float32), draws[..., 2:].astype(np.float32)

    def _mix(
        self, epoch: int, batches: range, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Partners, boxes, and the opacity; one weight and box a batch.

        Returns:
            int64 (batches, count), float32 (batches, count, 4) and (batches, count).
        """
        kind, side, shape = self.augmentation.mix, self.resolution, (len(batches), count)
        if kind == "none":
            none = np.zeros((*shape, 4), np.float32), np.zeros(shape, np.float32)
            return np.tile(np.arange(count), (len(batches), 1)), *none
        words = self._words(epoch, batches, MIX, count + 2 + 64)
        partner = permutation(words[:, :count])
        centre = unit(words[:, count : count + 2])
        weight = beta(words[:, count + 2 :], self.augmentation.mix_alpha)
        if kind == "mixup":
            box, opacity = np.tile([0.0, 0.0, 1.0, 1.0], (len(batches), 1)), 1 - weight
        else:  # CutMix: a box of the given area around a uniform centre, clipped to the image
            half = (side * np.sqrt(1 - weight)).astype(np.int64) // 2
            box, opacity = self._box(np.floor(centre * side), half[:, None]), np.ones(len(batches))
        boxes = np.repeat(box.astype(np.float32)[:, None], count, 1)
        return partner, boxes, np.repeat(opacity.astype(np.float32)[:, None], count, 1)

    def _box(self, middle: np.ndarray, half: np.ndarray | int) -> np.ndarray:
        """So far around a middle (..., 2) in pixels, clipped to the image; as shares (..., 4)."""
        low = np.clip(middle - half, 0, self.resolution)
        high = np.clip(middle + half, 0, self.resolution)
        return np.concatenate([low, high - low], axis=-1) / self.resolution
