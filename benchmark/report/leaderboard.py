"""Leaderboards: tables, pure functions of comparisons; for the terminal and as Markdown."""

import html
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

from ..core.files import digest
from ..records.comparison import Comparison, Row
from ..records.record import Record, Storage
from ..records.replications import Replications, replications
from . import columns
from .gains import Gain, gains
from .in_all import FORMS, form_of
from .rates import Rate, rates
from .robustness import label_robust
from .speeds import Speed, speeds

if TYPE_CHECKING:
    import pandas as pd

NOTES = {
    "accuracy": (
        "Top-1 test accuracy in % after the last epoch: mean over n repeats, with half of the "
        "95 % t interval. Repeats are seeds of the student, and draws of the images where an image "
        "source has several (`draw`); of three draws or more each counts once, by its seeds' mean. "
        "`2/3` means that one of three is missing. Rank: methods are compared in pairs, over the "
        "repeats that both have. Two differ if a paired t test over "
        "repeats and one over test images both find it at 5 %, after the correction for all pairs "
        "of the table by Benjamini and Hochberg. Methods that cannot be told apart from the best "
        "of a rank share it (`1=`), and the next rank counts them all. Fewer than 3 pairs of "
        "repeats are too few to tell (`n too small`), and nothing off protocol is ranked (`-`)."
    ),
    "storage": (
        "Bytes to be shipped beyond the images, measured on disk, split by purpose; `ratio` is "
        "the full fp16 labels' bytes over the total; below 1 the method ships more than all labels "
        "would take, and saves nothing. Not shipped and not in the total: prior "
        "and teacher that must be present, and the images. `in all` counts them too, by what the "
        "images are shipped as: raw (pixels and labels, uncompressed, as `images (B)`), PNG, or "
        "JPEG of quality 95, each image a file of its own, by Pillow; students were trained on the "
        "pixels, so what JPEG loses is not in their accuracies. `-`: the record is older than "
        "these counts. As papers count: "
        "`logits` (values and indices only), `parameters` (numbers, not bytes), `blocks` (4-KiB "
        "blocks)."
    ),
    "frontier": (
        "Top-1 test accuracy over the bytes shipped beyond the images, a panel for each IPC, "
        "with 95 % t intervals over repeats. The line is the Pareto frontier of an image "
        "source's methods: the best mean at no more bytes, random real images apart. Right of "
        "the dotted line a method ships more than all soft labels as fp16. The lines above the "
        "legend are Bjøntegaard's deltas, see Rates. In the table: `in all`, bytes of labels, "
        "images, prior and teacher; frontier, over which of the two counts no method on the same "
        "images is better at no more bytes; over hard, points above hard labels, over the repeats "
        "that both have; points a kB, these for 1,000 bytes of labels. Training: seconds of a "
        "student's steps, labels included, in the world of the title alone: the median ratio "
        "(and the lowest and highest) to the bare step, times the bare step's median over all "
        "rows, times the steps, so it holds for one student trained alone; neither fitting nor "
        "loading labels nor testing counts. "
        "Points a second: over hard, for one of these. Small sizes and short trainings win such "
        "quotients easily: read them at like accuracy."
    ),
    "rates": (
        "Methods measured at several byte budgets, as curves of accuracy over bytes; of a curve "
        "those settings count that are better than all smaller ones. Bytes against lpqld: "
        "Bjøntegaard's delta, the mean change of bytes at equal accuracy, over the accuracies that "
        "both curves have (-50 % takes half as many); points against lpqld: of accuracy at equal "
        "bytes, likewise. Bytes in all count images, prior and teacher too. In brackets "
        "95 % intervals of a bootstrap over the repeats that both have, three at least. Where "
        "curves do not meet, the ranges that each covers, this one's first. Bytes against soft: "
        "all soft labels are one point, so it is the change of bytes where the curve first reaches "
        "95 % of what they bring over hard ones, which may be at its fewest bytes measured; "
        "`never` where so many resamples do not reach it."
    ),
    "frontier-in-all": (
        "As above, over the bytes of all that must be there: labels, images, prior and teacher. "
        "Images count as PNG files where all records of a picture tell their bytes, else as raw "
        "pixels; the axis says which. A prior and a teacher are counted whole, though others may "
        "have them already."
    ),
    "curves": (
        "Mean training loss of each epoch, on a log scale: the mean over repeats, and a band from "
        "the lowest to the highest. Methods have targets and losses of their own, so a lower curve "
        "is no better labels."
    ),
    "images": (
        "What the labels are for, the mean over draws. Similarity: mean cosine between the "
        "teacher's features of two images of a class, over all pairs and classes; LPLD holds that "
        "lower, so more diverse, images need fewer labels. LRS: DD-Ranking's label-robust score "
        "(arXiv 2505.13300), from 0 to 1: with HLR, what hard labels on these images lack of the "
        "same network taught by all real images (the teacher), and IOR, what the best labels gain "
        "over the best on random real images, a = (IOR - HLR) / 2 and LRS = (e^a - e^-1) / "
        "(e - e^-1). Where hard labels, random images or a teacher of the student's kind are "
        "missing, there is none."
    ),
    "throughput": (
        "Medians over all repeats of the timings. Labels a second: targets alone. Images a second: "
        "the whole step. Ratio: whole step over bare step (forward, backward, optimiser on "
        "resident data), timed in turns in one run; 1 would be free labels. Share of step: the "
        "targets' seconds over the whole step's. Over floor, for online methods: the targets' "
        "seconds over those of one bare pass of the method's own network on the same resident "
        "pixels; 1.00x would be a network and nothing else. Both are medians of paired repeats."
    ),
    "replications": (
        "The same cells measured in several worlds (hardware, threads, versions), teachers, images "
        "and labels made anew in each. Mean accuracies in %, over the n repeats that more than one "
        "world has; the largest difference between two worlds, in points, on the repeats that both "
        "have. `yes`: it is shown that worlds differ by more than repeats do, by the paired tests "
        "of the accuracy tables, corrected for all pairs of worlds here; `n too small`: fewer than "
        "3 repeats. Comparisons hold the world fixed."
    ),
}

