"""Training and test images side by side: every class is in both, and no image is."""

import hashlib
from collections.abc import Iterator

import torch

from ..core.cache import Cache
from ..core.errors import UserError
from ..core.facts import fact
from ..core.progress import say
from .images import Images, ResidentImages

SHOWN = 5  # classes that are named


def check_classes(train: Images, test: Images, where: str) -> None:
    """Refuse a class without a training image; say which classes no test image shows.

    Args:
        where: what the images are called in messages.

    Raises:
        UserError: a class has no training image.
    """
    untrained = _absent(train)
    if untrained:
        raise UserError(
            f"{where}: no training image shows {_named(untrained, train)}, of "
            f"{len(train.class_names)} classes. Labels count classes from 0, without gaps."
        )
    if untested := _absent(test):
        told = _named(untested, test)
        say(f"{where}: of {len(test.class_names)} classes, no test image shows {told}")


def say_overlap(train: Images, test: Images, cache: Cache, where: str) -> None:
    """Say how many test images are training images too, pixel by pixel.

    The number is kept in `cache`, so that pixels are compared once; without pixels nothing is said.
    """
    if not (isinstance(train, ResidentImages) and isinstance(test, ResidentImages)):
        return
    if found := fact(cache, "overlap", [train.digest, test.digest], lambda: overlap(train, test)):
        say(f"{where}: {found:,} of {len(test):,} test images are training images too")


def overlap(train: ResidentImages, test: ResidentImages) -> int:
    """How many test images have the pixels of a training image."""
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        return 0
    known = set(_digests(train))
    return sum(digest in known for digest in _digests(test))


def _digests(images: ResidentImages) -> Iterator[bytes]:
    for block in images.pixels.split(4096):
        for row in block.cpu().contiguous().numpy():
            yield hashlib.blake2b(row.data, digest_size=16).digest()


def _absent(images: Images) -> list[int]:
    counts = torch.bincount(images.labels, minlength=len(images.class_names))
    return torch.nonzero(counts == 0).squeeze(1).tolist()


def _named(labels: list[int], images: Images) -> str:
    told = ", ".join(repr(images.class_names[label][:60]) for label in labels[:SHOWN])
    return f"{told}, ... ({len(labels)})" if len(labels) > SHOWN else told
