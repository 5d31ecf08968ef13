"""Tables for a paper: chosen methods and columns, names that people read, whom to cite.

Each comparison makes a table for one column, and comparisons that differ in their IPC alone one
for the whole page. What the table's width has no room for goes on in a further one.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..core import plugins
from ..core.errors import UserError, unknown
from ..records.comparison import Comparison, Row
from . import columns
from .citations import Entry, cited
from .gains import Gain, gains
from .in_all import form_of
from .latex import COLUMN, FORMS, Form, floats, plain, prose
from .leaderboard import file_name, one_line, rank_texts
from .names import short_names, size, title
from .pictures import family
from .speeds import Speed, speeds
from .typeset import Column, blocks

NONE = "--"  # in a cell where nothing was measured


@dataclass(frozen=True)
class Line:
    """One row of one comparison, with all that a column may show of it.

    Attributes:
        best: whether it has the first rank.
    """

    row: Row
    rank: str
    gain: Gain
    speed: Speed

    @property
    def best(self) -> bool:
        return self.rank in ("1", "1=")


@dataclass(frozen=True)
class Figure:
    """What a column shows.

    Attributes:
        heading: in few letters.
        meaning: in the caption.
    """

    heading: str
    meaning: str
    text: Callable[[Line], str]


def _accuracy(line: Line) -> str:
    mean, half = line.row.accuracy
    return f"{100 * mean:.1f}" + ("" if half is None else f"±{100 * half:.1f}")


def _kilobytes(count: int) -> str:
    return columns.figure(count / 1000)


def _over_hard(line: Line) -> str:
    known = line.gain.over_hard
    return NONE if known is None else f"{100 * known:+.1f}"


FIGURES = {
    "accuracy": Figure(
        "acc. (%)",
        "top-1 test accuracy in %, with half of the 95 % interval over repeats",
        _accuracy,
    ),
    "rank": Figure("rank", "rank, shared by what cannot be told apart", lambda line: line.rank),
    "n": Figure("n", "repeats n", lambda line: f"{line.row.n}"),
    "bytes": Figure(
        "labels (kB)",
        "kB (1,000 bytes) shipped beyond the images",
        lambda line: _kilobytes(line.row.storage["total"]),
    ),
    "ratio": Figure(
        "ratio",
        "bytes of all soft labels as fp16 over those shipped",
        lambda line: f"{line.row.storage['soft'] / line.row.storage['total']:.1f}x",
    ),
    "in-all": Figure(
        "in all (kB)",
        "kB of labels, images, prior and teacher",
        lambda line: _kilobytes(line.gain.in_all),
    ),
    "over-hard": Figure("over hard", "points above hard labels", _over_hard),
    "step": Figure(
        "step",
        "time of a training step over the bare step's",
        lambda line: f"{line.speed.ratio:.2f}",
    ),
    "labels-a-second": Figure(
        "labels/s", "labels a second", lambda line: f"{line.speed.labels:,.0f}"
    ),
    "fit": Figure("fit (s)", "seconds of the labels' fit", lambda line: f"{line.speed.fit:.1f}"),
}
DEFAULT = ("accuracy", "bytes")


@dataclass(frozen=True)
class Choice:
    """What a paper shows.

    Attributes:
        methods: as tables call them, `lpqld[budget=40x]`, or all of a family, `lpqld`, or on one
            image source, `rded/lpqld`; in the order of the rows. All if none.
        columns: of `FIGURES`.

    Raises:
        UserError: there is no such column.
    """

    methods: tuple[str, ...] = ()
    columns: tuple[str, ...] = DEFAULT

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in FIGURES:
                raise unknown("column of a paper's table", name, FIGURES)

    def place(self, row: Row) -> int | None:
        """Where a row stands; None if it is not chosen."""
        if not self.methods:
            return 0
        names = {row.method, family(row.method)}
        names |= {f"{row.images}/{name}" for name in names}
        return next((at for at, name in enumerate(self.methods) if name in names), None)

    def rows(self, comparison: Comparison) -> list[Row]:
        """Those of a comparison that are chosen and were measured, best first."""
        return [row for row in comparison.rows if row.n and self.place(row) is not None]


@dataclass(frozen=True)
class PaperTable:
    """One table in one form.

    Attributes:
        name: of its file.
        entries: what its caption cites.
    """

    name: str
    form: Form
    text: str
    entries: tuple[Entry, ...]


def paper_tables(found: Iterable[Comparison], choice: Choice) -> list[PaperTable]:
    """Each comparison for one column, each family of comparisons for both kinds of page.

    Raises:
        UserError: a method that is chosen has no row.
    """
    shown = _shown(found, choice)
    made = [_table([comparison], choice, COLUMN) for comparison in shown]
    for members in families(shown):
        made += [_table(members, choice, form) for form in FORMS if form is not COLUMN]
    return made


def families(found: Iterable[Comparison]) -> list[list[Comparison]]:
    """Comparisons that differ in nothing but IPC, by rising IPC."""
    groups: dict[str, list[Comparison]] = {}
    for comparison in found:
        groups.setdefault(comparison.setting.family, []).append(comparison)
    return [sorted(members, key=lambda c: c.setting.ipc) for _, members in sorted(groups.items())]


def _shown(found: Iterable[Comparison], choice: Choice) -> list[Comparison]:
    found = list(found)
    shown = [comparison for comparison in found if choice.rows(comparison)]
    rows = [row for comparison in found for row in comparison.rows if row.n]
    known = {name for row in rows for name in (row.method, family(row.method))}
    for name in choice.methods:
        if not any(Choice((name,)).place(row) == 0 for row in rows):
            raise unknown("method in these records", name, known)
    if not shown:
        raise UserError("These records have no row that a paper's table could show.")
    return shown


def _table(members: Sequence[Comparison], choice: Choice, form: Form) -> PaperTable:
    lines = [_lines(comparison, choice) for comparison in members]
    order = _order(lines, choice)
    called = short_names(row.method for row in order)
    sources = list(dict.fromkeys(row.images for row in order))
    names = [Column("method", [plain(one_line(called[row.method])) for row in order], left=True)]
    if len(sources) > 1:
        images = [plain(one_line(row.images)) for row in order]
        names.insert(0, Column("images", images, left=True))
    several = len(members) > 1
    body = [
        _column(name, order, of, f"IPC {comparison.setting.ipc}" if several else "")
        for comparison, of in zip(members, lines, strict=True)
        for name in choice.columns
    ]
    setting = members[0].setting
    heading = setting.family if several else setting.title
    words, entries = _caption(heading, lines, sources, choice)
    short = f"{setting.dataset} {setting.student} {setting.recipe}" if several else setting.short
    name = file_name(short, one_line(heading), form.name)
    made = blocks(names, body, form.width)
    return PaperTable(name, form, floats(made, form, words, f"tab:{name}"), entries)


def _lines(comparison: Comparison, choice: Choice) -> dict[tuple[str, str], Line]:
    """The chosen rows by their names, best first."""
    ranks = dict(zip((r.name for r in comparison.rows), rank_texts(comparison), strict=True))
    gained = {gain.row.name: gain for gain in gains(comparison)}
    rows = choice.rows(comparison)
    timed = {speed.row.name: speed for speed in speeds(rows)}
    return {r.name: Line(r, ranks[r.name], gained[r.name], timed[r.name]) for r in rows}


def _order(lines: Sequence[dict[tuple[str, str], Line]], choice: Choice) -> list[Row]:
    """As they are chosen, of one family from many bytes to few; all of them best first."""
    rows = {name: line.row for of in reversed(lines) for name, line in of.items()}
    made = list(rows.values())
    if choice.methods:
        made.sort(key=lambda row: (choice.place(row), row.images, -row.storage["total"]))
    return made


def _column(
    name: str, order: Sequence[Row], lines: dict[tuple[str, str], Line], group: str
) -> Column:
    figure = FIGURES[name]
    known = [lines.get(row.name) for row in order]
    texts = [NONE if line is None else plain(figure.text(line)) for line in known]
    bold = [at for at, line in enumerate(known) if line is not None and line.best]
    return Column(figure.heading, texts, bold=bold if name == "accuracy" else (), group=group)


def _caption(
    heading: str,
    lines: Sequence[dict[tuple[str, str], Line]],
    sources: Sequence[str],
    choice: Choice,
) -> tuple[str, tuple[Entry, ...]]:
    """What a reader has to know, in LaTeX, and what it cites."""
    every = [line for of in lines for line in of.values()]
    meanings = "; ".join(FIGURES[name].meaning for name in choice.columns)
    told = [f"{one_line(heading)}: {meanings}."]
    told += [f"Images: {one_line(sources[0])}."] if len(sources) == 1 else []
    counts = sorted({line.row.n for line in every})
    told.append(f"Repeats: {' to '.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))}.")
    if "in-all" in choice.columns:
        told.append(f"Images count as {form_of(line.row for line in every)}.")
    if "accuracy" in choice.columns and any(line.best for line in every):
        told.append("Bold: the first rank, whose methods cannot be told apart.")
    priors = {
        title(family(line.row.method)): size(line.row.storage["prior"])
        for line in every
        if line.row.prior
    }
    if priors:
        needs = ", ".join(f"{name} ({amount})" for name, amount in priors.items())
        told.append(f"Public models that must be there: {one_line(needs)}.")
    papers = {
        name: cited(plugins.METHODS, name)
        for name in dict.fromkeys(family(line.row.method) for line in every)
    }
    named = ", ".join(
        f"{prose(title(name))}~\\cite{{{','.join(entry.key for entry in found)}}}"
        for name, found in papers.items()
        if found
    )
    words = prose(" ".join(told)) + (f" Methods: {named}." if named else "")
    return words, tuple(entry for found in papers.values() for entry in found)
