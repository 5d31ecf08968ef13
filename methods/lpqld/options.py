"""What can be chosen of `lpqld`."""

from dataclasses import dataclass
from typing import Literal

from benchmark.labels.ensemble import Teachers
from benchmark.labels.reuse import DECAY, FLOOR, INTERVAL, TemperatureSchedule

from .coding import Quantiser, Values
from .pool import Granularity, Order, Select


@dataclass(frozen=True)
class Options:
    """What is kept, and how it is reused.

    Attributes:
        keep: share of all batches of the plan that are stored, 1 - r of the papers.
        batches: how many are stored, instead of a share; 0 goes by `keep`.
        select: which are stored: the `first` of the plan (as released), `random` ones, or
            those where a metric of the teacher is highest or lowest: `confidence` (its
            largest probability), `entropy`, `loss` (cross-entropy with the image's class).
        order: whether the metric's highest or lowest are stored.
        granularity: an epoch draws from all stored batches (`pool`), takes each batch from
            the same place of some stored epoch (`batch`), or a whole stored `epoch`.
        replacement: whether a draw may repeat itself: LPLD's may, LPQLD's does not.
        quantise: what is kept of a label; `none` keeps all logits. See `coding`.
        k: logits kept a label by `mr` and `ms`; 0 keeps a tenth of the classes, as MR-100
            of 1,000 does, but at least 2.
        mass: probability that `adaptive` keeps.
        values: what a kept logit is stored as; whole numbers have a scale for each label.
        schedule: of the temperature over the epochs; `none` keeps the recipe's.
        decay: factor of the `step` schedule at each step down (gamma).
        interval: share of the epochs between its steps (30 of 300).
        floor: lowest temperature.
        calibrate: calibrated student-teacher alignment; without it the student is
            compared at the labels' temperature.
        path: a folder of labels in SRe2L's, LPLD's or LPQLD's form, to be taken instead of
            the teacher's; its image numbers count the pictures as `ImageFolder` lists them.
        class_order: of the labels in `path`: their `own`, or the one that is `fitted` to the
            classes that the images show, where one is.
        teachers: whose logits are kept: the `final` one's, as in the papers, or the mean of
            weak ones' along a `trajectory`, as HeLlO has.
    """

    keep: float = 0.1
    batches: int = 0
    select: Select = "first"
    order: Order = "highest"
    granularity: Granularity = "pool"
    replacement: bool = False
    quantise: Quantiser = "mr"
    k: int = 0
    mass: float = 0.95
    values: Values = "fp16"
    schedule: TemperatureSchedule = "step"
    decay: float = DECAY
    interval: float = INTERVAL
    floor: float = FLOOR
    calibrate: bool = True
    path: str = ""
    class_order: Literal["own", "fitted"] = "own"
    teachers: Teachers = "final"

    def __post_init__(self) -> None:
        if self.path and self.teachers != "final":
            raise ValueError("path brings labels that are made; teachers has no say in them")
        if self.class_order != "own" and not self.path:
            raise ValueError("class_order is of the labels in path, and path is empty")
        if not 0 < self.keep <= 1 or not 0 < self.mass <= 1:
            raise ValueError(
                f"keep and mass must be shares above 0 and at most 1, got {self.keep}, {self.mass}"
            )
        if self.k < 0 or self.batches < 0:
            raise ValueError(f"k and batches must not be negative, got {self.k}, {self.batches}")
        if not 0 < self.interval <= 1 or not 0 < self.decay <= 1 or not self.floor > 0:
            raise ValueError(
                "interval and decay must be in (0, 1] and floor positive, got "
                f"{self.interval}, {self.decay}, {self.floor}"
            )
