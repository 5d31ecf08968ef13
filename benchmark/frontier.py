"""The frontier: accuracy over the bytes that are shipped, as pictures for papers.

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

from .leaderboard import by_method, file_name, title
from .records import Record
from .stages import write_atomic
from .statistics import mean_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

# Okabe and Ito's colours and their grey, then some of Tol's: all safe for the colour-blind.
COLOURS = {
    "hard": "#000000",
    "smoothed": "#999999",
    "soft": "#0072B2",
    "teacher": "#009E73",
    "lpqld": "#D55E00",
    "hello": "#CC79A7",
    "ld": "#E69F00",
    "ld_rr": "#F0E442",
    "expert": "#56B4E9",
    "label_solve": "#882255",
}
OTHERS = ("#332288", "#999933", "#44AA99", "#DDCC77", "#AA4499", "#117733")
MARKERS = "osD^vP<X>ph8"
DASHES = ("-", "--", "-.", (0, (8, 2, 2, 2, 2, 2)))
REAL = "random"  # the image source that is not distilled: hollow, and not on a frontier

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
NEAR = 11.0  # points; a number further from its point is tied to it
PANEL = (3.9, 3.3)  # inches
ONE_AT_A_TIME = RLock()  # matplotlib's settings belong to the whole process


@dataclass(frozen=True)
class Point:
    """One method on one image source.

    Attributes:
        accuracy: mean over students, in %.
        half: half of its 95 % interval, in %; None where there are too few.
        prior: bytes of the public model that must be there, else 0.
    """

    images: str
    method: str
    bytes: int
    accuracy: float
    half: float | None
    prior: int

    @property
    def family(self) -> str:
        return self.method.partition("[")[0]


@dataclass(frozen=True)
class Picture:
    """The frontier of one comparison, a panel for each IPC.

    Attributes:
        short: the comparison in few words, for file names.
    """

    title: str
    short: str
    figure: "Figure"

    @property
    def name(self) -> str:
        """Of its files."""
        return file_name(self.short, self.title, "frontier")


def figures(records: Iterable[Record]) -> list[Picture]:
    """One picture for each dataset, student, recipe and teacher, on and off protocol."""
    records = list(records)
    families = sorted({r["cell"]["method"].partition("[")[0] for r in records} - {*COLOURS})
    colours = COLOURS | {f: OTHERS[i % len(OTHERS)] for i, f in enumerate(families)}
    sources = sorted({r["cell"]["images"] for r in records} - {REAL})
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(title(record, ipc=False), []).append(record)
    made = []
    for name, members in sorted(groups.items()):
        cell = members[0]["cell"]
        short = f"{cell['dataset']} {cell['student']} {cell['recipe']}"
        with _style():
            made.append(Picture(name, short, _draw(name, members, colours, sources)))
    return made


def publish(records: Iterable[Record], folder: Path) -> list[Path]:
    """Write each picture as PNG, SVG and PDF into `folder`; the same records, the same bytes."""
    paths = []
    for picture in figures(records):
        for kind, metadata in FORMATS.items():
            data = io.BytesIO()
            with _style():
                picture.figure.savefig(data, format=kind, dpi=200, metadata=metadata)
            paths.append(folder / f"{picture.name}.{kind}")
            write_atomic(paths[-1], data.getvalue())
    return paths


def points(records: Sequence[Record]) -> list[Point]:
    """The records of one IPC as points, one for each method on each image source."""
    made = []
    for (images, method), members in by_method(records).items():
        mean, half = mean_interval([100 * r["result"]["accuracy"] for r in members])
        stored = members[0]["storage"]
        prior = stored["prior"] if members[0]["prior"] else 0
        made.append(Point(images, method, stored["total"], mean, half, prior))
    return made


def frontier(found: Iterable[Point]) -> list[Point]:
    """The points that no other one beats at as few bytes or fewer, from few bytes to many."""
    best: list[Point] = []
    for point in sorted(found, key=lambda p: (p.bytes, -p.accuracy)):
        if not best or point.accuracy > best[-1].accuracy:
            best.append(point)
    return best


@contextmanager
def _style() -> Iterator[None]:
    """matplotlib with our settings, whatever the user's own are."""
    import matplotlib

    with ONE_AT_A_TIME, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def _draw(
    name: str, records: Sequence[Record], colours: Mapping[str, str], sources: Sequence[str]
) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    by_ipc: dict[int, list[Record]] = {}
    for record in sorted(records, key=lambda r: r["cell"]["ipc"]):
        by_ipc.setdefault(record["cell"]["ipc"], []).append(record)
    panels = {ipc: points(members) for ipc, members in by_ipc.items()}
    everything = [point for found in panels.values() for point in found]
    numbers = _numbers(everything, list(colours))
    looks = {
        source: {"marker": MARKERS[i % len(MARKERS)], "linestyle": DASHES[i % len(DASHES)]}
        for i, source in enumerate(sources)
    }

    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, (ipc, found) in zip(axes, panels.items(), strict=True):
        full = sorted({r["storage"]["soft"] for r in by_ipc[ipc]})
        _panel(panel, found, full, colours, looks)
        panel.set_title(f"IPC {ipc}", loc="left", fontsize=9, fontweight="bold", pad=14)
        panel.set_xlabel("bytes shipped beyond the images")
    axes[0].set_ylabel("top-1 test accuracy (%)")
    handles = _legend(everything, numbers, colours, looks)
    legend = figure.legend(handles=handles, loc="outside right upper", labelspacing=0.35)
    for text in legend.get_texts():
        text.set_parse_math(False)

    figure.draw_without_rendering()
    beside = legend.get_window_extent()
    width = PANEL[0] * len(panels)
    whole = name.replace(" ", FIXED_SPACE).replace(f",{FIXED_SPACE}", ", ")  # breaks at commas
    heading = textwrap.fill(whole, int(width * 13), break_on_hyphens=False)
    figure.suptitle(heading, x=0.01, ha="left", fontsize=9, parse_math=False)
    tall = PANEL[1] + 0.14 * len(heading.splitlines())
    figure.set_size_inches(
        width + beside.width / figure.dpi, max(tall, beside.height / figure.dpi + 0.1)
    )
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # what is placed now stays
    for panel, found in zip(axes, panels.values(), strict=True):
        _write_numbers(panel, found, numbers, colours)
    return figure


