"""Pictures for papers: what all kinds share, so that they look alike and come out the same.

matplotlib is imported when something is drawn, and pyplot never, so no screen is needed.
"""

import io
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any

from ..core.files import write_atomic
from ..records.comparison import Comparison, Row
from .leaderboard import file_name, one_line

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

# Okabe and Ito's colours and their grey, then some of Tol's: all safe for the colour-blind.
CONTROLS = {"floor": "#000000", "full": "#0072B2", "ceiling": "#009E73"}
OTHERS = (
    "#D55E00",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#882255",
    "#999933",
    "#332288",
    "#44AA99",
    "#DDCC77",
    "#AA4499",
    "#117733",
    "#999999",
    "#661100",
    "#6699CC",
    "#AA4466",
    "#F0E442",
)

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "labelbench",  # the same picture, the same bytes
    "pdf.fonttype": 42,  # TrueType, which conferences ask for
    "font.size": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7,
}
FORMATS: dict[str, dict[str, None]] = {  # and what would hold the date
    "png": {},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None},
}
FIXED_SPACE = "\u00a0"
DIGIT_WIDE = "\u2007"  # a space as wide as a digit
PANEL = (3.9, 3.3)  # inches
MOST_BESIDE = 3  # panels in a line
ONE_AT_A_TIME = RLock()  # matplotlib's settings belong to the whole process


@dataclass(frozen=True)
class Picture:
    """One figure of a comparison, or of those of all IPCs.

    Attributes:
        kind: frontier, frontier-in-all or curves.
        short: in few words, for file names.
    """

    kind: str
    title: str
    short: str
    figure: "Figure"

    @property
    def name(self) -> str:
        """Of its files."""
        return file_name(self.short, self.title, self.kind)

    def saved(self, kind: str, dots: int) -> bytes:
        """As a file of `FORMATS`, with so many dots an inch."""
        data = io.BytesIO()
        with style():
            self.figure.savefig(data, format=kind, dpi=dots, metadata=FORMATS[kind])
        return data.getvalue()


def save(pictures: Iterable[Picture], folder: Path) -> list[Path]:
    """Write each picture as PNG, SVG and PDF into `folder`; the same records, the same bytes."""
    paths = []
    for picture in pictures:
        for kind in FORMATS:
            paths.append(folder / f"{picture.name}.{kind}")
            write_atomic(paths[-1], picture.saved(kind, 200))
    return paths


@contextmanager
def style() -> Iterator[None]:
    """matplotlib with our settings, whatever the user's own are."""
    import matplotlib

    with ONE_AT_A_TIME, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def family(method: str) -> str:
    """A method without its options; variants of one have one colour."""
    return method.partition("[")[0].partition(" (")[0]


def colours_of(found: Iterable[Comparison]) -> dict[str, str]:
    """A colour for each family, the same in all pictures of these comparisons."""
    rows = [row for comparison in found for row in comparison.rows]
    marked = {(row.control, family(row.method)) for row in rows if row.control}
    order = sorted(marked, key=lambda pair: ([*CONTROLS].index(pair[0]), pair[1]))
    controls = {name: CONTROLS[control] for control, name in order}
    others = sorted({family(row.method) for row in rows} - {*controls})
    return controls | {f: OTHERS[i % len(OTHERS)] for i, f in enumerate(others)}


def numbered(
    rows: Iterable[Row], families: Sequence[str], called: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Each method's number in a picture; a family's from few bytes to many.

    Args:
        called: what a picture calls methods, if not by their labels.
    """
    least: dict[str, tuple[int, int, str]] = {}
    for row in rows:
        name = row.method if called is None else called[row.method]
        key = (families.index(family(name)), row.storage["total"], name)
        least[name] = min(key, least.get(name, key))
    return {method: i for i, method in enumerate(sorted(least, key=least.__getitem__), 1)}


def entries(
    numbers: Mapping[str, int], colours: Mapping[str, str], notes: Mapping[str, str]
) -> list["Artist"]:
    """The legend's lines for methods: colour, number, name; marked with † where there is a note."""
    from matplotlib.patches import Patch

    made: list[Artist] = []
    for method, number in numbers.items():
        lines = textwrap.wrap(one_line(method).replace(",", ", "), 44, break_on_hyphens=False)
        if note := notes.get(method):
            lines[-1] += " †"
            lines.append(f"† {note}")
        label = f"{number}".rjust(2, DIGIT_WIDE) + "  " + f"\n{DIGIT_WIDE * 2}  ".join(lines)
        made.append(Patch(color=colours[family(method)], label=label))
    return made


def arrange(figure: "Figure", title: str, handles: Sequence["Artist"], lines: int = 1) -> None:
    """Set title, legend and size around `lines` of panels; what is placed then stays."""
    legend = figure.legend(handles=handles, loc="outside right upper", labelspacing=0.35)
    for text in legend.get_texts():
        text.set_parse_math(False)
    figure.draw_without_rendering()
    beside = legend.get_window_extent()
    width = PANEL[0] * math.ceil(len(figure.axes) / lines)
    # Breaks at commas only.
    whole = one_line(title).replace(" ", FIXED_SPACE).replace(f",{FIXED_SPACE}", ", ")
    heading = textwrap.fill(whole, int(width * 13), break_on_hyphens=False)
    figure.suptitle(heading, x=0.01, ha="left", fontsize=9, parse_math=False)
    tall = PANEL[1] * lines + 0.14 * len(heading.splitlines())
    figure.set_size_inches(
        width + beside.width / figure.dpi, max(tall, beside.height / figure.dpi + 0.1)
    )
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
