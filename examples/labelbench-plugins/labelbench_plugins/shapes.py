"""Shapes: 16x16 pictures of four shapes in random colours, drawn here; no download."""

import torch
from torch import Tensor

from benchmark import Dataset, DatasetSource, ResidentImages
from benchmark.data.images import pixel_statistics
from benchmark.data.place import Place

NAMES = ("disc", "square", "cross", "stripes")
SIDE = 16


class Shapes(DatasetSource):
    """400 training and 100 test pictures a class, the same on every machine."""

    def load(self, place: Place, argument: str = "") -> Dataset:
        train, test = drawn(400, seed=0), drawn(100, seed=1)
        mean, std = pixel_statistics(train.pixels).tolist()
        return Dataset("shapes", train, test, tuple(mean), tuple(std), mirror=True)


def drawn(each: int, seed: int) -> ResidentImages:
    """So many pictures of each class, their place, size, colours and noise by the seed."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(NAMES)).repeat(each)
    count = len(labels)
    centre = 5 + 6 * torch.rand(count, 2, 1, 1, generator=draw)
    radius = 3 + 2 * torch.rand(count, 1, 1, generator=draw)
    inside = masks(centre, radius)[labels, torch.arange(count)][:, None].float()
    ink, paper = torch.rand(2, count, 3, 1, 1, generator=draw)
    noise = 0.1 * torch.randn(count, 3, SIDE, SIDE, generator=draw)
    pictures = inside * ink + (1 - inside) * paper + noise
    return ResidentImages((255 * pictures.clamp(0, 1)).round().to(torch.uint8), labels, NAMES)


def masks(centre: Tensor, radius: Tensor) -> Tensor:
    """Which pixels each shape covers, booleans (classes, N, side, side)."""
    y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    dy, dx = (y - centre[:, 0]).abs(), (x - centre[:, 1]).abs()
    square = (dx <= radius) & (dy <= radius)
    disc = dx**2 + dy**2 <= radius**2
    cross = square & ((dx <= 1) | (dy <= 1))
    return torch.stack([disc, square, cross, square & ((x + y) % 4 < 2)])
