"""Tables of speed records: where a step's time goes, by setting, and named ratios."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from ..records.measurements import Measurement
from ..records.record import world_digest
from ..records.speed import ProfileRecord, RatioRecord
from ..records.worlds import places
from . import columns
from .leaderboard import Table, one_line
from .setting_title import setting_title
from .speeds import Profile, Ratio, profile, ratio

NOTES = {
    "profile": (
        "Milliseconds, medians over repeats that take turns in one run. Bare step: forward, "
        "backward and optimiser on resident random pixels. Labels: their views, sampled or read, "
        "and the targets. Loss: what the source's loss takes beyond the bare step's. The whole "
        "step holds all of these; its ratio to the bare step is the median of paired repeats. "
        "Labels and bytes a second: targets alone, the bytes as stored, and as targets of fp32, "
        "beside plain copies of memory on the same machine."
    ),
    "ratios": (
        "The first side's seconds over the second's, taken in turns: the median of paired "
        "repeats, and the lowest and the highest of them; the medians of each side beside."
    ),
}
COPIES = {
    "host": "within the host",
    "device": "within the device",
    "host to device": "from pinned memory to the device",
}
PEAKS = {
    "process": "the resident set of the whole process",
    "device": "what was allocated on the device",
}


@dataclass(frozen=True)
class ProfileGroup:
    """Profiles of one setting, in one world, of one commit.

    Attributes:
        title: in full.
        short: in few words, for file names.
        about: its copies of memory, and what its peak memory is of.
    """

    title: str
    short: str
    profiles: list[Profile]
    about: str


def groups(records: Iterable[Measurement]) -> list[ProfileGroup]:
    """The profiles among the records; methods by the ratio of their steps, students by name."""
    records = list(records)
    where = _places(records)
    found: dict[str, list[ProfileRecord]] = {}
    for record in records:
        if record["kind"] == "profile":
            found.setdefault(_setting(record, where), []).append(record)
    return [_group(title, found[title]) for title in sorted(found)]


def ratios(records: Iterable[Measurement]) -> list[tuple[Ratio, str]]:
    """The named ratios among the records, by name, each with its world in few words."""
    records = list(records)
    where = _places(records)
    found = [record for record in records if record["kind"] == "ratio"]
    made = [(ratio(record), where[world_digest(record["world"])]) for record in found]
    return sorted(made, key=lambda each: (each[0].record["name"], each[1], each[0].commits))


def tables(records: Iterable[Measurement]) -> list[Table]:
    """For the terminal: one of each group of profiles, and one of all ratios."""
    records = list(records)
    made = [
        Table("profile", group.title, group.short, _profiles(group.profiles), group.about)
        for group in groups(records)
    ]
    if named := ratios(records):
        made.append(Table("ratios", "first side over second", "ratios", _ratios(named)))
    return made


def sides(found: Ratio) -> str:
    """What was divided by what."""
    return f"{found.record['first']['what']} / {found.record['second']['what']}"


def settings(record: RatioRecord) -> str:
    """How it was measured, in one line."""
    return ", ".join(f"{name} {value}" for name, value in sorted(record["settings"].items()))


def _places(records: Iterable[Measurement]) -> dict[str, str]:
    return places({world_digest(record["world"]): record["world"] for record in records})


def _setting(record: ProfileRecord, where: dict[str, str]) -> str:
    """What the profiles of one table share."""
    compiled = ["compiled"] if record["compiled"] else []
    batch, world = [f"batch {record['batch']}"], [record["precision"], *compiled]
    return setting_title(record, where, of_teacher=batch, of_world=world)


def _group(title: str, records: Sequence[ProfileRecord]) -> ProfileGroup:
    profiles = [profile(record) for record in records]
    profiles.sort(key=lambda p: (p.record["cell"]["student"], p.ratio, p.record["cell"]["method"]))
    cell = records[0]["cell"]
    about = []
    for name, words in COPIES.items():
        speeds = [p.copies[name] for p in profiles if name in p.copies]
        if speeds:
            span = dict.fromkeys(
                columns.figure(speed / 1e9) for speed in (min(speeds), max(speeds))
            )
            about.append(f"{words} {' to '.join(span)} GB/s")
    peaks = dict.fromkeys(PEAKS[record["memory"]["of"]] for record in records)
    said = f"Plain copies: {', '.join(about)}. Peak memory: {' or '.join(peaks)}."
    return ProfileGroup(title, f"{cell['dataset']} ipc{cell['ipc']} speed", profiles, said)


def _profiles(found: Iterable[Profile]) -> pd.DataFrame:
    rows = []
    for each in found:
        cell = each.record["cell"]
        named = {"method": one_line(cell["method"]), "student": one_line(cell["student"])}
        rows.append(named | {column.name: column.text(each) for column in columns.PROFILE})
    return pd.DataFrame(rows)


def _ratios(found: Iterable[tuple[Ratio, str]]) -> pd.DataFrame:
    rows = []
    for each, place in found:
        named = {"name": one_line(each.record["name"]), "of": one_line(sides(each))}
        figures = {column.name: column.text(each) for column in columns.RATIO}
        world = {"commit": one_line(each.commits), "world": one_line(place)}
        rows.append({**named, **figures, **world, "settings": one_line(settings(each.record))})
    return pd.DataFrame(rows)
