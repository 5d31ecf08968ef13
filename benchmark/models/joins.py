"""Joins: labels, images and teachers that come from different hands must agree before training.

Each says what disagrees, names another order of the classes where one explains it, and is let
through where the user accepts it by name (`--accept teacher,images,labels`).
"""

from collections.abc import Collection, Sequence

import torch

from ..core.device import Compute
from ..core.errors import UserError
from ..core.progress import say
from ..data.images import Images, ResidentImages
from .agreement import Agreement, agreement, mismatch
from .classifier import Classifier, predicted

SAMPLE = 1000  # images that a teacher is tried on
LABELS_AGREE = 0.5  # of views of one image; crops may show little of it
BELOW_RECORD = 0.05
RARE = 0.5  # images whose class the teacher names so seldom are told of


def known(classifier: Classifier, images: Images, compute: Compute) -> Agreement:
    """How often a classifier knows labelled images, evenly spaced among them."""
    count = min(SAMPLE, len(images))
    chosen = torch.arange(count) * len(images) // count
    found = predicted(classifier, images, compute, chosen)
    return agreement(found, images.labels[chosen], len(images.class_names))


def check_teacher(
    found: Agreement, recorded: float | None, train: Images, who: str, accepted: Collection[str]
) -> None:
    """Refuse a teacher that does not know the dataset.

    Args:
        recorded: its accuracy as its file tells it, 0..1; without one it must only be clearly
            above chance.
        who: the teacher, as its user named it.

    Raises:
        UserError: it knows the images less often, or another order of the classes explains more.
    """
    least = min(0.5, max(found.by_chance, 2 / found.classes))
    if recorded is not None:
        least = recorded - BELOW_RECORD
    _refuse(
        f"The teacher {who} does not fit the dataset: on {found.seen} of its training images ",
        mismatch(found, least, train.class_names),
        "--set teacher.class_order=fitted puts its outputs in that order" if found.in_order else "",
        "teacher",
        accepted,
    )


def check_images(
    images: ResidentImages,
    teacher: Classifier,
    compute: Compute,
    who: str,
    accepted: Collection[str],
) -> None:
    """Refuse images of others whose classes the teacher names in another order.

    That it seldom names them is told and no more: pictures that were optimised for one network
    may show another one nothing (of Dataset Condensation's, 15 in 100 to a ResNet-20 of 92 %).

    Raises:
        UserError: another order of the classes explains more.
    """
    found = known(teacher, images, compute)
    _refuse(
        f"The images of {who} do not fit the teacher: of them ",
        mismatch(found, 0.0, images.class_names),
        "",
        "images",
        accepted,
    )
    if found.share < RARE:
        say(f"the teacher names the class of {found.right} in {found.seen} images of {who}")


def check_labels(
    found: Agreement, names: Sequence[str], where: str, accepted: Collection[str]
) -> None:
    """Refuse labels of others whose top classes are not those of the images that they are of.

    Raises:
        UserError: they are so too seldom, or another order of the classes explains more.
    """
    _refuse(
        f"The labels in {where} do not fit these images: ",
        mismatch(found, LABELS_AGREE - found.uncertainty, names),
        "class_order=fitted reads them in that order" if found.in_order else "",
        "labels",
        accepted,
    )


def _refuse(start: str, wrong: str, mend: str, join: str, accepted: Collection[str]) -> None:
    if wrong and join not in accepted:
        raise UserError(
            f"{start}{wrong}.{f' {mend}.' if mend else ''} Are images, classes and files of one "
            f"kind and order? To go on all the same: --accept {join}."
        )
