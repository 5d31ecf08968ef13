"""JPEG files to pixels, in threads that leave Python alone.

For a picture of ImageNet's size (500 x 375, to 224 pixels) Pillow alone takes 5.5 ms of a core;
torch's resizing in place of Pillow's makes it 3.8, and torchcodec's decoder, where it is installed
(`labelbench[imagenet]`), 2.9. Both decoders are libjpeg-turbo and give the same pixels; torch's
resizing is within 1 of Pillow's levels. What is no plain upright JPEG (ImageNet-1K has a PNG and
some CMYK among its `.JPEG` files) Pillow does all of, by the same rule.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from PIL.ExifTags import Base
from torch import Tensor

from .images import Encoded, decode, opened, refuse_large

DECODER = 1  # counts in the digests of streamed sets: one more whenever pixels come out otherwise
PLAIN = ("L", "RGB")


def decode_streamed(source: Encoded, resolution: int) -> Tensor:
    """A picture as uint8 (3, R, R): its short side resized (bicubic), its centre cropped.

    Raises:
        UserError: it cannot be read; names file and row.
    """
    with opened(source) as picture:
        if picture.format == "JPEG" and picture.mode in PLAIN and _lies_upright(picture):
            fast = torchcodec()
            if fast is not None:
                return _fitted(fast(source.data), resolution)
            return _fitted(
                torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1), resolution
            )
    return torch.from_numpy(decode(source, 3, resolution))


@cache
def torchcodec() -> Callable[[bytes], Tensor] | None:
    """Its decoder, of a JPEG file to uint8 (3, H, W); None where it is not installed."""
    try:
        from torchcodec.decoders import decode_jpeg  # pyright: ignore[reportPrivateImportUsage]
    except (ImportError, RuntimeError, OSError):  # of another torch, or without its libraries
        return None

    def decoder(data: bytes) -> Tensor:
        pixels = decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode="RGB")
        assert isinstance(pixels, Tensor)  # of one file
        return pixels

    return decoder


def _lies_upright(picture: Image.Image) -> bool:
    try:
        return picture.getexif().get(Base.Orientation, 1) == 1
    except Exception:  # of a camera that wrote no EXIF: it is shown as it lies
        return True


def _fitted(pixels: Tensor, resolution: int) -> Tensor:
    height, width = pixels.shape[1:]
    if (height, width) != (resolution, resolution):
        scale = resolution / min(height, width)
        size = [max(resolution, round(side * scale)) for side in (height, width)]
        refuse_large(size)
        pixels = F.interpolate(pixels[None], size, mode="bicubic", antialias=True)[0]
        top, left = ((side - resolution) // 2 for side in size)
        pixels = pixels[:, top : top + resolution, left : left + resolution]
    return pixels
