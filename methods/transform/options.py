"""What can be chosen of `transform`."""

from dataclasses import dataclass
from typing import Literal

from benchmark.labels.reuse import TemperatureSchedule

Form = Literal["auto", "hard", "function", "views"]


@dataclass(frozen=True)
class Options:
    """What is coded, how many labels, and how finely.

    Attributes:
        form: `views`, labels of views; `function`, a fitted function of every view; `hard`,
            nothing: the images' own classes. `auto` goes by the byte budget, and without one takes
            `views`.
        bytes: most that the coded labels take, with the basis where `dims` goes by it; 0 sets no
            limit. A byte budget sets it.
        batches: of the plan that are coded, from its first on; 0 for as many as `bytes` allow, or
            all.
        step: of the quantiser, as a share of the labels' root mean square. 0 goes by `bytes`: the
            finest of `STEPS` at which they hold `ENOUGH` views an image, or the coarsest; where
            they hold all batches, the finest that does. Where `dims` goes by `bytes`, chosen with
            it. Of a function: of its coefficients, 0 for the finest that `bytes` hold, or 0.1.
        rounding: what is added to a magnitude, in steps, before it is rounded down; below a half,
            small residuals become 0, which costs least.
        dims: coefficients a label; 0 takes all of up to 64 classes. Of more it goes by `bytes`,
            which the basis shares with the labels (`allotment`); without a limit it takes 64.
        predict: whether labels are predicted from those decoded before them.
        mirror: whether stored views are shown mirrored at every other time, by chance; only where
            the plan mirrors images.
        k: logits of a decoded label that students see, renormalised, as LPQLD's MR-k; 0 for all.
        schedule: of the labels' temperature over the epochs, as LPQLD's, with its factors; `none`
            keeps the recipe's.
        calibrate: LPQLD's calibrated student-teacher alignment.
    """

    form: Form = "auto"
    bytes: int = 0
    batches: int = 0
    step: float = 0.0
    rounding: float = 0.4
    dims: int = 0
    predict: bool = True
    mirror: bool = True
    k: int = 0
    schedule: TemperatureSchedule = "none"
    calibrate: bool = False

    def __post_init__(self) -> None:
        if min(self.bytes, self.batches, self.dims, self.k) < 0:
            raise ValueError(
                "bytes, batches, dims and k must not be negative, got "
                f"{self.bytes}, {self.batches}, {self.dims}, {self.k}"
            )
        if self.form == "hard" and not self.as_they_are:
            raise ValueError("k, schedule and calibrate are of logits, and form=hard has none")
        if self.step and not 1e-3 <= self.step <= 100:
            raise ValueError(f"step must be 0 or in 0.001 to 100, got {self.step}")
        if not 0 < self.rounding <= 0.5:
            raise ValueError(f"rounding must be above 0 and at most 0.5, got {self.rounding}")

    @property
    def as_they_are(self) -> bool:
        """Whether students see decoded labels whole, at the recipe's temperature."""
        return self.k == 0 and self.schedule == "none" and not self.calibrate
