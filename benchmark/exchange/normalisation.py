"""By what mean and standard deviation students normalise the pixels of imported labels.

Labels of others do not say it, and their scripts differ: SRe2L's, LPLD's and LPQLD's take
ImageNet's for ImageNet-1K, Tiny-ImageNet's for Tiny-ImageNet, and leave ImageNet-21K's pixels as
they are.
"""

import math

from ..core.bounded import shown
from ..core.errors import UserError
from ..data.images import IMAGENET_MEAN, IMAGENET_STD, ResidentImages, pixel_statistics

LEAST, MOST = 1e-6, 1e6  # what a manifest holds of a standard deviation; a mean lies within ± MOST


def normalisation(
    mean: str, std: str, images: ResidentImages
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of pixels in 0..1, each one number a channel.

    Args:
        mean, std: `imagenet`, `dataset` (those of `images`), or numbers with commas between.

    Raises:
        UserError: either is something else, has another number of channels, or cannot be.
    """
    channels = images.channels
    means = _chosen("mean", mean, IMAGENET_MEAN[:channels], images)
    stds = _chosen("std", std, IMAGENET_STD[:channels], images)
    if not all(abs(number) <= MOST for number in means):
        raise UserError(f"--mean must be numbers within {MOST:g} of 0, got {mean!r}.")
    if not all(LEAST <= number <= MOST for number in stds):
        said = "that is of images of one colour" if std == "dataset" else f"got {shown(std)}"
        raise UserError(f"--std must be numbers in {LEAST:g} to {MOST:g}; {said}.")
    return means, stds


def _chosen(
    option: str, text: str, imagenet: tuple[float, ...], images: ResidentImages
) -> tuple[float, ...]:
    if text == "imagenet":
        return imagenet
    if text == "dataset":
        means, stds = pixel_statistics(images.pixels)
        return tuple((means if option == "mean" else stds).tolist())
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != images.channels or not all(map(math.isfinite, numbers)):
        raise UserError(
            f"--{option} takes imagenet, dataset, or {images.channels} numbers with commas between "
            f"(one a channel of these images), got {shown(text)}."
        )
    return numbers
