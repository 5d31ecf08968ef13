"""scikit-learn's 1,797 real 8x8 handwritten digits: embedded, no download.

From the UCI test set (Alpaydin and Kaynak, 1998; CC BY 4.0), as `digits.csv.gz` of scikit-learn has
it. Grey values 0..16 are spread over 0..255. The split is ours: of each class, every fifth image in
file order is a test image.
"""

import gzip
from pathlib import Path

import numpy as np
import torch

from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import Dataset, ResidentImages, pixel_statistics
from benchmark.data.place import Place

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Digits(DatasetSource):
    """8x8 digits."""

    def load(self, place: Place, argument: str = "") -> Dataset:
        """1,433 training and 364 test images of 1 x 8 x 8."""
        table = _table()
        pixels = torch.tensor(table[:, :-1] * 255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
        labels = torch.tensor(table[:, -1], dtype=torch.int64)
        test = torch.zeros(len(labels), dtype=torch.bool)
        for c in range(10):
            test[torch.nonzero(labels == c).squeeze(1)[::5]] = True
        train = ResidentImages(pixels[~test], labels[~test], NAMES)
        mean, std = pixel_statistics(train.pixels).tolist()
        held_out = ResidentImages(pixels[test], labels[test], NAMES)
        return Dataset("digits", train, held_out, tuple(mean), tuple(std), mirror=False)


def _table() -> np.ndarray:
    """Grey values and class of each digit, float64 (1797, 65)."""
    with gzip.open(Path(__file__).with_name("digits.csv.gz"), "rt") as text:
        return np.loadtxt(text, delimiter=",")
