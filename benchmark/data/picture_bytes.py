"""What images weigh as pictures: the bytes of their files, were they shipped as PNG or JPEG."""

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from PIL import Image

from .images import Images

JPEG_QUALITY = 95
# Each picture a file of its own, as folders of classes hold them.
FORMS: dict[str, dict[str, Any]] = {
    "png": {"format": "PNG", "optimize": True},
    "jpeg": {"format": "JPEG", "quality": JPEG_QUALITY},
}
BLOCK = 512


def picture_bytes(images: Images) -> dict[str, int]:
    """Bytes of all images as files by Pillow, by `FORMS`; names and folders are not counted.

    PNG at its best compression gives the very pixels back. JPEG, at quality 95 with the colours at
    half the resolution (Pillow's own setting), does not: what was measured on the pixels need not
    hold for it.
    """
    totals = dict.fromkeys(FORMS, 0)
    with ThreadPoolExecutor() as pool:
        for indices in torch.arange(len(images)).split(BLOCK):
            for sizes in pool.map(_sizes, images.take(indices).cpu()):
                totals = {form: totals[form] + sizes[form] for form in FORMS}
    return totals


def _sizes(pixels: torch.Tensor) -> dict[str, int]:
    """Of one image, uint8 (C, R, R)."""
    array = pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    made = {}
    for form, settings in FORMS.items():
        data = io.BytesIO()
        picture.save(data, **settings)
        made[form] = len(data.getvalue())
    return made
