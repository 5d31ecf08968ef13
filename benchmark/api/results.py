"""Results: records with what they show, for notebooks and scripts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.arguments import typed
from ..core.errors import UserError, unknown

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from ..experiment.plan import Planned
    from ..records.comparison import Comparison
    from ..records.record import Record
    from ..report.leaderboard import Table
    from ..report.pictures import Picture

PUBLISHED = Path("results")  # where records lie that nobody names
COUNTS = ("parameters", "blocks")  # of the ledger, no bytes
DOTS = 110  # an inch, of a picture in a notebook


@dataclass(frozen=True)
class FailedCell:
    """A cell that could not be measured.

    Attributes:
        cell: its method, images, IPC, student and seed, in a line.
        message: one sentence, with the method's own line where it raised.
    """

    cell: str
    message: str
    traceback: str = field(repr=False)


@dataclass(frozen=True)
class Results:
    """Records, and what they show; a notebook shows its accuracies.

    Attributes:
        records: one a cell, as their files hold them; see `benchmark.records.record.Record`.
        comparisons: of records that may stand side by side; what tables and pictures are made of.
        failures: cells of a run that were tried in vain.
        cells: of a run, in a line each.
        missing: those of them that have no record; of a dry run, those that would be measured.
        left_out: methods that cannot meet their byte budget, and why.
        unsaved: what could not be copied to the URL of the work folder, and how to go on.
        plan: of a dry run, the stages that are there and those that would be made, with bytes and
            seconds.
    """

    records: "list[Record]"
    comparisons: "list[Comparison]"
    failures: list[FailedCell] = field(default_factory=list)
    cells: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    unsaved: str = ""
    plan: "list[Planned]" = field(default_factory=list)

    def tables(self, kind: str = "") -> "list[Table]":
        """The leaderboards of all comparisons, as data frames with titles.

        Args:
            kind: accuracy, frontier, storage, images, throughput, rates or replications; all if
                empty.

        Raises:
            UserError: there are none of this kind.
        """
        from ..report.leaderboard import tables

        made = tables(self.comparisons)
        kinds = list(dict.fromkeys(table.kind for table in made))
        if kind and kind not in kinds and self.comparisons:
            raise unknown("kind of table of these records", kind, kinds)
        return [table for table in made if kind in ("", table.kind)]

    def table(self, kind: str = "accuracy") -> str:
        """The leaderboards of a kind as text, or all of them if `kind` is empty; then failures.

        Raises:
            UserError: there are none of this kind.
        """
        return "\n".join([*(table.text() for table in self.tables(kind)), *self._told()])

    def to_pandas(self) -> "pd.DataFrame":
        """One row a record.

        Columns: the cell's names; accuracy (0..1); bytes shipped beyond the images, and the ratio
        of the full fp16 labels' to them; the ledger, as `values_bytes` and so on; seconds;
        `step_ratio`, the whole step over the bare one; precision, hardware, and whether the recipe
        is unchanged; key and world.
        """
        import pandas as pd

        return pd.DataFrame([_flat(record) for record in self.records])

    def plot(self, title: str = "", in_all: bool = False) -> "Figure":
        """The frontier: accuracy over bytes, a panel for each IPC.

        Args:
            title: words of the picture's title, where there are several: one for each dataset,
                student, recipe, teacher and world.
            in_all: whether images, prior and teacher count too.

        Raises:
            UserError: there is nothing to draw, or more than one picture.
        """
        from ..report import frontier

        over = frontier.all_there if in_all else frontier.labels_alone
        made = [p for p in frontier.figures(self.comparisons, over) if title in p.title]
        if not made:
            of = f"; no title has {title!r} in it" if self.comparisons else ""
            raise UserError(f"There are no records to draw{of}.")
        if len(made) > 1:
            titles = "\n".join(picture.title for picture in made)
            raise UserError(f"There are {len(made)} pictures; name one by its title:\n{titles}")
        return _shown(made[0])

    def __repr__(self) -> str:
        return "\n".join([f"{self._counted()}; .table() shows them", *self._told()])

    def _repr_html_(self) -> str:
        """For notebooks: the accuracies, and what failed."""
        from html import escape

        parts = [f"<p>{escape(self._counted())}</p>"]
        for table in self.tables("accuracy"):
            shown = table.frame.to_html(index=False, border=0, justify="left")
            parts += [f"<p><b>{escape(table.title)}</b></p>", shown]
            parts += [f"<p>{escape(table.below)}</p>"] if table.below else []
        return "\n".join([*parts, *(f"<p>{escape(line)}</p>" for line in self._told())])

    def _counted(self) -> str:
        counts = [f"{len(self.records)} records", f"{len(self.comparisons)} comparisons"]
        counts += [f"{len(self.failures)} failed"] if self.failures else []
        return ", ".join(counts)

    def _told(self) -> Iterator[str]:
        """What there is beside records."""
        for failure in self.failures:
            yield f"FAILED {failure.cell}: {failure.message}"
        tried = {failure.cell for failure in self.failures}
        for cell in self.missing:
            if cell not in tried:
                yield f"missing {cell}"
        for method, why in self.left_out.items():
            yield f"left out {method}: {why}"
        if self.unsaved:
            yield self.unsaved


@typed
def results(*paths: str | Path | Sequence[str | Path]) -> Results:
    """Records of files, folders, URLs and `hf:OWNER/NAME`, of several machines too.

    Those of `results` if none is named.

    Raises:
        UserError: a path does not exist, or holds no records.
    """
    from ..records.comparison import comparisons
    from ..records.hub import on_this_machine

    places = [p for each in paths for p in ([each] if isinstance(each, str | Path) else each)]
    found = read([on_this_machine(str(place)) for place in places])
    return Results(found, comparisons(found))


def read(paths: Sequence[Path] | None, or_else: bool = False) -> "list[Record]":
    """The cells' records at these paths, or the published ones.

    Args:
        or_else: whether there is something else to show where there are none.

    Raises:
        UserError: a path does not exist, or holds no records.
    """
    from ..records import store

    named = places(paths)
    found = store.read(named)
    if not found and not or_else:
        raise UserError(f"There are no records in {', '.join(map(str, named))}.")
    return found


def places(paths: Sequence[Path] | None) -> Sequence[Path]:
    """Where records are read: at these paths, or where published ones lie.

    Raises:
        UserError: nobody names any, and none are published here.
    """
    if not paths and not PUBLISHED.exists():
        raise UserError(
            f"No records are named, and there is no folder '{PUBLISHED}' here to read published "
            "ones from: name files or folders of records, or a run's work folder."
        )
    return paths or [PUBLISHED]


def _flat(record: "Record") -> dict[str, Any]:
    """A record's figures, by the names of columns."""
    from statistics import median  # takes its time to import

    from ..records.ledger import times_smaller
    from ..records.record import world_digest

    result, stored, times = record["result"], record["storage"], record["throughput"]
    steps = zip(times["seconds_step"], times["seconds_bare_step"], strict=True)
    return {
        **record["cell"],
        "accuracy": result["accuracy"],
        "bytes": stored["total"],
        "ratio": times_smaller(stored["soft"], stored["total"]),
        **{f"{n}_bytes": v for n, v in stored.items() if n not in (*COUNTS, "total")},
        **{name: stored[name] for name in COUNTS},
        "prior_name": record["prior"],
        "teacher_accuracy": record["inputs"]["teacher_accuracy"],
        "seconds_fit": result["seconds_fit"],
        "seconds_train": result["seconds_train"],
        "step_ratio": median(step / bare for step, bare in steps),
        "on_protocol": record["on_protocol"],
        "precision": record["precision"],
        "hardware": record["world"]["hardware"],
        "key": record["key"],
        "world": world_digest(record["world"]),
    }


def _shown(picture: "Picture") -> "Figure":
    """A figure that notebooks show though pyplot, which would tell them how, is not imported."""
    figure: Any = picture.figure
    figure._repr_png_ = lambda: picture.saved("png", DOTS)
    return figure
