"""The site: which pages there are, and what each is made of."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple
from importlib.resources import files
from pathlib import Path
from types import CodeType
from typing import Any

from jinja2 import BytecodeCache, Environment, PackageLoader, StrictUndefined
from jinja2.bccache import Bucket

from ...core import plugins
from ...core.declared import Description
from ...records.comparison import Comparison, Setting
from ...records.measurements import Measurement
from ...records.replications import replications, shared_title
from .. import columns, names, raw, speed_tables
from ..citations import bibliography, cited
from ..columns import Raw
from ..in_all import FORMS, form_of
from ..leaderboard import NOTES
from ..reference import NOTES as REPRODUCED_NOTES
from ..reference import Line as Reproduced
from ..robustness import label_robust
from ..speeds import speeds
from . import record_data, text
from .answers import answers_data
from .boards import Board
from .curves_figure import curves
from .folder import SiteFolder
from .frontier_figure import Looks, frontier
from .lines import PARTS, Line, lines, matrix, timed
from .source import commit_url, file_url, source_url
from .speed_figure import speed

STATIC = ("site.css", "theme.js", "site.js", "tables.js", "answer.js", "record.js", "icon.svg")
ANSWERS = "answers.js"
ANSWERS_VARIABLE = "labelbenchAnswers"


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
        self.looks = Looks([board.comparison for board in boards])
        found = replications(board.comparison for board in boards)
        self.replications = {several.title: several for several in found}
        self.count = sum(len(b.comparison.records) for b in boards)
        entries = {name: cited(plugins.METHODS, name) for name in self.by_method}
        self.citations = {name: bibliography(found) for name, found in entries.items() if found}
        self.environment = _environment(self)

    @property
    def names(self) -> list[str]:
        """Of all files."""
        pages = ["index.html", "about.html", "contribute.html", "record.html", ANSWERS, *STATIC]
        pages += [f"comparison/{board.name}.html" for board in self.boards]
        pages += [f"records/{board.name}.js" for board in self.boards]
        pages += ["reference.html"] if self.reproduced else []
        pages += ["speed.html"] if self.timed else []
        return [*pages, *(f"method/{name}.html" for name in self.method_names.values())]

    def pages(self) -> Iterator[tuple[str, str | bytes]]:
        """The files' names and contents, one after the other."""
        for name in STATIC:
            yield name, (files("benchmark.report.site") / "static" / name).read_bytes()
        yield "index.html", self._index()
        data = answers_data([b.comparison for b in self.boards], _page_name)
        yield ANSWERS, f"window.{ANSWERS_VARIABLE}={text.data(data)};\n"
        yield "about.html", self._render("about.html", "", notes=NOTES)
        yield "contribute.html", self._render("contribute.html", "")
        yield "record.html", self._render("record.html", "", boards=[b.name for b in self.boards])
        if self.reproduced:
            yield "reference.html", self._reference()
        if self.timed:
            yield "speed.html", self._speed()
        for board in self.boards:
            yield f"comparison/{board.name}.html", self._comparison(board)
            yield f"records/{board.name}.js", record_data.script(board)
        for name in self.by_method:
            yield f"method/{self.method_names[name]}.html", self._method(name)

    def _index(self) -> str:
        on = [b for b in self.boards if b.setting.on_protocol and b.present]
        first = max(on, key=lambda b: (len(b.present), len(b.comparison.records)), default=None)
        return self._render(
            "index.html",
            "",
            on=on,
            off=[b for b in self.boards if not b.setting.on_protocol],
            datasets=len({b.setting.dataset for b in self.boards}),
            listed=[_listed(board) for board in on],
            first=first,
            chart=frontier(first.present, self.looks, f"comparison/{first.name}.html")
            if first
            else "",
            rates=first.rates if first else [],
            rate_names=names.short_names(r.method for r in first.rates) if first else {},
            raw_rates=raw.rate_lines(first.rates) if first else [],
            rate_columns=columns.RATES,
            verdicts=self._verdicts(),
            notes=NOTES,
            methods={
                name: (_described(name).summary, len({b.name for b, _ in found}))
                for name, found in self.by_method.items()
            },
        )

    def _verdicts(self) -> dict[str, int]:
        counts = Counter(line.verdict for line in self.reproduced)
        return {verdict: counts[verdict] for verdict in ("met", "differs", "owed")}

    def _comparison(self, board: Board) -> str:
        sources: dict[str, tuple[float | None, list[Any]]] = {}
        for line in board.present:
            for record in line.row.records:
                alike = record["inputs"].get("similarity")
                sizes = [record["storage"].get(name) for name in FORMS.values()]
                sources[record["cell"]["images"]] = alike, sizes
        line_of = {line.row.name: line for line in board.present}
        rows = [line.row for line in board.present]
        commits = {str(r["environment"]["commit"] or "unknown") for r in board.comparison.records}
        by_bytes = sorted(board.present, key=lambda x: (x.row.storage["total"], x.number))
        several = self.replications.get(shared_title(board.setting))
        return self._render(
            "comparison.html",
            "../",
            board=board,
            family=[b for b in self.boards if b.family == board.family],
            sources=dict(sorted(sources.items())),
            choices=sorted({line.row.images for line in board.lines}),
            commits=sorted(commits),
            chart=frontier(board.present, self.looks),
            whole=frontier(board.present, self.looks, "", form_of(rows)),
            curves=curves(board.present, self.looks),
            by_bytes=by_bytes,
            parts=[p for p in PARTS if any(x.row.storage[p] for x in board.present)],
            storage=columns.STORAGE,
            rates=board.rates,
            rate_names=names.short_names(rate.method for rate in board.rates),
            rate_columns=columns.RATES,
            gains=[(line_of[gain.row.name], gain) for gain in board.gains],
            gain_columns=columns.FRONTIER,
            forms=[*FORMS],
            form=form_of(rows),
            throughput=columns.THROUGHPUT,
            speeds=timed(board.present),
            several=several,
            several_names=names.short_names(row.method for row in several.rows) if several else {},
            notes=NOTES,
            matrix=matrix(board.comparison),
            record_lines=record_data.table_lines(board, self.looks.colours),
            sheets={
                "rates": raw.rate_lines(board.rates),
                "accuracy": raw.accuracy_lines(board.comparison.rows),
                "frontier": raw.gain_lines(board.gains),
                "storage": raw.storage_lines([line.row for line in by_bytes]),
                "images": raw.image_lines(rows, label_robust(board.comparison)),
                "throughput": raw.speed_lines(speeds(rows)),
                "replications": raw.replication_lines(several) if several else [],
                "records": record_data.raw(board),
            },
        )

    def _reference(self) -> str:
        return self._render(
            "reference.html",
            "",
            lines=self.reproduced,
            counts=self._verdicts(),
            notes=REPRODUCED_NOTES,
            sheets={
                kind: [
                    {"figure": line.name, **line.numbers, "verdict": line.verdict}
                    for line in self.reproduced
                    if line.kind == kind
                ]
                for kind in REPRODUCED_NOTES
            },
        )

    def _speed(self) -> str:
        groups = speed_tables.groups(self.timed)
        ratios = speed_tables.ratios(self.timed)
        return self._render(
            "speed.html",
            "",
            groups=groups,
            charts=[speed(group.profiles) for group in groups],
            columns=columns.PROFILE,
            ratios=ratios,
            ratio_columns=columns.RATIO,
            sides=speed_tables.sides,
            settings=speed_tables.settings,
            notes=speed_tables.NOTES,
            profile_sheets=[raw.profile_lines(group.profiles) for group in groups],
            ratio_sheet=raw.ratio_lines([each for each, _ in ratios]),
        )

    def _method(self, name: str) -> str:
        plugin = plugins.found(plugins.METHODS).get(name)
        place = plugin.where if plugin is not None and plugin.builtin else None
        return self._render(
            "method.html",
            "../",
            name=name,
            title=names.title(name),
            colour=self.looks.colours[name],
            method=_described(name),
            source=file_url(f"methods/{place.name}") if place is not None else "",
            found=self.by_method[name],
            sheet=[
                {"dataset": board.setting.dataset, "IPC": board.setting.ipc}
                | {"student": board.setting.student, "recipe": board.setting.recipe}
                | each
                for board, line in self.by_method[name]
                for each in raw.accuracy_lines([line.row])
            ],
        )

    def _render(self, template: str, up: str, **values: Any) -> str:
        return self.environment.get_template(template).render(up=up, **values)