# Columns that stand to the left, as their cells are words.
WORDS = ("rank", "advice", "images", "method", "take", "student", "recipe", "name")
WORDS += ("stage", "of", "commit", "world", "settings", "A", "B", "better")


@dataclass(frozen=True)
class Table:
    """One leaderboard of one comparison.

    Attributes:
        kind: rates, accuracy, frontier, storage, images, throughput or replications; profile or
            ratios; advice.
        title: one line, as are all texts of the frame.
        short: the comparison in few words, for file names.
        below: what to know of this table alone; often nothing.
    """

    kind: str
    title: str
    short: str
    frame: "pd.DataFrame"
    below: str = ""

    @property
    def name(self) -> str:
        """Of its files."""
        return file_name(self.short, self.title, self.kind)

    def text(self) -> str:
        """For the terminal."""
        lines = [f"{self.kind.upper()} | {self.title}", _drawn(self.frame, "simple"), self.below]
        return "\n".join(filter(None, lines)) + "\n"

    def markdown(self) -> str:
        """For documents."""
        body = _drawn(self.frame.map(_in_markdown), "pipe")
        parts = [f"### {self.kind.capitalize()}: {_in_markdown(self.title)}", body]
        return "\n\n".join([*parts, *filter(None, [_in_markdown(self.below)])]) + "\n"


