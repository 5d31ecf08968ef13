"""How many cells of a run have ended, and how long the others take."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ..core import progress
from .grid import Cell

LEAST_TO_GO_BY = 2.0  # seconds of work that correct what was expected of the rest

Expected = Callable[[Sequence[Cell]], float | None]


@dataclass
class Tally:
    """Cells that have ended, of so many.

    Attributes:
        waiting: cells that have not ended.
        expected: seconds that cells take when all others have ended, with all that is missing for
            them; None where that is not known.
        total: how many cells there are.
        until: when the run is to end at the latest, by the monotonic clock.
    """

    waiting: dict[Cell, None] = field(default_factory=dict)
    expected: Expected = lambda cells: None
    total: int = 0
    until: float | None = None
    _began: float = 0.0
    _whole: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, cells: Sequence[Cell], expected: Expected, until: float | None) -> "Tally":
        """A tally of a run that begins now."""
        whole = expected(cells) if cells else None
        return cls(dict.fromkeys(cells), expected, len(cells), until, time.monotonic(), whole)

    @property
    def ended(self) -> int:
        """How many have ended."""
        return self.total - len(self.waiting)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """While this lasts, it is seen how far the run is."""
        progress.overall(self.ended, self.total, self._left())
        try:
            yield
        finally:
            progress.overall(self.total, self.total, None)

    def drop(self, cells: Iterable[Cell]) -> None:
        """Count cells of which was said already how they ended."""
        with self._lock:
            for cell in cells:
                self.waiting.pop(cell, None)

    def tell(self, cell: Cell, took: str) -> None:
        """Count a cell, and say how it ended and how long the others take."""
        self.drop([cell])
        with self._lock:
            left = self._left()
            rest = ""
            if left is not None and not took.startswith("FAILED"):
                rest = f", about {progress.spoken(left)} left"
            progress.say(f"[{self.ended}/{self.total}] {cell.label}: {took}{rest}")
            progress.overall(self.ended, self.total, left)

    def _left(self) -> float | None:
        """Seconds that the others take, corrected by what those took that ended."""
        if not self.waiting:
            return None
        now = time.monotonic()
        taken, left = now - self._began, self.expected([*self.waiting])
        if left is None or self._whole is None:
            left = taken / self.ended * len(self.waiting) if self.ended else None
        elif min(self._whole - left, taken) > LEAST_TO_GO_BY:
            left *= taken / (self._whole - left)
        if self.until is None or left is None:
            return left
        return max(0.0, min(left, self.until - now))
