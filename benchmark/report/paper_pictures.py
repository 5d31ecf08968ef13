"""Accuracy over bytes as a picture for a paper: as wide as its place, in the paper's own type.

Nothing is scaled when it is included, so its letters are 8 points high there as well. Curves are
named in a legend below the panels; the caption is the paper's.
"""

import io
import logging
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..records.comparison import Comparison, Row
from .frontier import point
from .frontier_panel import amount, frontier, scale
from .latex import COLUMN, FORMS, Form, plain
from .leaderboard import file_name, one_line
from .names import short_names
from .paper import Choice, families
from .pictures import FORMATS, MOST_BESIDE, ONE_AT_A_TIME, STYLE, colours_of, family
from .rates import without_budget

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

POINTS = 72.27  # an inch, as TeX counts
PANEL = 2.1  # inches high, with the labels of its axes
MOST_COLUMNS = 6  # of a legend
LETTER = 6.2  # dots that a letter of the legend takes at most, in the mean
MARKERS = "os^DvP<X>ph8*d"
# Computer Modern as matplotlib ships it lacks some signs of ASCII; STIX has all.
ROMAN, WHOLE = "cmr10", "STIXGeneral"
LACKS = set('_<>{}|"\\~^')
TYPE: dict[Any, Any] = {
    "font.family": ROMAN,
    "mathtext.fontset": "cm",
    "axes.formatter.use_mathtext": True,
    "axes.unicode_minus": False,
    "legend.fontsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
}


@dataclass(frozen=True)
class PaperPicture:
    """One picture in one form.

    Attributes:
        title: of what is compared; no two pictures of a form share it.
        short: in few words, for file names.
    """

    form: Form
    title: str
    short: str
    figure: "Figure"

    @property
    def name(self) -> str:
        """Of its file."""
        return file_name(self.short, self.title, f"{self.form.name}-frontier")

    def saved(self) -> bytes:
        """As PDF; the same records, the same bytes."""
        data = io.BytesIO()
        # Computer Modern's files are older than the calendar that fontTools warns by.
        logging.getLogger("fontTools").setLevel(logging.ERROR)
        with paper_style():
            self.figure.savefig(data, format="pdf", metadata=FORMATS["pdf"])
        return data.getvalue()


@contextmanager
def paper_style() -> Iterator[None]:
    """matplotlib with a paper's settings, whatever the user's own are."""
    import matplotlib

    with ONE_AT_A_TIME, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE | TYPE)
        yield


def paper_pictures(found: Iterable[Comparison], choice: Choice) -> list[PaperPicture]:
    """Each comparison for one column, each family of comparisons for both kinds of page."""
    shown = [comparison for comparison in found if choice.rows(comparison)]
    colours = colours_of(shown)
    made = []
    for comparison in shown:
        at = comparison.setting
        figure = _draw([comparison], choice, colours, COLUMN)
        made.append(PaperPicture(COLUMN, one_line(at.title), at.short, figure))
    for members in families(shown):
        at = members[0].setting
        alone = len(members) == 1
        name = at.title if alone else at.family
        short = at.short if alone else f"{at.dataset} {at.student} {at.recipe}"
        for form in FORMS:
            if form is not COLUMN:
                figure = _draw(members, choice, colours, form)
                made.append(PaperPicture(form, one_line(name), short, figure))
    return made


