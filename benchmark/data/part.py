"""Some rows of a set of images, read where they are asked for."""

import hashlib
from collections.abc import Iterable, Iterator

from torch import Tensor

from .images import Images


class Part(Images):
    """The images of `rows`, int64 (n,), in their order; nothing is copied."""

    def __init__(self, images: Images, rows: Tensor) -> None:
        self.images, self.rows = images, rows
        self.labels = images.labels[rows]
        self.class_names = images.class_names
        self.channels, self.resolution = images.channels, images.resolution
        sha = hashlib.sha256(images.digest.encode())
        sha.update(rows.numpy().data)
        self.digest = sha.hexdigest()

    def take(self, indices: Tensor) -> Tensor:
        return self.images.take(self.rows[indices])

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:
        """`take` of each, in turn, read as the whole reads them."""
        return self.images.batches(self.rows[each] for each in indices)