def tables(found: Iterable[Comparison]) -> list[Table]:
    """The leaderboards of comparisons, and last what several worlds measured."""
    made = []
    found = list(found)
    for comparison in found:
        title, short = one_line(comparison.setting.title), comparison.setting.short
        # What the whole comparison comes to stands first.
        if found_rates := rates(comparison):
            made.append(Table("rates", title, short, _rates(found_rates)))
        present = [row for row in comparison.rows if row.n]
        below = " ".join(filter(None, [_detectable(comparison), _left_out(comparison.left_out)]))
        made.append(Table("accuracy", title, short, _accuracy(comparison), below))
        if present:
            frame, counted = _frontier(gains(comparison)), _counted(present)
            made.append(Table("frontier", title, short, frame, counted))
        made.append(Table("storage", title, short, _storage(present)))
        made.append(Table("images", title, short, _images(present, label_robust(comparison))))
        made.append(Table("throughput", title, short, _throughput(speeds(present))))
    for several in replications(found):
        frame, below = _replications(several)
        made.append(Table("replications", one_line(several.title), several.short, frame, below))
    return made


def rank_texts(comparison: Comparison) -> list[str]:
    """Each row's rank as tables show it: `1`, `2=` if shared, `n too small`, `-`, or empty."""
    shared = Counter(row.rank for row in comparison.rows)
    texts = []
    for row in comparison.rows:
        if row.rank is not None:
            texts.append(f"{row.rank}{'=' if shared[row.rank] > 1 else ''}")
        elif not row.n:
            texts.append("")
        else:
            texts.append("n too small" if comparison.setting.on_protocol else "-")
    return texts


def file_name(short: str, title: str, kind: str) -> str:
    """Safe on any disk; holds a digest, since comparisons may be alike in few words."""
    words = "".join(c if c.isascii() and c.isalnum() else "-" for c in short.lower())[:80]
    return "-".join([*filter(None, words.split("-")), digest(title)[:6], kind])


def one_line(text: str) -> str:
    """Text without line breaks or anything else that does not print."""
    return "".join(c if c.isprintable() else " " for c in text)


def _in_markdown(text: str) -> str:
    """Text that opens no cell, no code and no HTML."""
    return html.escape(text, quote=False).replace("|", "&#124;").replace("`", "&#96;")


def framed(lines: "Sequence[Mapping[str, Any]]") -> "pd.DataFrame":
    """Lines of a table as a frame; here, since a dry run need not wait for pandas."""
    import pandas as pd

    return pd.DataFrame(lines)


def _drawn(frame: "pd.DataFrame", style: str) -> str:
    aligned = ["left" if name in WORDS else "right" for name in frame.columns]
    return frame.to_markdown(index=False, tablefmt=style, colalign=aligned, disable_numparse=True)


def _detectable(comparison: Comparison) -> str:
    """What difference the repeats could have shown, for the median pair."""
    found = [p.detectable for p in comparison.pairs.values() if p.detectable is not None]
    if not found:
        return ""
    return (
        f"Between two rows, {100 * median(found):.1f} points are shown four times out of five "
        "(the median pair, before the correction for many)."
    )


def _counted(rows: Sequence[Row]) -> str:
    """What images count as in all, where it is not PNG."""
    if form_of(rows) == "PNG":
        return ""
    return "In all: images as raw pixels, since some records are older than the count of PNG files."


def _left_out(records: Sequence[Record]) -> str:
    if not records:
        return ""
    keys = sorted(r["key"] for r in records)
    shown = ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
    return one_line(
        f"Left out, as another version measured the same repeats: {shown} ({len(keys)})."
    )


def _name(row: Row) -> dict[str, Any]:
    return {"images": one_line(row.images), "method": one_line(row.method)}


def _prior(row: Row) -> str:
    """Which public model must be there, and its bytes."""
    return f"{one_line(row.prior)} ({row.storage['prior']:,} B)" if row.prior else "-"


