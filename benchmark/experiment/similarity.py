"""How alike the images of a class are in a teacher's eyes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.device import Compute
from ..core.errors import UserError
from ..data.images import ResidentImages
from ..models.teachers import Teacher

BATCH = 50  # so that comparing images takes no more memory than making or testing them


def within_class(teacher: Teacher, images: ResidentImages, compute: Compute) -> float | None:
    """The mean cosine similarity of two images of a class, averaged over classes; -1 to 1.

    Of their features, the input of the teacher's last linear layer, without augmentation. The
    lower, the more diverse the images (LPLD, arXiv 2410.15919). Classes of one image do not
    count; None where no class has more, or images show none of the classes.

    Raises:
        UserError: the teacher has no linear layer.
    """
    if not images.labelled:
        return None
    unit = F.normalize(features(teacher, images, compute).float(), dim=1).double()
    labels = images.labels.to(unit.device)
    counts = labels.bincount(minlength=len(images.class_names))
    sums = unit.new_zeros(len(counts), unit.shape[1]).index_add_(0, labels, unit)
    alone = unit.new_zeros(len(counts)).index_add_(0, labels, unit.square().sum(1))
    # The squared sum of n vectors holds each ordered pair once, and each vector with itself.
    pairs = sums.square().sum(1) - alone
    several = counts > 1
    if not several.any():
        return None
    return (pairs / (counts * (counts - 1)))[several].mean().item()


@torch.no_grad()
def features(teacher: Teacher, images: ResidentImages, compute: Compute) -> Tensor:
    """What the teacher's last linear layer is given of each image, (N, features)."""
    linear = [module for module in teacher.modules() if isinstance(module, nn.Linear)]
    if not linear:
        name = type(teacher.network).__name__
        raise UserError(f"The teacher, a {name}, has no linear layer, whose input is compared.")
    seen: list[Tensor] = []
    handle = linear[-1].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        for indices in torch.arange(len(images)).split(BATCH):
            pixels = images.take(indices).to(compute.device, non_blocking=True).float() / 255
            with compute.autocast():
                teacher(pixels)
    finally:
        handle.remove()
    return torch.cat([inputs.flatten(1) for inputs in seen])
