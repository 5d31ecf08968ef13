"""A comparison and all that its page is made of."""

from dataclasses import dataclass, replace
from functools import cached_property

from ...records.comparison import Comparison, Setting
from ...records.record import Record
from ..gains import Gain, gains
from ..rates import Rate, rates
from .lines import Line


@dataclass(frozen=True)
class Board:
    """A comparison and its page.

    Attributes:
        name: of its page.
    """

    comparison: Comparison
    name: str
    lines: list[Line]

    @property
    def setting(self) -> Setting:
        """What all rows of the comparison share."""
        return self.comparison.setting

    @property
    def family(self) -> Setting:
        """What the comparisons of all IPCs share."""
        return replace(self.setting, ipc=0)

    @cached_property
    def present(self) -> list[Line]:
        """The lines that have records."""
        return [line for line in self.lines if line.row.n]

    @property
    def cheapest(self) -> Line | None:
        """Of the lines that share the first rank, the one that ships least."""
        first = [line for line in self.present if line.row.rank == 1]
        return min(first, key=lambda line: line.row.storage["total"], default=None)

    @cached_property
    def rates(self) -> list[Rate]:
        """Its curves; see `rates`."""
        return rates(self.comparison)

    @cached_property
    def gains(self) -> list[Gain]:
        """What its rows' bytes and seconds buy."""
        return gains(self.comparison)

    @property
    def records(self) -> list[tuple[Record, Line | None]]:
        """Each record, with its line where it counts."""
        counted: list[tuple[Record, Line | None]] = [
            (record, line) for line in self.lines for record in line.row.records
        ]
        return [*counted, *((record, None) for record in self.comparison.left_out)]