def _accuracy(comparison: Comparison) -> "pd.DataFrame":
    rows = []
    for row, rank in zip(comparison.rows, rank_texts(comparison), strict=True):
        made = {"rank": rank, **_name(row)}
        n = f"{row.n}/{row.asked}" if row.asked > row.n else f"{row.n}"
        if not row.n:
            state = "failed" if row.failed else "missing"
            rows.append({**made, "accuracy %": state, "±": "", "n": n, "bytes": "", "prior": ""})
            continue
        if row.failed:
            n += f", {row.failed} failed"
        mean, half = row.accuracy
        made["accuracy %"] = f"{100 * mean:.2f}"
        made["±"] = "n too small" if half is None else f"{100 * half:.2f}"
        made["n"] = n
        made["bytes"] = f"{row.storage['total']:,}"
        made["prior"] = _prior(row)
        rows.append(made)
    return framed(rows)


def _storage(rows: Sequence[Row]) -> "pd.DataFrame":
    made = []
    for row in sorted(rows, key=lambda row: (row.storage["total"], row.name)):
        line = _name(row) | {column.name: column.text(row) for column in columns.STORAGE}
        line["prior"] = _prior(row)  # by its name
        made.append(line)
    return framed(made)


def _images(rows: Sequence[Row], robust: Mapping[str, float]) -> "pd.DataFrame":
    # Of each draw of a source, by what images are shipped as.
    sizes: dict[str, dict[str, Storage]] = {}
    alike: dict[str, dict[str, float]] = {}
    for row in rows:
        for record in row.records:
            draw = record["cell"]["images"]
            sizes.setdefault(row.images, {})[draw] = record["storage"]
            similarity = record["inputs"].get("similarity")
            if similarity is not None:
                alike.setdefault(row.images, {})[draw] = similarity
    made = []
    for source, of_draws in sorted(sizes.items()):
        known = alike.get(source, {}).values()
        similarity = f"{fmean(known):.3f}" if known else "-"
        line = {"images": one_line(source), "similarity": similarity}
        for form, name in FORMS.items():
            told = [stored.get(name) for stored in of_draws.values()]
            counts = [count for count in told if isinstance(count, int)]
            mean = fmean(counts) if len(counts) == len(told) else None
            heading = "images (B)" if form == "raw" else f"as {form} (B)"
            line[heading] = columns.bytes_or_none(mean)
        if robust:
            line["LRS"] = f"{robust[source]:.3f}" if source in robust else "-"
        made.append(line)
    return framed(made)


def _rates(found: Sequence[Rate]) -> "pd.DataFrame":
    return framed(
        [
            {"images": one_line(rate.images), "method": one_line(rate.method)}
            | {column.name: column.text(rate) for column in columns.RATES}
            for rate in found
        ]
    )


def _frontier(found: Sequence[Gain]) -> "pd.DataFrame":
    return framed(
        [
            _name(gain.row)
            | {column.name: column.text(gain) for column in columns.FRONTIER}
            | {"prior": _prior(gain.row)}
            for gain in found
        ]
    )


def _throughput(found: Sequence[Speed]) -> "pd.DataFrame":
    return framed(
        [
            _name(speed.row)
            | {column.name: column.text(speed) for column in columns.THROUGHPUT}
            | {"prior": _prior(speed.row)}
            for speed in found
        ]
    )


def _replications(several: Replications) -> "tuple[pd.DataFrame, str]":
    """The table, and which world each of its columns is."""
    columns = {place: f"world {number}" for number, place in enumerate(several.places, 1)}
    lines = []
    for row in several.rows:
        line = {"images": one_line(row.images), "method": one_line(row.method), "n": str(row.n)}
        for place, column in columns.items():
            known = place in row.accuracy
            line[f"{column} %"] = f"{100 * row.accuracy[place]:.2f}" if known else "-"
        line["largest difference"] = f"{100 * row.difference:.2f}"
        line["shown"] = {True: "yes", False: "no", None: "n too small"}[row.differ]
        lines.append(line)
    legend = "; ".join(f"{column}: {one_line(place)}" for place, column in columns.items())
    return framed(lines), f"{legend[0].upper()}{legend[1:]}."
