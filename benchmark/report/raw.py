"""Tables as numbers, for programs: no thousands' commas, no signs, nothing where nothing is known.

Bytes, seconds, and shares of one. Lines stand in the order of the tables that readers see.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..records.comparison import Comparison, Row
from ..records.replications import Replications, replications
from . import columns
from .columns import Raw
from .gains import Gain, gains
from .in_all import FORMS
from .leaderboard import one_line
from .names import short_names
from .rates import Rate, rates
from .robustness import label_robust
from .speeds import Profile, Ratio, Speed, speeds

Lines = list[dict[str, Raw]]


def raw_tables(found: Iterable[Comparison]) -> dict[tuple[str, str], Lines]:
    """The lines of all leaderboards, by a table's kind and title."""
    made: dict[tuple[str, str], Lines] = {}
    found = list(found)
    for comparison in found:
        present = [row for row in comparison.rows if row.n]
        by_bytes = sorted(present, key=lambda row: (row.storage["total"], row.name))
        of_kind = {
            "rates": rate_lines(rates(comparison)),
            "accuracy": accuracy_lines(comparison.rows),
            "frontier": gain_lines(gains(comparison)),
            "storage": storage_lines(by_bytes),
            "images": image_lines(present, label_robust(comparison)),
            "throughput": speed_lines(speeds(present)),
        }
        title = one_line(comparison.setting.title)
        made |= {(kind, title): lines for kind, lines in of_kind.items()}
    for several in replications(found):
        made["replications", one_line(several.title)] = replication_lines(several)
    return made


def as_csv(lines: Sequence[Mapping[str, Raw]]) -> str:
    """A sheet: empty where nothing is known."""
    names = dict.fromkeys(name for line in lines for name in line)
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue()


def accuracy_lines(rows: Sequence[Row]) -> Lines:
    """All rows of a comparison, missing ones too."""
    named = _named(rows)
    made = []
    for row in rows:
        mean, half = row.accuracy if row.n else (None, None)
        made.append(
            named(row)
            | {"rank": row.rank, "accuracy": mean, "half interval": half}
            | {"n": row.n, "asked": row.asked, "failed": row.failed}
            | {"bytes": row.storage["total"] if row.n else None}
            | {"prior": row.prior and one_line(row.prior)}
            | {"prior bytes": row.storage["prior"] if row.prior else 0}
        )
    return made


def rate_lines(found: Sequence[Rate]) -> Lines:
    """Curves with their deltas."""
    short = short_names(rate.method for rate in found)
    return [
        {"images": one_line(rate.images), "method": one_line(rate.method)}
        | {"name": one_line(short[rate.method])}
        | {k: v for column in columns.RATES for k, v in column.numbers(rate).items()}
        for rate in found
    ]


def gain_lines(found: Sequence[Gain]) -> Lines:
    """Accuracy beside bytes and time."""
    named = _named([gain.row for gain in found])
    return [
        named(gain.row)
        | {k: v for column in columns.FRONTIER for k, v in column.numbers(gain).items()}
        for gain in found
    ]


def storage_lines(rows: Sequence[Row]) -> Lines:
    """The ledgers of rows that have records."""
    named = _named(rows)
    return [
        named(row) | {k: v for column in columns.STORAGE for k, v in column.numbers(row).items()}
        for row in rows
    ]


def speed_lines(found: Sequence[Speed]) -> Lines:
    """What labels cost in time."""
    named = _named([speed.row for speed in found])
    return [
        named(speed.row)
        | {k: v for column in columns.THROUGHPUT for k, v in column.numbers(speed).items()}
        for speed in found
    ]


def image_lines(rows: Sequence[Row], robust: Mapping[str, float]) -> Lines:
    """Every draw of the image sources, with the score of its source."""
    draws: dict[str, dict[str, Raw]] = {}
    for row in rows:
        for record in row.records:
            stored = record["storage"]
            sizes = {f"bytes as {form}": stored.get(name) for form, name in FORMS.items()}
            draws[record["cell"]["images"]] = {
                "images": one_line(record["cell"]["images"]),
                "similarity": record["inputs"].get("similarity"),
                **{name: size if isinstance(size, int) else None for name, size in sizes.items()},
                "LRS": robust.get(row.images),
            }
    return [draws[name] for name in sorted(draws)]


def replication_lines(several: Replications) -> Lines:
    """Means of one row in several worlds."""
    return [
        {
            "images": one_line(row.images),
            "method": one_line(row.method),
            "n": row.n,
            **{one_line(place): row.accuracy.get(place) for place in several.places},
            "largest difference": row.difference,
            "shown": row.differ,
        }
        for row in several.rows
    ]


def profile_lines(found: Sequence[Profile]) -> Lines:
    """Where the time of steps goes."""
    return [
        {
            "method": one_line(profile.record["cell"]["method"]),
            "student": one_line(profile.record["cell"]["student"]),
        }
        | {k: v for column in columns.PROFILE for k, v in column.numbers(profile).items()}
        for profile in found
    ]


def ratio_lines(found: Sequence[Ratio]) -> Lines:
    """Named ratios of times."""
    return [
        {"name": one_line(ratio.record["name"])}
        | {k: v for column in columns.RATIO for k, v in column.numbers(ratio).items()}
        | {"commit": one_line(ratio.commits)}
        for ratio in found
    ]


def _named(rows: Iterable[Row]) -> Callable[[Row], dict[str, Raw]]:
    """What makes the columns that say which row a line is of."""
    short = short_names(row.method for row in rows)

    def named(row: Row) -> dict[str, Raw]:
        name = one_line(short[row.method])
        return {"images": one_line(row.images), "method": one_line(row.method), "name": name}

    return named
