"""Leaderboards: tables, pure functions of records; terminal, Markdown and CSV."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from .records import CellNames, Record, Throughput
from .stages import digest, write_atomic
from .statistics import mean_interval

NOTES = {
    "accuracy": (
        "Top-1 test accuracy in % after the last epoch, with half of the 95 % t interval over "
        "n student seeds (images and artefact are made once). Sorted by mean; nearby rows may "
        "not differ."
    ),
    "storage": (
        "Bytes to be shipped beyond the images, measured on disk, split by purpose; `ratio` is "
        "the full fp16 labels' bytes over the total; below 1 the method ships more than all labels "
        "would take, and saves nothing. Not shipped and not in the total: prior "
        "and teacher that must be present, and the images. As papers count: `logits` (values "
        "and indices only), `parameters` (numbers, not bytes), `blocks` (4-KiB blocks)."
    ),
    "frontier": (
        "Top-1 test accuracy over the bytes shipped beyond the images, a panel for each IPC, "
        "with 95 % t intervals over student seeds. The line is the Pareto frontier of an image "
        "source's methods: the best mean at no more bytes, random real images apart. Right of "
        "the dotted line a method ships more than all soft labels as fp16."
    ),
    "images": (
        "What the labels are for. Similarity: mean cosine between the teacher's features of two "
        "images of a class, over all pairs and classes; LPLD holds that lower, so more diverse, "
        "images need fewer labels."
    ),
    "throughput": (
        "Medians over all repeats and seeds. Labels a second: targets alone. Images a second: "
        "the whole step. Ratio: whole step over bare step (forward, backward, optimiser on "
        "resident data), timed in turns in one run; 1 would be free labels. Share of step: the "
        "targets' seconds over the whole step's. Over floor, for online methods: the targets' "
        "seconds over those of one bare pass of the method's own network on the same resident "
        "pixels; 1.00x would be a network and nothing else. Both are medians of paired repeats."
    ),
}


@dataclass(frozen=True)
class Table:
    """One leaderboard of one comparison.

    Attributes:
        kind: accuracy, storage, images or throughput.
        short: the comparison in few words, for file names.
    """

    kind: str
    title: str
    short: str
    frame: pd.DataFrame

    @property
    def name(self) -> str:
        """Of its files."""
        return file_name(self.short, self.title, self.kind)

    def text(self) -> str:
        """For the terminal."""
        return f"{self.kind.upper()} | {self.title}\n{self._body('simple')}\n"

    def markdown(self) -> str:
        """For documents."""
        return f"### {self.kind.capitalize()}: {self.title}\n\n{self._body('pipe')}\n"

    def _body(self, style: str) -> str:
        names = ("images", "method")
        aligned = ["left" if name in names else "right" for name in self.frame.columns]
        return self.frame.to_markdown(
            index=False, tablefmt=style, colalign=aligned, disable_numparse=True
        )


def tables(records: Iterable[Record], missing: Sequence[CellNames] = ()) -> list[Table]:
    """The leaderboards of all comparisons among `records`.

    Records are compared only if dataset, IPC, student, teacher and recipe are the same;
    throughput also only on the same hardware.

    Args:
        missing: cells that were asked for and have no record; they show as missing.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(title(record), []).append(record)
    made = []
    for name, members in sorted(groups.items()):
        cell = members[0]["cell"]
        short = f"{cell['dataset']} ipc{cell['ipc']} {cell['student']} {cell['recipe']}"
        absent = [c for c in missing if _same_comparison(c, cell)]
        made.append(Table("accuracy", name, short, _accuracy(members, absent)))
        made.append(Table("storage", name, short, _storage(members)))
        made.append(Table("images", name, short, _images(members)))
        by_hardware: dict[str, list[Record]] = {}
        for record in members:
            timing = record["throughput"]
            cpu = f"{record['environment']['cpu']}, " if "CPU" in timing["hardware"] else ""
            by_hardware.setdefault(f"{cpu}{timing['hardware']}, {timing['precision']}", []).append(
                record
            )
        for hardware, timed in sorted(by_hardware.items()):
            made.append(Table("throughput", f"{name}, on {hardware}", short, _throughput(timed)))
    return made


def publish(made: Sequence[Table], folder: Path, pictures: Iterable[Path] = ()) -> list[Path]:
    """Write `leaderboards.md`, and one CSV a table, into `folder`.

    Args:
        pictures: of the same records, in the same folder; shown above the tables.
    """
    sections = []
    shown = "\n\n".join(f"![{path.stem}]({path.name})" for path in pictures)
    if shown:
        sections.append(f"### Accuracy over bytes\n\n{shown}\n\n{NOTES['frontier']}\n")
    for table in made:
        sections.append(f"{table.markdown()}\n{NOTES[table.kind]}\n")
    text = "# Leaderboards\n\nMade by `python -m benchmark leaderboard` from records.\n\n"
    paths = [folder / "leaderboards.md"]
    write_atomic(paths[0], (text + "\n".join(sections)).encode())
    for table in made:
        paths.append(folder / f"{table.name}.csv")
        write_atomic(paths[-1], table.frame.to_csv(index=False).encode())
    return paths


def title(record: Record, ipc: bool = True) -> str:
    """The comparison that a record belongs to; without `ipc`, those of all IPCs."""
    cell = record["cell"]
    parts = [
        cell["dataset"],
        *([f"IPC {cell['ipc']}"] if ipc else []),
        cell["student"],
        f"recipe {cell['recipe']}",
        f"teacher {cell['teacher']} ({record['inputs']['teacher_accuracy']:.2%})",
    ]
    if not record["on_protocol"]:
        parts.append(f"OFF-PROTOCOL {digest(record['recipe'])[:6]}")
    return ", ".join(parts)


