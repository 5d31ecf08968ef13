"""The site: which pages there are, and what each is made of."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from ...core import plugins
from ...core.declared import Description
from ...records.comparison import Comparison, Setting
from ...records.measurements import Measurement
from ...records.record import Record
from ...records.replications import replications, shared_title
from .. import columns, names, speed_tables
from ..gains import gains
from ..in_all import FORMS, form_of
from ..leaderboard import NOTES
from ..rates import rates
from ..reference import NOTES as REPRODUCED_NOTES
from ..reference import Line as Reproduced
from . import charts, text
from .folder import SiteFolder
from .lines import PARTS, Line, lines, matrix, timed
from .reproduce import reproduce_command

STATIC = ("site.css", "theme.js", "site.js", "charts.js", "icon.svg")
PLOTLY = "plotly.min.js"
SHOWN = 8  # lines of the index's table


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


def write_site(
    comparisons: Sequence[Comparison],
    folder: Path,
    reproduced: Sequence[Reproduced] = (),
    timed: Sequence[Measurement] = (),
) -> Path:
    """Write the site of these comparisons into `folder`, in place of an older one.

    Files that are not of a site stay as they are.

    Args:
        reproduced: the ledger of published figures, for a page of its own.
        timed: measurements, of which profiles and ratios are shown on another.

    Returns:
        Its first page.

    Raises:
        UserError: a file that is not of a site has the name of one of its pages.
    """
    boards = sorted(
        (Board(c, _page_name(c.setting), lines(c)) for c in comparisons),
        key=lambda b: (b.setting.family, b.setting.ipc, b.name),
    )
    site = _Site(boards, reproduced, timed)
    output = SiteFolder(folder, site.names)
    for name, content in site.pages():
        output.write(name, content)
    output.finish()
    return folder / "index.html"


def _page_name(setting: Setting) -> str:
    return text.file_name(setting.short, list(astuple(setting)))


class _Site:
    """All pages of some comparisons."""

    def __init__(
        self,
        boards: list[Board],
        reproduced: Sequence[Reproduced],
        timed: Sequence[Measurement],
    ) -> None:
        self.boards, self.reproduced = boards, reproduced
        self.timed = [record for record in timed if record["kind"] != "distortion"]
        by_method: dict[str, list[tuple[Board, Line]]] = {}
        for board in boards:
            for line in board.lines:
                by_method.setdefault(line.label.family, []).append((board, line))
        self.by_method = dict(sorted(by_method.items()))
        self.method_names = {
            name: name if name in plugins.found(plugins.METHODS) else text.file_name(name, name)
            for name in self.by_method
        }
        self.looks = charts.Looks([board.comparison for board in boards])
        found = replications(board.comparison for board in boards)
        self.replications = {several.title: several for several in found}
        self.count = sum(len(b.comparison.records) for b in boards)
        self.environment = _environment(self)

    @property
    def names(self) -> list[str]:
        """Of all files."""
        pages = ["index.html", "about.html", *(f"comparison/{b.name}.html" for b in self.boards)]
        pages += ["reference.html"] if self.reproduced else []
        pages += ["speed.html"] if self.timed else []
        pages += [f"method/{name}.html" for name in self.method_names.values()]
        for record, _, _ in self._records():
            name = text.record_name(record)
            pages += [f"record/{name}.html", f"record/{name}.json"]
        return [*pages, *STATIC, PLOTLY]

    def pages(self) -> Iterator[tuple[str, str | bytes]]:
        """The files' names and contents, one after the other."""
        yield PLOTLY, get_plotlyjs()
        for name in STATIC:
            yield name, (files("benchmark.report.site") / "static" / name).read_bytes()
        yield "index.html", self._index()
        yield "about.html", self._render("about.html", "", charted=False, notes=NOTES)
        if self.reproduced:
            yield "reference.html", self._reference()
        if self.timed:
            yield "speed.html", self._speed()
        for board in self.boards:
            yield f"comparison/{board.name}.html", self._comparison(board)
        for name in self.by_method:
            yield f"method/{self.method_names[name]}.html", self._method(name)
        for record, board, line in self._records():
            name = text.record_name(record)
            yield f"record/{name}.html", self._record(record, board, line)
            yield f"record/{name}.json", json.dumps(record, sort_keys=True) + "\n"

    def _records(self) -> Iterator[tuple[Record, Board, Line | None]]:
        """Each record with its comparison, and with its line where it counts."""
        for board in self.boards:
            for line in board.lines:
                for record in line.row.records:
                    yield record, board, line
            for record in board.comparison.left_out:
                yield record, board, None

    def _index(self) -> str:
        on = [b for b in self.boards if b.setting.on_protocol and b.present]
        first = max(on, key=lambda b: (len(b.present), len(b.comparison.records)), default=None)
        return self._render(
            "index.html",
            "",
            charted=first is not None,
            on=on,
            off=[b for b in self.boards if not b.setting.on_protocol],
            choices={
                "dataset": sorted({b.setting.dataset for b in self.boards}),
                "IPC": sorted({b.setting.ipc for b in self.boards}),
                "student": sorted({b.setting.student for b in self.boards}),
                "images": sorted({x.row.images for b in self.boards for x in b.lines}),
            },
            candidates={b.name: self._candidates(b) for b in on},
            first=first,
            chart=charts.frontier(first.present, self.looks, "") if first else None,
            shown=SHOWN,
            methods={
                name: (_described(name).summary, len({b.name for b, _ in found}))
                for name, found in self.by_method.items()
            },
        )

    def _candidates(self, board: Board) -> list[dict[str, Any]]:
        """What a byte budget may choose from, whatever images are asked for, with priors or not."""
        kept = charts.choices(board.present)
        return [
            {
                "family": text.brief(text.clean(line.label.family), 60),
                "options": text.brief(text.clean(", ".join(line.label.options))),
                "source": text.brief(text.clean(line.row.images), 60),
                "colour": self.looks.colours[line.label.family],
                "accuracy": text.interval(*line.row.accuracy),
                "mean": line.row.accuracy[0],
                "bytes": line.row.storage["total"],
                "size": names.size(line.row.storage["total"]),
                "full": line.soft,
                "prior": bool(line.row.prior),
                "line": line.number,
            }
            for line in board.present
            if line.number in kept
        ]

    def _comparison(self, board: Board) -> str:
        sources: dict[str, tuple[float | None, list[Any]]] = {}
        for line in board.present:
            for record in line.row.records:
                alike = record["inputs"].get("similarity")
                sizes = [record["storage"].get(name) for name in FORMS.values()]
                sources[record["cell"]["images"]] = alike, sizes
        line_of = {line.row.name: line for line in board.present}
        commits = Counter(
            str(r["environment"]["commit"] or "unknown") for r in board.comparison.records
        )
        return self._render(
            "comparison.html",
            "../",
            charted=bool(board.present),
            board=board,
            family=[b for b in self.boards if b.family == board.family],
            sources=dict(sorted(sources.items())),
            choices=sorted({line.row.images for line in board.lines}),
            commits=sorted(commits),
            chart=charts.frontier(board.present, self.looks, "../"),
            whole=charts.frontier(
                board.present, self.looks, "../", form_of(x.row for x in board.present)
            ),
            curves=charts.curves(board.present, self.looks),
            by_bytes=sorted(board.present, key=lambda x: (x.row.storage["total"], x.number)),
            parts=[p for p in PARTS if any(x.row.storage[p] for x in board.present)],
            storage=columns.STORAGE,
            rates=rates(board.comparison),
            rate_columns=columns.RATES,
            gains=[(line_of[gain.row.name], gain) for gain in gains(board.comparison)],
            gain_columns=columns.FRONTIER,
            forms=[*FORMS],
            form=form_of(line.row for line in board.present),
            throughput=columns.THROUGHPUT,
            speeds=timed(board.present),
            several=self.replications.get(shared_title(board.setting)),
            notes=NOTES,
            matrix=matrix(board.comparison),
        )

    def _reference(self) -> str:
        verdicts = Counter(line.verdict for line in self.reproduced)
        return self._render(
            "reference.html",
            "",
            charted=False,
            lines=self.reproduced,
            counts={verdict: verdicts[verdict] for verdict in ("met", "differs", "owed")},
            notes=REPRODUCED_NOTES,
        )

    def _speed(self) -> str:
        groups = speed_tables.groups(self.timed)
        return self._render(
            "speed.html",
            "",
            charted=bool(groups),
            groups=groups,
            charts=[charts.speed(group.profiles) for group in groups],
            columns=columns.PROFILE,
            ratios=speed_tables.ratios(self.timed),
            ratio_columns=columns.RATIO,
            sides=speed_tables.sides,
            settings=speed_tables.settings,
            notes=speed_tables.NOTES,
        )

    def _method(self, name: str) -> str:
        return self._render(
            "method.html",
            "../",
            charted=False,
            name=name,
            colour=self.looks.colours[name],
            method=_described(name),
            found=self.by_method[name],
        )

    def _record(self, record: Record, board: Board, line: Line | None) -> str:
        return self._render(
            "record.html",
            "../",
            charted=True,
            record=record,
            board=board,
            line=line,
            label=names.label(record["cell"]["method"]),
            again=reproduce_command(record),
            curve=charts.one_curve(record["result"]["train_loss"]),
        )

    def _render(self, template: str, up: str, **values: Any) -> str:
        return self.environment.get_template(template).render(up=up, **values)


def _environment(site: _Site) -> Environment:
    """The templates, with what they all use."""
    made = Environment(
        loader=PackageLoader("benchmark.report.site"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=text.shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "PARTS": PARTS,
        "page_of": site.method_names.__getitem__,
        "colour_of": site.looks.colours.__getitem__,
        "record_name": text.record_name,
        "site_records": site.count,
        "reproduced": bool(site.reproduced),
        "timed": bool(site.timed),
    }
    made.filters |= {
        "brief": text.brief,
        "commas": "{:,}".format,
        "data": text.data,
        "facts": text.facts,
        "family": lambda method: names.label(method).family,
        "inline": text.inline,
        "interval": lambda accuracy: text.interval(*accuracy),
        "prose": text.prose,
        "ratio": text.ratio,
        "size": names.size,
    }
    return made


def _described(method: str) -> Description:
    """What a method's source says; nothing where it is not installed here."""
    plugin = plugins.found(plugins.METHODS).get(method)
    return plugin.description if plugin is not None else Description()