def _numbers(found: Iterable[Point], families: Sequence[str]) -> dict[str, int]:
    """Each method's number in the picture; a family's from few bytes to many."""
    least: dict[str, tuple[int, int, str]] = {}
    for p in found:
        key = (families.index(p.family), p.bytes, p.method)
        least[p.method] = min(key, least.get(p.method, key))
    return {method: i for i, method in enumerate(sorted(least, key=least.__getitem__), 1)}


def _panel(
    panel: "Axes",
    found: Sequence[Point],
    full: Sequence[int],
    colours: Mapping[str, str],
    looks: Mapping[str, Mapping],
) -> None:
    """Points, their intervals, the frontier of each distilled source, the full labels."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    panel.set_xscale("log")
    panel.grid(axis="y", color="0.92", linewidth=0.5)
    panel.set_axisbelow(True)
    end = max([*full, *(point.bytes for point in found)])
    for source, look in looks.items():
        best = frontier(point for point in found if point.images == source)
        if best:
            panel.step(
                [*(point.bytes for point in best), end],
                [*(point.accuracy for point in best), best[-1].accuracy],
                where="post",
                color="0.6",
                linewidth=0.8,
                linestyle=look["linestyle"],
                zorder=1.5,
            )
    for point in found:
        colour = colours[point.family]
        panel.errorbar(
            point.bytes,
            point.accuracy,
            None if point.half is None else point.half,
            ecolor=colour,
            elinewidth=0.7,
            capsize=1.5,
            **_marker(point.images, colour, looks),
        )
    for size in full:
        panel.axvline(size, color="0.3", linestyle=":", linewidth=0.9, zorder=1)
        panel.text(
            size,
            1.01,
            f"all soft labels: {_amount(size)}",
            transform=panel.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=7,
            color="0.3",
        )
    panel.margins(x=0.08, y=0.08)
    low, high = panel.get_ylim()
    panel.set_ylim(max(low, -2), min(high, 102))
    first, last = panel.get_xlim()
    if last < 100 * first:  # powers of ten alone would be too few
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(EngFormatter("B"))
    panel.xaxis.set_minor_formatter(NullFormatter())


def _marker(source: str, colour: str, looks: Mapping[str, Mapping]) -> dict:
    """Filled, and of its source's shape; hollow for real images."""
    if source == REAL:
        face, edge, shape = "white", colour, "o"
    else:
        face, edge, shape = colour, "white", looks[source]["marker"]
    return {
        "marker": shape,
        "markersize": 5.5,
        "markerfacecolor": face,
        "markeredgecolor": edge,
        "markeredgewidth": 1.0 if source == REAL else 0.4,
        "linestyle": "none",
    }