def file_name(short: str, title: str, kind: str) -> str:
    """Safe on any disk; holds a digest, since comparisons may be alike in few words."""
    words = "".join(c if c.isalnum() else "-" for c in short.lower()).split("-")
    return "-".join([*filter(None, words), digest(title)[:6], kind])


def _same_comparison(cell: CellNames, other: CellNames) -> bool:
    shared = ("dataset", "ipc", "student", "recipe", "teacher")
    return all(cell[name] == other[name] for name in shared)


def by_method(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """The records of each image source and method, whatever the seed."""
    made: dict[tuple[str, str], list[Record]] = {}
    for record in sorted(records, key=lambda r: json.dumps(r["cell"], sort_keys=True)):
        made.setdefault((record["cell"]["images"], record["cell"]["method"]), []).append(record)
    return made


def _prior(record: Record) -> str:
    """Which public model must be there, and its bytes."""
    name = record["prior"]
    return f"{name} ({record['storage']['prior']:,} B)" if name else "-"


def _accuracy(records: Sequence[Record], missing: Sequence[CellNames]) -> pd.DataFrame:
    rows = []
    for (images, method), members in by_method(records).items():
        mean, half = mean_interval([r["result"]["accuracy"] for r in members])
        rows.append(
            {
                "images": images,
                "method": method,
                "accuracy %": f"{100 * mean:.2f}",
                "±": "n too small" if half is None else f"{100 * half:.2f}",
                "n": str(len(members)),
                "bytes": f"{members[0]['storage']['total']:,}",
                "prior": _prior(members[0]),
                "order": -mean,
            }
        )
    for cell in missing:
        row = next(
            (r for r in rows if (r["images"], r["method"]) == (cell["images"], cell["method"])),
            None,
        )
        if row is None:
            blank = {"accuracy %": "missing", "±": "", "bytes": "", "prior": "", "order": 1.0}
            row = {"images": cell["images"], "method": cell["method"], "n": "0", **blank}
            rows.append(row)
        asked = int(row["n"].split("/")[-1]) if "/" in row["n"] else int(row["n"])
        row["n"] = f"{row['n'].split('/')[0]}/{asked + 1}"
    frame = pd.DataFrame(rows).sort_values(["order", "images", "method"], kind="stable")
    return frame.drop(columns="order")


def _ratio(soft: int, total: int) -> str:
    """How much smaller than all labels; a method that is larger says so."""
    ratio = f"{soft / total:.1f}x"
    larger = total > soft and ratio != "1.0x"  # all labels themselves come in a container
    return f"{ratio} (more than all labels)" if larger else ratio


def _storage(records: Sequence[Record]) -> pd.DataFrame:
    rows = []
    for (images, method), members in by_method(records).items():
        stored = members[0]["storage"]
        row: dict[str, Any] = {"images": images, "method": method}
        for name in ("values", "indices", "views", "weights", "container", "total"):
            row[name] = f"{stored[name]:,}"
        row["ratio"] = _ratio(stored["soft"], stored["total"])
        row["prior"] = _prior(members[0])
        row["teacher"] = f"{stored['teacher']:,}"
        row["images (B)"] = f"{stored['images']:,}"
        row["logits"] = f"{stored['values'] + stored['indices']:,}"
        row["parameters"] = f"{stored['parameters']:,}"
        row["blocks"] = f"{stored['blocks']:,}"
        rows.append({**row, "order": stored["total"]})
    return pd.DataFrame(rows).sort_values("order", kind="stable").drop(columns="order")


def _images(records: Sequence[Record]) -> pd.DataFrame:
    rows = {}
    for record in records:
        alike = record["inputs"].get("similarity")
        rows[record["cell"]["images"]] = {
            "similarity": "-" if alike is None else f"{alike:.3f}",
            "images (B)": f"{record['storage']['images']:,}",
        }
    return pd.DataFrame([{"images": name, **row} for name, row in sorted(rows.items())])


def _throughput(records: Sequence[Record]) -> pd.DataFrame:
    rows = []
    for (images, method), members in by_method(records).items():
        timings = [r["throughput"] for r in members]
        batch = timings[0]["batch"]
        step = median(s for t in timings for s in t["seconds_step"])
        labels = median(s for t in timings for s in t["seconds_targets"])
        ratios = _paired(timings, "seconds_step", "seconds_bare_step")
        shares = _paired(timings, "seconds_targets", "seconds_step")
        floors = _paired(timings, "seconds_targets", "seconds_floor")
        rows.append(
            {
                "images": images,
                "method": method,
                "labels/s": f"{batch / labels:,.0f}",
                "images/s": f"{batch / step:,.0f}",
                "ratio to bare step": f"{median(ratios):.2f}",
                "lowest..highest": f"{min(ratios):.2f}..{max(ratios):.2f}",
                "share of step": f"{median(shares):.1%}",
                "over floor": f"{median(floors):.2f}x" if floors else "-",
                "repeats": str(len(ratios)),
                "fit (s)": f"{members[0]['result']['seconds_fit']:.1f}",
                "prior": _prior(members[0]),
                "order": median(ratios),
            }
        )
    return pd.DataFrame(rows).sort_values("order", kind="stable").drop(columns="order")


def _paired(timings: Iterable[Throughput], over: str, under: str) -> list[float]:
    """Ratios of each repeat's two times; none of a record that lacks one of them."""
    return [
        a / b
        for timing in timings
        if under in timing
        for a, b in zip(timing[over], timing[under], strict=True)
    ]
