"""Views to pixels: crop, flip and mix a whole batch at once, on the images' device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .views import ViewBatch


def render(images: Tensor, views: ViewBatch) -> Tensor:
    """The pixels of `views`, float32 (B, C, R, R) in 0..1.

    Args:
        images: all distilled images, uint8 (N, C, R, R); on the views' device, or, where that
            cannot hold them, in a memory map of the host.
        views: on the device where pixels are to be.
    """
    device = views.index.device
    # `index_select` copies whole images, where brackets go pixel by pixel.
    shown = images.index_select(0, views.index.to(images.device))
    return render_gathered(shown.to(device, non_blocking=True), views)


def render_gathered(images: Tensor, views: ViewBatch) -> Tensor:
    """The pixels of `views`, float32 (B, C, R, R) in 0..1, from each view's own image.

    The crop is resized bilinearly as torchvision's `resized_crop` does (without antialiasing:
    a crop is never larger than the view), then flipped, then a box of it is filled with one
    colour, then it is mixed with its partner's view.

    Args:
        images: the image of each view, uint8 (B, C, R, R), on the views' device.
    """
    pixels = look(images.float().div_(255), views)
    if views.filled:
        pixels = cut_out(pixels, views)
    return mix(pixels, views) if views.mixed else pixels


def look(pixels: Tensor, views: ViewBatch) -> Tensor:
    """Each of `pixels` (B, C, R, R), cropped and flipped; differentiable in the pixels."""
    side = pixels.shape[-1]
    centres = _centres(pixels)
    rows = _positions(centres.expand(len(views), -1), views.crop[:, 0], views.crop[:, 2], side)
    columns = torch.where(views.flip[:, None], centres.flip(0), centres)
    columns = _positions(columns, views.crop[:, 1], views.crop[:, 3], side)
    grid = torch.stack(
        [
            columns[:, None, :].expand(-1, side, -1),
            rows[:, :, None].expand(-1, -1, side),
        ],
        dim=-1,
    )
    return F.grid_sample(
        pixels, grid * 2 - 1, mode="bilinear", padding_mode="border", align_corners=False
    )


def resized_crops(images: Tensor, crops: Tensor, side: int) -> Tensor:
    """Crops resized as torchvision's `resized_crop` does with antialiasing; float32 in 0..1.

    Args:
        images: the image of each crop, uint8 (B, C, R, R).
        crops: boxes (B, 4) as in `ViewBatch`.
        side: of the result, (B, C, side, side).
    """
    pixels, resolution = images.float().div_(255), images.shape[-1]
    rows = _resampling(crops[:, 0], crops[:, 2], resolution, side)
    columns = _resampling(crops[:, 1], crops[:, 3], resolution, side)
    return rows[:, None] @ pixels @ columns[:, None].transpose(2, 3)


def _resampling(start: Tensor, length: Tensor, resolution: int, side: int) -> Tensor:
    """What each of `side` pixels takes of each of an image's along one axis, (B, side, R).

    A triangle as wide as the pixels that it stands for, at least one either way, cut off at the
    crop's ends and normalised.
    """
    start, length = (start * resolution)[:, None, None], (length * resolution)[:, None, None]
    at = torch.arange(resolution, device=start.device) + 0.5
    middle = torch.arange(side, device=start.device)[:, None] + 0.5
    width = (length / side).clamp_min(1)
    weights = (1 - (at - start - middle * (length / side)).abs() / width).clamp_min(0)
    weights = weights * ((at > start) & (at < start + length))
    return weights / weights.sum(2, keepdim=True)


def cut_out(pixels: Tensor, views: ViewBatch) -> Tensor:
    """Each view with its box filled with its colour; (B, C, R, R)."""
    colour = views.cutout_colour[:, : pixels.shape[1], None, None]
    return torch.where(_within(pixels, views.cutout_box), colour, pixels)


def mix(pixels: Tensor, views: ViewBatch) -> Tensor:
    """Each view mixed with its partner's; (B, C, R, R)."""
    share = views.mix_opacity[:, None, None, None] * _within(pixels, views.mix_box)
    return torch.lerp(pixels, pixels.index_select(0, views.partner), share.to(pixels.dtype))


def _centres(pixels: Tensor) -> Tensor:
    """Where pixels have their centres, as shares of the side, (R,)."""
    side = pixels.shape[-1]
    return (torch.arange(side, device=pixels.device) + 0.5) / side


def _within(pixels: Tensor, boxes: Tensor) -> Tensor:
    """Which pixels lie in their view's box (B, 4), bool (B, 1, R, R)."""
    centres = _centres(pixels)
    rows = _inside(centres, boxes[:, 0], boxes[:, 2])
    columns = _inside(centres, boxes[:, 1], boxes[:, 3])
    return rows[:, None, :, None] & columns[:, None, None, :]


def _positions(centres: Tensor, start: Tensor, length: Tensor, side: int) -> Tensor:
    """Where output pixel centres (B, R) fall in the image; never past the crop's edge pixels."""
    start, length = start[:, None], length[:, None]
    half = 0.5 / side
    return torch.clamp(start + centres * length, start + half, start + length - half)


def _inside(centres: Tensor, start: Tensor, length: Tensor) -> Tensor:
    start, length = start[:, None], length[:, None]
    return (centres >= start) & (centres < start + length)
