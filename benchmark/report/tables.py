"""Publishing: comparisons as files, for readers, for spreadsheets, for papers, for programs."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.files import write_atomic
from ..records.comparison import Comparison, Row, Setting
from ..records.replications import replications
from ..records.store import TABLES
from .latex import latex
from .leaderboard import NOTES, tables
from .raw import as_csv, raw_tables

SCHEMA = 2  # of the JSON
MADE = "Made by `python -m benchmark leaderboard` from records.\n"


def write_tables(
    found: Sequence[Comparison], folder: Path, pictures: Iterable[Path] = ()
) -> list[Path]:
    """Write `leaderboards.md`, `leaderboards.json`, and a CSV and a TeX file for each table.

    Args:
        pictures: PNGs of the same comparisons, in the same folder; `pictures.md` shows them.
    """
    made = tables(found)
    sections = [f"{table.markdown()}\n{NOTES[table.kind]}\n" for table in made]
    files = {
        "leaderboards.md": "\n".join([f"# Leaderboards\n\n{MADE}", *sections]),
        TABLES: json.dumps(as_json(found), indent=1, sort_keys=True) + "\n",
    }
    if shown := _pictures(list(pictures)):
        files["pictures.md"] = "\n".join([f"# Pictures\n\n{MADE}", *shown])
    raw = raw_tables(found)
    for table in made:
        files[f"{table.name}.csv"] = as_csv(raw[table.kind, table.title])
        files[f"{table.name}.tex"] = latex(table)
    for name, content in files.items():
        write_atomic(folder / name, content.encode())
    return [folder / name for name in files]


def _pictures(paths: Sequence[Path]) -> list[str]:
    """What shows them, with what to know of each kind."""
    sections = []
    for kind, heading in (
        ("frontier", "Accuracy over bytes"),
        ("frontier-in-all", "Accuracy over all bytes that must be there"),
        ("curves", "Training curves"),
    ):
        shown = [path for path in paths if path.stem.endswith(f"-{kind}")]
        if shown:
            links = "\n\n".join(f"![{path.stem}]({path.name})" for path in shown)
            sections.append(f"### {heading}\n\n{links}\n\n{NOTES[kind]}\n")
    return sections


def as_json(found: Iterable[Comparison]) -> dict[str, Any]:
    """All comparisons as JSON values, numbers as they are.

    A pair names its two rows by their places; its p is corrected for all pairs of its comparison.
    """
    found = list(found)
    return {
        "schema": SCHEMA,
        "comparisons": [_comparison(c) for c in found],
        "replications": [asdict(several) for several in replications(found)],
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    pairs = comparison.pairs.items()
    return {
        "setting": setting_values(comparison.setting),
        "rows": [row_values(row) for row in comparison.rows],
        "pairs": [{"first": i, "second": j, **asdict(pair)} for (i, j), pair in pairs],
        "left_out": sorted(record["key"] for record in comparison.left_out),
    }


def setting_values(setting: Setting) -> dict[str, Any]:
    """What the rows of a comparison share, as JSON values."""
    return {**asdict(setting), "title": setting.title, "on_protocol": setting.on_protocol}


def row_values(row: Row) -> dict[str, Any]:
    """A row as JSON values."""
    mean, half = row.accuracy if row.n else (None, None)
    return {
        "images": row.images,
        "method": row.method,
        "rank": row.rank,
        "n": row.n,
        "asked": row.asked,
        "failed": row.failed,
        "accuracy": mean,
        "half": half,
        "storage": row.storage if row.n else None,
        "prior": row.prior,
        "records": [record["key"] for record in row.records],
    }
