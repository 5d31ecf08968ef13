"""What can be chosen of `vqae`."""

from dataclasses import dataclass
from typing import Literal

MOST_WIDTH = 256


@dataclass(frozen=True)
class Options:
    """How large the autoencoder is, how it is fitted, and how much is stored.

    Attributes:
        codes: indices a label, at least 1. A byte budget takes more where the labels of all views
            fit.
        entries: of the codebook, which all codes of a label share: a power of two, 2 to 4,096.
        width: numbers of an entry, at most 256.
        hidden: width of the hidden layer of encoder and decoder; 0 for as many as there are
            classes, and at least 64. A byte budget halves it, or `entries`, until codebook and
            decoder take at most half of it.
        epochs: passes over the labels that the autoencoder is fitted for, at least.
        steps: of gradient descent that it is fitted for, at least: whole passes.
        lr: peak learning rate.
        values: how codebook and decoder are shipped: `int8`, with one fp16 scale for each row of a
            matrix, or `fp16`.
        batches: of the plan, from its first on, whose labels are stored; 0 for all. A byte budget
            takes fewer where all do not fit.
    """

    codes: int = 2
    entries: int = 256
    width: int = 4
    hidden: int = 0
    epochs: int = 20
    steps: int = 1500
    lr: float = 5e-3
    values: Literal["fp16", "int8"] = "int8"
    batches: int = 0

    def __post_init__(self) -> None:
        if self.codes < 1 or self.width < 1 or self.epochs < 1:
            raise ValueError(
                "codes, width and epochs must be at least 1, got "
                f"{self.codes}, {self.width}, {self.epochs}"
            )
        if self.width > MOST_WIDTH:
            raise ValueError(f"width must be at most {MOST_WIDTH}, got {self.width}")
        if not 2 <= self.entries <= 4096 or self.entries & (self.entries - 1):
            raise ValueError(f"entries must be a power of two, 2 to 4096, got {self.entries}")
        if self.hidden < 0 or self.steps < 0 or self.batches < 0:
            raise ValueError(
                "hidden, steps and batches must not be negative, got "
                f"{self.hidden}, {self.steps}, {self.batches}"
            )
        if not 0 < self.lr < 1:
            raise ValueError(f"lr must be above 0 and below 1, got {self.lr}")