def _draw(
    members: Sequence[Comparison], choice: Choice, colours: Mapping[str, str], form: Form
) -> "Figure":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = {comparison.setting.ipc: choice.rows(comparison) for comparison in members}
    looks = _looks([row for of in rows.values() for row in of], colours)
    beside = min(len(rows), MOST_BESIDE)
    lines = -(-len(rows) // beside)
    with paper_style():
        figure = Figure(figsize=(form.width / POINTS, lines * PANEL), layout="constrained")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots(lines, beside, squeeze=False).ravel()
        for spare in axes[len(rows) :]:
            spare.remove()
        axes = axes[: len(rows)]
        for panel, (ipc, of) in zip(axes, rows.items(), strict=True):
            _panel(panel, of, looks, told=len(rows) == 1)
            if len(rows) > 1:
                panel.set_title(f"IPC {ipc}", pad=3)
            panel.set_xlabel("label bytes")
        for panel in axes[::beside]:
            panel.set_ylabel("top-1 accuracy (%)")
        shown = {str(line.get_label()): line for panel in axes for line in panel.get_lines()}
        handles = [line for name, line in shown.items() if not name.startswith("_")]
        taken = _legend(figure, canvas.get_renderer(), handles)
        figure.set_figheight(lines * PANEL + taken)
        figure.draw_without_rendering()
    return figure


def _legend(figure: "Figure", renderer: Any, handles: Sequence["Line2D"]) -> float:
    """Below the panels, in as many columns as the figure's width has room for; inches it takes."""
    most = figure.get_figwidth() * figure.dpi
    for handle in handles:
        name = str(handle.get_label())
        handle.set_label(textwrap.fill(name, int(most / LETTER), break_on_hyphens=False))
    for columns in range(min(len(handles), MOST_COLUMNS), 0, -1):
        legend = figure.legend(
            handles=handles,
            loc="outside lower center",
            ncols=columns,
            handlelength=1.6,
            columnspacing=1.0,
            handletextpad=0.4,
            labelspacing=0.25,
            borderaxespad=0.1,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
            if LACKS & {*text.get_text()}:
                text.set_fontfamily(WHOLE)
        taken = legend.get_window_extent(renderer)
        if taken.width <= most:
            break
        if columns > 1:
            legend.remove()
    return taken.height / figure.dpi


def _looks(rows: Sequence[Row], colours: Mapping[str, str]) -> dict[tuple[str, str], dict]:
    """How each curve is drawn, and what it is called: a method without its budget.

    Image sources are named where they are not that of most curves. A family has one colour; its
    variants, and those on other images, differ in their marks.
    """
    curves = {(row.images, without_budget(row.method)): row for row in rows}
    called = short_names(method for _, method in curves)
    most = Counter(images for images, _ in curves).most_common(1)[0][0]
    used: dict[str, int] = {}
    made = {}
    for (images, method), row in curves.items():
        of = family(method)
        mark = used[of] = used.get(of, -1) + 1
        name = called[method] + (f" ({images})" if images != most else "")
        made[images, method] = {
            "color": colours[of],
            "marker": MARKERS[(mark + list(colours).index(of)) % len(MARKERS)],
            "markerfacecolor": "white" if row.baseline else colours[of],
            "label": plain(one_line(name)),
        }
    return made


def _panel(
    panel: "Axes", rows: Sequence[Row], looks: Mapping[tuple[str, str], dict], told: bool
) -> None:
    """Curves, their frontier, and all soft labels, whose bytes may be `told`."""
    panel.grid(axis="y", color="0.92", linewidth=0.4)
    panel.set_axisbelow(True)
    points = [point(row) for row in rows]
    full = {record["storage"]["soft"] for row in rows for record in row.records}
    for (images, method), look in looks.items():
        curve = sorted(
            (p for p in points if (p.images, without_budget(p.method)) == (images, method)),
            key=lambda p: p.bytes,
        )
        if not curve:
            continue
        bars = [p.half or 0 for p in curve]
        panel.errorbar(
            [p.bytes for p in curve],
            [p.accuracy for p in curve],
            bars,
            linewidth=0.9,
            elinewidth=0.6,
            capsize=1.2,
            markersize=3.6,
            markeredgewidth=0.6,
            **{**look, "label": None},
        )
        panel.plot([], [], linewidth=0.9, markersize=3.6, **look)
    best = frontier(p for p, row in zip(points, rows, strict=True) if not row.baseline)
    if best:
        end = max([*full, *(p.bytes for p in points)])
        panel.step(
            [*(p.bytes for p in best), end],
            [*(p.accuracy for p in best), best[-1].accuracy],
            where="post",
            color="0.65",
            linewidth=0.6,
            zorder=1,
            label="frontier",
        )
    for size in full:
        name = f"all soft labels ({amount(size)})" if told else "all soft labels"
        panel.axvline(size, color="0.3", linestyle=":", linewidth=0.7, zorder=1, label=name)
    scale(panel, {*full, *(p.bytes for p in points)})
