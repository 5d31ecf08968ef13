"""CIFAR-100: 50,000 training and 10,000 test images of 32x32, 100 fine classes.

As for CIFAR-10, take lossless sources only.
"""

from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import Dataset
from benchmark.data.place import Place

from .cifar10 import parquet_or_torchvision


class Cifar100(DatasetSource):
    """CIFAR-100."""

    def load(self, place: Place, argument: str = "") -> Dataset:
        """From Parquet files in `cifar100/`, or torchvision's folder `cifar-100-python/`."""
        return parquet_or_torchvision(
            "cifar100", "CIFAR100", "cifar-100-python", place, mirror=True
        )