def _legend(
    found: Sequence[Point],
    numbers: Mapping[str, int],
    colours: Mapping[str, str],
    looks: Mapping[str, Mapping],
) -> list["Line2D | Patch"]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Line2D | Patch] = []
    methods = {point.method: point for point in found}
    for method, number in numbers.items():
        point = methods[method]
        lines = textwrap.wrap(method.replace(",", ", "), 44, break_on_hyphens=False)
        if point.prior:
            lines[-1] += " †"
            lines.append(f"† needs a public prior of {_amount(point.prior)}")
        label = f"{number}".rjust(2, DIGIT_WIDE) + "  " + f"\n{DIGIT_WIDE * 2}  ".join(lines)
        handles.append(Patch(color=colours[point.family], label=label))
    sources = {point.images for point in found}
    if REAL in sources:
        look = _marker(REAL, "0.3", looks)
        handles.append(Line2D([], [], **look, label="random real images"))
    for source, look in looks.items():
        if source in sources:
            line = {"linestyle": look["linestyle"], "color": "0.6", "linewidth": 0.8}
            marker = _marker(source, "0.3", looks) | line
            handles.append(Line2D([], [], **marker, label=f"{source} images, Pareto frontier"))
    dotted = {"color": "0.3", "linestyle": ":", "linewidth": 0.9}
    handles.append(Line2D([], [], **dotted, label="bytes of all soft labels as fp16"))
    if any(point.half is not None for point in found):
        bar = {"color": "0.3", "linestyle": "none", "marker": "|", "markersize": 8}
        handles.append(Line2D([], [], **bar, label="95 % interval over student seeds"))
    return handles


def _amount(size: int) -> str:
    """Bytes, short: 7.4 MB."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter("B", places=1)(size).replace(".0 ", " ")


def _write_numbers(
    panel: "Axes",
    found: Sequence[Point],
    numbers: Mapping[str, int],
    colours: Mapping[str, str],
) -> None:
    """Each point's number beside it, where there is most room."""
    from matplotlib.patheffects import withStroke

    figure = panel.get_figure(root=True)
    assert figure is not None
    scale = 72 / figure.dpi
    at = panel.transData.transform([(point.bytes, point.accuracy) for point in found]) * scale
    frame = panel.get_window_extent()
    left, right, low, high = (scale * v for v in (frame.x0, frame.x1, frame.y0, frame.y1))
    taken = [(x, y, 3.0, 3.0) for x, y in at]  # centres and half sizes, in points
    for point, (x, y) in zip(found, at, strict=True):
        if point.half is not None:
            top = panel.transData.transform((point.bytes, point.accuracy + point.half))[1] * scale
            taken.append((x, y, 1.0, top - y))

    def cost(choice: tuple[float, float, float], wide: float, tall: float) -> float:
        x, y, away = choice
        over = 0.0
        for u, v, w, h in taken:
            over += max(0.0, wide + w - abs(x - u)) * max(0.0, tall + h - abs(y - v))
        outside = x - wide < left or x + wide > right or y - tall < low or y + tall > high
        nearer = sum(math.hypot(x - u, y - v) < 0.95 * away for u, v in at)
        return over + 20 * nearer + 100 * outside  # nearer points would seem to be meant

    order = sorted(zip(found, at, strict=True), key=lambda p: (-p[0].accuracy, p[0].bytes))
    for point, (x, y) in order:
        text = f"{numbers[point.method]}{'†' if point.prior else ''}"
        wide, tall = 1.9 * len(text), 2.6
        ways = ((1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1))
        shifts = [
            (dx * (wide + reach), dy * (tall + reach))
            for reach in (3.5, 6.0, 9.0, 14.0, 20.0)
            for dx, dy in ways
        ]
        choices = [(x + dx, y + dy, math.hypot(dx, dy)) for dx, dy in shifts]
        u, v, away = min(choices, key=lambda choice: cost(choice, wide, tall))
        taken.append((u, v, wide, tall))
        leader = {"arrowstyle": "-", "color": "0.4", "linewidth": 0.4, "shrinkA": 0, "shrinkB": 2}
        panel.annotate(
            text,
            (point.bytes, point.accuracy),
            (u - x, v - y),
            textcoords="offset points",
            ha="center",
            va="center_baseline",
            fontsize=6,
            color="0.15",
            annotation_clip=False,
            path_effects=[withStroke(linewidth=1.8, foreground="white")],
            arrowprops=leader if away > NEAR else None,
        )