def _listed(board: Board) -> Mapping[str, Raw]:
    """A comparison in a line, as numbers."""
    at, best, cheapest = board.setting, board.present[0].row, board.cheapest
    mean, half = best.accuracy
    return {
        "dataset": at.dataset,
        "IPC": at.ipc,
        "student": at.student,
        "recipe": at.recipe,
        "teacher": at.teacher,
        "teacher accuracy": at.teacher_accuracy,
        "world": at.place,
        "precision": at.precision,
        "best method": best.method,
        "best images": best.images,
        "best accuracy": mean,
        "best half interval": half,
        "best bytes": best.storage["total"],
        "fewest bytes at rank 1, method": cheapest and cheapest.row.method,
        "fewest bytes at rank 1": cheapest and cheapest.row.storage["total"],
        "rows": len(board.lines),
        "records": len(board.comparison.records),
    }


class _Compiled(BytecodeCache):
    """Templates as this process has compiled them: once for all sites that it writes."""

    def __init__(self) -> None:
        self.code: dict[tuple[str, str], CodeType | None] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        bucket.code = self.code.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.code[bucket.key, bucket.checksum] = bucket.code


COMPILED = _Compiled()


def _environment(site: _Site) -> Environment:
    """The templates, with what they all use."""
    made = Environment(
        loader=PackageLoader("benchmark.report.site"),
        bytecode_cache=COMPILED,
        autoescape=True,
        undefined=StrictUndefined,
        finalize=text.shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "PARTS": PARTS,
        "citations": site.citations,
        "commit_url": commit_url,
        "page_of": site.method_names.__getitem__,
        "colour_of": site.looks.colours.__getitem__,
        "record_name": text.record_name,
        "site_records": site.count,
        "reproduced": bool(site.reproduced),
        "source_url": source_url(),
        "timed": bool(site.timed),
    }
    made.filters |= {
        "brief": text.brief,
        "commas": "{:,}".format,
        "data": text.data,
        "family": lambda method: names.label(method).family,
        "inline": text.inline,
        "interval": lambda accuracy: text.interval(*accuracy),
        "method_title": names.title,
        "prose": text.prose,
        "ratio": text.ratio,
        "sheet": text.sheet,
        "short_name": names.short_name,
        "size": names.size,
    }
    return made


def _described(method: str) -> Description:
    """What a method's source says; nothing where it is not installed here."""
    plugin = plugins.found(plugins.METHODS).get(method)
    return plugin.description if plugin is not None else Description()
