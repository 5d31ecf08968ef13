"""An epoch of real images: their views, in an order that is fast to read, and their pixels."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from .images import Images
from .views import ViewBatch, ViewPlan


def real_order(images: Images, seed: int, epoch: int, among: Tensor) -> Tensor | None:
    """The rows `among` in the order of `images` for this epoch; None where any is as fast.

    Args:
        among: rows without repeats, int64 (n,).
    """
    order = images.order(seed, epoch)
    if order is None:
        return None
    if len(among) == len(order):
        return torch.from_numpy(order)
    asked = np.zeros(len(order), bool)
    asked[among.numpy()] = True
    return torch.from_numpy(order[asked[order]])


def epoch_views(
    images: Images, plan: ViewPlan, epoch: int, among: Tensor | None = None
) -> Iterator[ViewBatch]:
    """The views of an epoch of real images, batch by batch; their `index` counts all of them.

    Args:
        plan: of as many images as are shown.
        among: the rows that are shown, without repeats; all by default.
    """
    rows = torch.arange(len(images)) if among is None else among
    order = real_order(images, plan.seed, epoch, rows)
    for batch in range(plan.batches):
        if order is not None:
            yield plan.batch(epoch, batch, order.numpy())
        else:
            views = plan.batch(epoch, batch)
            yield views if among is None else replace(views, index=among[views.index])


def with_pixels(images: Images, batches: Iterable[ViewBatch]) -> Iterator[tuple[ViewBatch, Tensor]]:
    """Each batch of views with the image of each view, uint8 (B, C, R, R), read ahead."""
    waiting: deque[ViewBatch] = deque()

    def rows() -> Iterator[Tensor]:
        for views in batches:
            waiting.append(views)
            yield views.index

    for pixels in images.batches(rows()):
        yield waiting.popleft(), pixels
