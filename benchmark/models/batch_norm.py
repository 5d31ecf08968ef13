"""What a network's batch-norm layers see: the statistics that synthesised images must match.

A layer's statistics are the mean and the biased variance of each feature of its input, over
images and positions. A network keeps them for the training set as a whole; here they are also
taken of one class, or of a few images while these are made.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.device import Compute
from ..core.errors import UserError
from ..core.progress import track
from ..data.images import Images
from ..data.views import ViewPlan
from .teachers import Teacher, real_views

# Of each layer: means (K, F) and biased variances (K, F) of its F features, for K sets of images.
Statistics = list[tuple[Tensor, Tensor]]
Found = tuple[Tensor, Tensor]

MOMENTUM = 0.1  # the share of the newest batch in LPLD's moving average


def layers(network: nn.Module) -> list[nn.BatchNorm2d]:
    """The batch-norm layers that keep statistics, in the order in which they were defined.

    Raises:
        UserError: there are none.
    """
    found = [
        module
        for module in network.modules()
        if isinstance(module, nn.BatchNorm2d) and module.running_mean is not None
    ]
    if not found:
        network = getattr(network, "network", network)
        raise UserError(
            f"The teacher, a {type(network).__name__}, has no batch normalisation, which SRe2L "
            "and LPLD invert: choose a teacher such as resnet18, or resnet20 for small images."
        )
    return found


def global_statistics(network: nn.Module) -> Statistics:
    """What training kept of the whole training set; K = 1.

    The running variance is the mean of mini-batches' unbiased variances, taken for the biased
    one as all of the field does.
    """
    return [
        (layer.running_mean[None].float(), layer.running_var[None].float())  # type: ignore[index]
        for layer in layers(network)
    ]


def group_statistics(features: Tensor, groups: int) -> Found:
    """Mean and biased variance of each of `groups` equal parts of a batch, (groups, F) each.

    Args:
        features: a layer's input, (groups * n, F, H, W); computed in float32 whatever it is.
    """
    parts = features.float().unflatten(0, (groups, -1))
    mean = parts.mean((1, 3, 4), keepdim=True)
    variance = (parts - mean).square().mean((1, 3, 4))  # var_mean is far slower on a CPU
    return mean[:, 0, :, 0, 0], variance


@contextmanager
def watch(network: nn.Module, summarise: Callable[[Tensor], Found]) -> Iterator[Statistics]:
    """A list that each forward pass fills with `summarise(input)` of every layer, in order."""
    watched = layers(network)
    seen: Statistics = [None] * len(watched)  # type: ignore[list-item]

    def hook(position: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            seen[position] = summarise(inputs[0])

        return before

    handles = [layer.register_forward_pre_hook(hook(i)) for i, layer in enumerate(watched)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def check_classes(images: Images) -> None:
    """Raise a UserError for a class without images: it has no statistics."""
    counts = images.labels.bincount(minlength=len(images.class_names))
    if absent := [images.class_names[label] for label in torch.nonzero(counts == 0).flatten()]:
        raise UserError(
            f"The training set has no images of class {absent[0]!r} "
            f"({len(absent)} such classes in all), so it has no statistics."
        )


@torch.no_grad()
def class_statistics(
    teacher: Teacher, images: Images, plan: ViewPlan, compute: Compute, moving: bool = False
) -> Statistics:
    """What the layers see of each class of real images, in one epoch of `plan`; K classes.

    The teacher is in evaluation mode, so its own statistics normalise. LPLD's "squeeze"
    (arXiv 2410.15919; their `forward_once.py`).

    Args:
        moving: their average, 0.9 old + 0.1 of the mini-batch, from mean 0 and variance 1. It
            remembers some ten batches that hold the class. Otherwise exact: over all views.

    Raises:
        UserError: a class has no images, or the network no batch normalisation.
    """
    check_classes(images)
    classes, device = len(images.class_names), compute.device
    batches = real_views(images, plan, 0, device)
    shown = torch.zeros(classes, 1, dtype=torch.float64, device=device)
    # Of each layer, means and variances; where they are to be exact, moments till the end.
    start = torch.tensor([0.0, 1.0], dtype=torch.float64).view(2, 1, 1)
    start = start.to(device, non_blocking=True)
    kept = [start.expand(2, classes, layer.num_features) for layer in layers(teacher)]
    with watch(teacher, lambda features: group_statistics(features, len(features))) as seen:
        for pixels, labels in track(batches, "class statistics", plan.batches):
            with compute.autocast():
                teacher(pixels)
            # Not by bincount, which asks the device for the largest label.
            counts = F.one_hot(labels, classes).sum(0).double()[:, None]
            shown += counts
            share = MOMENTUM * counts.clamp(max=1) if moving else counts / shown.clamp(min=1)
            for layer, found in enumerate(seen):
                new = _moments(found, labels, counts)
                kept[layer] = kept[layer].lerp(_central(new) if moving else new, share)
    final = [(values if moving else _central(values)).float() for values in kept]
    return [(mean, variance) for mean, variance in final]


def _moments(found: Found, labels: Tensor, counts: Tensor) -> Tensor:
    """Means of x and x^2 over each class's images in a batch, float64 (2, K, F).

    From each image's own mean and variance, which float32 holds without cancellation.
    """
    mean, variance = (value.double() for value in found)
    moments = torch.stack([mean, variance + mean.square()])
    sums = moments.new_zeros(2, len(counts), mean.shape[1]).index_add_(1, labels, moments)
    return sums / counts.clamp(min=1)


def _central(moments: Tensor) -> Tensor:
    """Means and variances, (2, K, F), of moments."""
    mean, square = moments
    return torch.stack([mean, (square - mean.square()).clamp(min=0)])
