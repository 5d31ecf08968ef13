from itertools import chain

import numpy as np
import torch

from benchmark.data.images import Images, ResidentImages
from benchmark.data.part import Part
from benchmark.data.real_batches import epoch_views, with_pixels
from benchmark.data.recipe import Augmentation
from benchmark.data.views import ViewPlan

PIXELS = torch.arange(20, dtype=torch.uint8).view(20, 1, 1, 1).expand(20, 1, 2, 2).contiguous()
HELD = ResidentImages(PIXELS, torch.arange(20) % 4, ("a", "b", "c", "d"))
PLAIN = Augmentation(flip=0.0, mix="none")


class Backwards(Images):
    """Images whose order is from the last to the first, turned by the epoch."""

    labels, class_names, digest, channels, resolution = HELD.labels, HELD.class_names, "b", 1, 2

    def take(self, indices):
        return HELD.take(indices)

    def order(self, seed, epoch):
        return np.roll(np.arange(20)[::-1], epoch)


def shown(images: Images, epoch: int, among: torch.Tensor | None = None) -> list[list[int]]:
    """What each batch shows, by the pixels."""
    count = 20 if among is None else len(among)
    plan = ViewPlan(0, count, 2, 8, 3, PLAIN)
    found = []
    for views, pixels in with_pixels(images, epoch_views(images, plan, epoch, among)):
        assert views.index.tolist() == pixels[:, 0, 0, 0].tolist()
        found.append(views.index.tolist())
    return found


def test_resident_images_follow_the_plans_own_order():
    plan = ViewPlan(0, 20, 2, 8, 3, PLAIN)
    assert shown(HELD, 1) == [views.index.tolist() for views in plan.epoch(1)]
    among = torch.tensor([3, 5, 19, 7])
    (batch,) = shown(HELD, 0, among)
    assert sorted(batch) == [3, 5, 7, 19]


def test_others_follow_theirs():
    assert [*chain(*shown(Backwards(), 0))] == list(range(19, -1, -1))
    assert [*chain(*shown(Backwards(), 2))] == [1, 0, *range(19, 1, -1)]
    assert shown(Backwards(), 0, torch.tensor([3, 5, 19, 7])) == [[19, 7, 5, 3]]


def test_a_part_reads_its_rows():
    part = Part(HELD, torch.tensor([4, 2, 9]))
    assert len(part) == 3
    assert part.labels.tolist() == [0, 2, 1]
    assert part.take(torch.tensor([2, 0]))[:, 0, 0, 0].tolist() == [9, 4]
    blocks = list(part.batches([torch.tensor([1]), torch.tensor([0, 2])]))
    assert [block[:, 0, 0, 0].tolist() for block in blocks] == [[2], [4, 9]]
    assert part.digest != Part(HELD, torch.tensor([2, 4, 9])).digest
