"""Which views a fit has the teacher label: the method says it before the fit."""

from collections.abc import Sequence
from dataclasses import dataclass

from .ensemble import Teachers


@dataclass(frozen=True)
class Relabelling:
    """What a fit has the teacher label, known before it.

    Attributes:
        numbers: of the plan's batches, counted from 0 through all epochs.
        teachers: which teacher; see `ensemble`.
    """

    numbers: Sequence[int]
    teachers: Teachers = "final"
