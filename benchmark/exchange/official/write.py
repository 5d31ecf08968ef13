"""Our labels and images in the files that LPQLD's published training script reads.

The form is described in `file`.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ...core.errors import UserError
from ...core.files import new_folder
from ...data.images import ResidentImages
from ...data.views import ViewBatch
from ...labels.stored_views import as_pixels, as_shares
from .batch import OFF_PIXEL, OfficialBatch
from .folder import BATCH_IMAGES

LARGEST_BATCH = 256  # positions in a batch are uint8
LARGEST_BOX = 255  # so are the edges of a mix box
LARGEST_CLASSES = 32767  # class indices are int16
LARGEST_RESOLUTION = int(OFF_PIXEL * 2**12)  # beyond, float16 shares leave the pixel in doubt


def write_lpqld(
    folder: Path, batches: Iterable[OfficialBatch], resolution: int, classes: int
) -> None:
    """Write labels as `batch_n.tar` and `sampler_indices_batch.json`.

    Labels of all classes get class indices too, largest logit first. The script asks for more
    than the form, which is not checked here: batches of one size, and no two that begin with
    the same three images.

    Args:
        folder: must not exist; it appears whole or not at all.
        resolution: pixels a side of the images.

    Raises:
        UserError: the folder exists, or the form cannot hold these labels.
    """
    if classes > LARGEST_CLASSES:
        raise UserError(f"The LPQLD form holds {LARGEST_CLASSES} classes at most, not {classes}.")
    if resolution > LARGEST_RESOLUTION:
        raise UserError(
            f"The LPQLD form holds crops of {LARGEST_RESOLUTION} pixels a side at most, not "
            f"{resolution}."
        )
    with new_folder(folder) as partial:
        images = {}
        for number, batch in enumerate(batches):
            torch.save(_parts(batch, resolution, number), partial / f"batch_{number}.tar")
            images[str(number)] = batch.views.index.tolist()
        (partial / BATCH_IMAGES).write_text(json.dumps(images), encoding="utf-8")


def write_images(folder: Path, images: ResidentImages) -> None:
    """Write images as PNG files `new000/class000_id000.png`, as SRe2L names its JPEG files.

    torchvision's `ImageFolder` gives them the same numbers and labels as they have here.

    Args:
        folder: must not exist; it appears whole or not at all.

    Raises:
        UserError: the folder exists, or the images are not in label order, one or more a class.
    """
    if not images.labelled:
        raise UserError("Class folders hold images of the classes; these show none of them.")
    labels = images.labels.cpu()
    per_class = torch.bincount(labels, minlength=len(images.class_names))
    if (labels.diff() < 0).any() or not per_class.all():
        raise UserError(
            "Class folders hold images in label order, and at least one a class; these are not."
        )
    wide, long = (max(3, len(str(int(n) - 1))) for n in (len(per_class), per_class.max()))
    with new_folder(folder) as partial:
        first = 0
        for label, count in enumerate(per_class.tolist()):
            place = partial / f"new{label:0{wide}}"
            place.mkdir()
            for number in range(count):
                pixels = images.pixels[first + number].cpu()
                picture = Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy())
                picture.save(place / f"class{label:0{wide}}_id{number:0{long}}.png")
            first += count


def _parts(batch: OfficialBatch, side: int, number: int) -> list[object]:
    """What the file of a batch holds."""
    views, values, indices = batch.views, batch.values, batch.indices
    if len(views) > LARGEST_BATCH:
        raise UserError(
            f"Batch {number} has {len(views)} views; the LPQLD form holds {LARGEST_BATCH} at most."
        )
    if views.cutout_box.any():
        raise UserError("Cutout boxes of the LPQLD form have odd sides; these cannot be written.")
    if indices is None:
        values, indices = values.sort(dim=1, descending=True, stable=True)
    return [
        views.crop.cpu().half(),
        views.flip.cpu(),
        *_mix(views, side, number),
        values.cpu().contiguous(),
        indices.cpu().short(),
    ]


def _mix(views: ViewBatch, side: int, number: int) -> tuple[object, object, object]:
    """Permutation, weight and box, or None for each that the form leaves out."""
    box, opacity = views.mix_box[0].cpu(), float(views.mix_opacity[0])
    if (views.mix_box.cpu() != box).any() or (views.mix_opacity != opacity).any():
        raise UserError(
            f"Batch {number} has several mix boxes or weights; the LPQLD form holds one."
        )
    if not opacity and not box.any():
        return None, None, None
    if opacity != 1:
        if box.tolist() != [0, 0, 1, 1]:
            raise UserError(f"Batch {number} has a mix that is neither CutMix nor Mixup.")
        # The script takes a uint8 permutation for a mask, save under CutMix.
        return views.partner.cpu(), np.float64(1 - opacity), None
    if side > LARGEST_BOX:
        raise UserError(
            f"The LPQLD form holds mix boxes of {LARGEST_BOX} pixels a side at most, not {side}."
        )
    pixels = as_pixels(box, side)
    if not torch.equal(as_shares(pixels, side), box):
        raise UserError(f"Batch {number} has a mix box that does not fall on whole pixels.")
    top, left, height, width = pixels.tolist()
    edges = [torch.tensor(e, dtype=torch.uint8) for e in (top, left, top + height, left + width)]
    return views.partner.cpu().byte(), np.float64(views.mix_weight[0].item()), edges
