"""Trials: methods may choose among settings by real training images; test data decides nothing."""

import hashlib

import torch
from torch import Tensor

from ..core.errors import UserError
from ..data.images import Images, ResidentImages
from ..data.part import Part
from ..data.views import SAMPLE, permutation, random_words
from .task import LabelTask

BLOCK = 500


def held_out(task: LabelTask, count: int) -> tuple[Images, Tensor]:
    """Random real training images to choose by, and the indices of all others, int64 (n,).

    Of `count` images, those that are among the distilled ones are left out: students know them.
    They are resident if the training set is, and else read where they are asked for, in its order.

    Raises:
        UserError: none is left.
    """
    train = task.train
    if train is None:
        raise RuntimeError("held-out images need the training set, which is not there")
    order = torch.from_numpy(permutation(random_words(task.seed, 0, 0, SAMPLE, len(train))))
    drawn, others = order[:count], order[count:]
    resident = isinstance(train, ResidentImages)
    drawn = drawn if resident else drawn.sort().values  # neighbours are read together
    known = {each for block in task.images.pixels.split(BLOCK) for each in _digests(block)}
    found, kept = list[bool](), list[Tensor]()
    for block in train.batches(drawn.split(BLOCK)):
        found += [each not in known for each in _digests(block)]
        kept += [block.cpu()] if resident else []
    new = torch.tensor(found)
    if not new.any():
        raise UserError(
            f"All {len(drawn)} training images that were kept apart to choose by are among the "
            "distilled ones: set held_out higher."
        )
    if not resident:
        return Part(train, drawn[new]), others
    pixels = torch.cat(kept)[new]
    return ResidentImages(pixels, train.labels[drawn[new]], train.class_names), others


def _digests(images: Tensor) -> list[bytes]:
    return [hashlib.blake2b(image.numpy().data).digest() for image in images.cpu().contiguous()]


def usual_convnet(resolution: int, width: int) -> str:
    """The ConvNet whose last block sees 4 to 7 pixels a side before it pools them.

    Depth 3 for 32 pixels and 4 for 64, as in the papers; 2 below 32. On 8 pixels a third block
    would normalise 2x2 pixels, and learns next to nothing.
    """
    return f"convnet-d{max(2, resolution.bit_length() - 3)}-w{width}"
