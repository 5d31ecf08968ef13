"""What a file of official labels says: its views as this suite draws them, and its labels."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...data.views import ViewBatch
from ...labels.stored_views import as_pixels, as_shares
from .file import MisfitError, Parts, naming, read_parts

FARTHEST = torch.finfo(torch.float16).max
OFF_PIXEL = 0.1  # float16 shares are off by up to 0.055 pixels at 224


@dataclass(frozen=True)
class OfficialBatch:
    """The views of one stored batch, and their labels.

    Attributes:
        views: on the CPU; their address is epoch 0 and the batch's position in the folder.
        values: logits as stored, float16 or float32 (B, k), or all C of them in class order;
            within float16's range, to which whoever stores them anew rounds them.
        indices: class of each value, int64 (B, k); None where `values` holds all classes.
    """

    views: ViewBatch
    values: Tensor
    indices: Tensor | None

    def logits(self, classes: int) -> Tensor:
        """The labels over all classes, (B, classes) as `values`; dropped ones are at -inf."""
        if self.indices is None:
            return self.values
        dropped = self.values.new_full((len(self.values), classes), -torch.inf)
        return dropped.scatter_(1, self.indices, self.values)


def batch_of(file: Path, index: Tensor, number: int, resolution: int) -> OfficialBatch:
    """The batch that a file holds.

    Args:
        index: images that the views show, int64 (B,).
        number: the batch's position in its folder.
        resolution: pixels a side, on which crops and boxes must fall.

    Raises:
        ArtefactError: as `read_parts`, or the numbers cannot be.
    """
    parts = read_parts(file)
    with naming(file):
        if len(parts) != len(index):
            raise MisfitError(
                f"it holds {len(parts)} views, but the order of the images gives it {len(index)}"
            )
        if not parts.values.isfinite().all():
            raise MisfitError("a logit is not finite")
        if not parts.values.half().isfinite().all():
            farthest = parts.values.flatten()[parts.values.abs().argmax()].item()
            raise MisfitError(f"a logit is {farthest:g}, beyond {FARTHEST:g}, the last of float16")
        partner, mix_box, opacity = _mix(parts, resolution)
        cutout_box, cutout_colour = _cutout(parts, resolution)
        views = ViewBatch(
            index=index,
            crop=_crop(parts, resolution),
            flip=torch.zeros(len(index), dtype=torch.bool) if parts.flip is None else parts.flip,
            partner=partner,
            mix_box=mix_box.repeat(len(index), 1),
            mix_opacity=torch.full((len(index),), opacity),
            cutout_box=cutout_box,
            cutout_colour=cutout_colour,
            epoch=0,
            batch=number,
            mixed=parts.partner is not None,
            filled=parts.cutout is not None,
        )
        return OfficialBatch(views, parts.values, _indices(parts))


def _crop(parts: Parts, side: int) -> Tensor:
    pixels = _pixels("crops", parts.crop, side)
    if (pixels < 0).any() or (pixels[:, 2:] < 1).any() or _beyond(pixels, side):
        raise MisfitError("a crop is empty or not inside the image")
    return as_shares(pixels, side)


def _mix(parts: Parts, side: int) -> tuple[Tensor, Tensor, float]:
    """Partners (B,), the box in shares (4,), and the opacity."""
    count = len(parts)
    if parts.partner is None or parts.weight is None:
        return torch.arange(count), torch.zeros(4), 0.0
    partner = parts.partner.long()
    if not torch.equal(partner.sort().values, torch.arange(count)):
        raise MisfitError(f"the mix permutation is none of {count} views")
    if parts.box is None:  # Mixup
        return partner, torch.tensor([0.0, 0.0, 1.0, 1.0]), 1 - parts.weight
    top, left, bottom, right = parts.box
    if not (0 <= top <= bottom <= side and 0 <= left <= right <= side):
        raise MisfitError(f"the mix box {parts.box} is not inside {side} x {side} pixels")
    return partner, as_shares(torch.tensor([top, left, bottom - top, right - left]), side), 1.0


def _cutout(parts: Parts, side: int) -> tuple[Tensor, Tensor]:
    """Boxes (B, 4) in shares, and colours (B, 3) in 0..1."""
    if parts.cutout is None:
        return torch.zeros(len(parts), 4), torch.zeros(len(parts), 3)
    middle, size = _pixels("Cutout boxes", parts.cutout[:, :4], side).split(2, dim=1)
    colour = parts.cutout[:, 4:].float() / 255
    if (middle < 0).any() or (middle >= side).any() or (size < 0).any():
        raise MisfitError("a Cutout box is not inside the image")
    if not ((colour >= 0) & (colour <= 1)).all():
        raise MisfitError("a Cutout colour is not in 0..255")
    low = (middle - size // 2).clamp(min=0)
    # Pillow's rectangle has its last row and column, too.
    high = (middle + size // 2 + 1).clamp(max=side)
    return as_shares(torch.cat([low, high - low], dim=1), side), colour


def _indices(parts: Parts) -> Tensor | None:
    if parts.indices is None:
        return None
    indices = parts.indices.long()
    if (indices < 0).any():
        raise MisfitError(f"it has a logit for class {int(indices.min())}")
    if (indices.sort(dim=1).values.diff(dim=1) == 0).any():
        raise MisfitError("a label names one class twice")
    return indices


def _pixels(name: str, shares: Tensor, side: int) -> Tensor:
    """Shares of the side as whole pixels."""
    exact = shares.double() * side
    if not ((exact - exact.round()).abs() <= OFF_PIXEL).all():  # nor if one is not a number
        raise MisfitError(
            f"its {name} do not fall on whole pixels of {side} x {side}: were these labels made "
            "for images of another size?"
        )
    return as_pixels(shares, side)


def _beyond(boxes: Tensor, side: int) -> bool:
    return bool((boxes[:, :2] + boxes[:, 2:] > side).any())
