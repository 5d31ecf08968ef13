"""MNIST: 60,000 training and 10,000 test handwritten digits of 1 x 28 x 28, 10 classes."""

from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import Dataset
from benchmark.data.place import Place

from .cifar10 import parquet_or_torchvision
from .digits import NAMES


class Mnist(DatasetSource):
    """MNIST."""

    def load(self, place: Place, argument: str = "") -> Dataset:
        """From Parquet files in `mnist/`, or torchvision's folder `MNIST/`."""
        return parquet_or_torchvision("mnist", "MNIST", "MNIST", place, mirror=False, names=NAMES)
