"""What can be chosen of `teacher`."""

from dataclasses import dataclass
from typing import Literal

from benchmark.labels.weights import WeightForm


@dataclass(frozen=True)
class Options:
    """How the network is shipped.

    Attributes:
        weights: how its numbers are stored; int8 and int4 for weights of two or more
            dimensions, with one fp16 scale for each output channel, all others as fp16.
        shrink: `prune` leaves out the smallest weights, `low-rank` ships factors of each.
        bytes: the artefact's size on disk that shrinking must not exceed.
        epochs, batch_size, lr: of tuning after shrinking, towards the whole teacher on
            the real training set.
    """

    weights: WeightForm = "fp32"
    shrink: Literal["none", "prune", "low-rank"] = "none"
    bytes: int = 0
    epochs: int = 0
    batch_size: int = 64
    lr: float = 1e-3

    def __post_init__(self) -> None:
        if self.bytes < 0 or self.epochs < 0 or self.batch_size < 1 or not self.lr > 0:
            raise ValueError(
                "bytes and epochs must not be negative, batch_size at least 1 and lr "
                f"positive, got {self.bytes}, {self.epochs}, {self.batch_size}, {self.lr}"
            )
        if self.shrink == "none" and (self.bytes or self.epochs):
            raise ValueError(
                "bytes and epochs are for a shrunk network: choose shrink=prune or shrink=low-rank"
            )
