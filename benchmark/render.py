"""Views to pixels: crop, flip and mix a whole batch at once, on the images' device."""

import torch
import torch.nn.functional as F
from torch import Tensor

from .views import ViewBatch


def render(images: Tensor, views: ViewBatch) -> Tensor:
    """The pixels of `views`, float32 (B, C, R, R) in 0..1.

    Args:
        images: all distilled images, uint8 (N, C, R, R).
        views: on the same device.
    """
    return render_gathered(images[views.index], views)


def render_gathered(images: Tensor, views: ViewBatch) -> Tensor:
    """The pixels of `views`, float32 (B, C, R, R) in 0..1, from each view's own image.

    The crop is resized bilinearly as torchvision's `resized_crop` does (without antialiasing:
    a crop is never larger than the view), then flipped, then mixed with its partner's view.

    Args:
        images: the image of each view, uint8 (B, C, R, R), on the views' device.
    """
    pixels = images.float().div_(255)
    side = images.shape[-1]
    centres = (torch.arange(side, device=images.device) + 0.5) / side
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
    pixels = F.grid_sample(
        pixels, grid * 2 - 1, mode="bilinear", padding_mode="border", align_corners=False
    )
    inside_rows = _inside(centres, views.mix_box[:, 0], views.mix_box[:, 2])
    inside_columns = _inside(centres, views.mix_box[:, 1], views.mix_box[:, 3])
    share = views.mix_opacity[:, None, None, None] * (
        inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
    )
    return torch.lerp(pixels, pixels[views.partner], share.to(pixels.dtype))


def _positions(centres: Tensor, start: Tensor, length: Tensor, side: int) -> Tensor:
    """Where output pixel centres (B, R) fall in the image; never past the crop's edge pixels."""
    start, length = start[:, None], length[:, None]
    half = 0.5 / side
    return torch.clamp(start + centres * length, start + half, start + length - half)


def _inside(centres: Tensor, start: Tensor, length: Tensor) -> Tensor:
    start, length = start[:, None], length[:, None]
    return (centres >= start) & (centres < start + length)
