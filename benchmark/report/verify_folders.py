"""Every byte of work folders and shipped folders, here or behind URLs, hashed again.

A stage is held to its seal, a shipped folder to its manifest and to each other, and a record to the
stages that it was measured with. What comes from a URL is looked at a stage at a time.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tabulate import tabulate

from ..core import remote
from ..core.cache import KEY, SEAL, damage
from ..core.errors import UserError
from ..core.progress import track
from ..core.remote_work import STAGES
from ..records import store
from ..records.hub import on_this_machine
from ..records.record import Record
from .verify import Report, verify_records

State = Literal["missing", "changed", "orphaned"]
STATES: tuple[State, ...] = ("missing", "changed", "orphaned")
# Named here since those who only check records need not wait for torch.
RECORDS = "records"  # of a work folder; see `experiment.run_cell`
MANIFESTS = ("labels/labels.packed", "labels/labels.json")  # of a shipped folder; see `artefact`


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was left.

    Attributes:
        kind: `stage` or `shipped folder`.
        state: `missing`, where something refers to it; `changed`, where its bytes are not those of
            its seal; `orphaned`, where nothing refers to it, which harms nobody.
        why: in a few words.
    """

    kind: str
    place: str
    state: State
    why: str

    def __str__(self) -> str:
        return f"{self.place}: {self.state}: {self.why}"


@dataclass
class Hashed:
    """How many folders of each kind were hashed again, and what was found."""

    counts: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, more: "Hashed") -> None:
        """Take in what else was hashed."""
        self.counts = dict(Counter(self.counts) + Counter(more.counts))
        self.findings += more.findings

    def table(self) -> str:
        """What was hashed again, and what was found, by kind."""
        states = Counter((finding.kind, finding.state) for finding in self.findings)
        rows = [[k, n, *(states[k, state] for state in STATES)] for k, n in self.counts.items()]
        return tabulate(rows, ["hashed", "number", *STATES])


@dataclass(frozen=True)
class _Stage:
    """What a whole stage's files tell: its key, and the bytes of its artefact, if it has one."""

    key: Any
    artefact: int | None


def verify_places(places: Iterable[str]) -> tuple[Report, Hashed]:
    """Check records, and hash whatever else there is: stages of work folders, shipped folders.

    Args:
        places: paths, URLs and `hf:OWNER/NAME`, as the user gives them.

    Returns:
        The report on the records, with what was found of folders in its problems (missing or
        changed) and warnings (orphaned); and what was hashed.

    Raises:
        UserError: there is nothing at a place, or nothing to check.
    """
    hashed, paths = Hashed(), list[Path]()
    for place in places:
        if is_shipped(place):
            hashed.add(_verify_shipped(place))
            continue
        work = is_work(place)
        if not work or _has_records(place):
            paths.append(on_this_machine(place))
        if work:
            there = store.entries(paths[-1:]) if _has_records(place) else ()
            hashed.add(_verify_work(place, [e.record for e in there if e.record is not None]))
    report = verify_records(paths) if paths else Report(0, [], [])
    for finding in hashed.findings:
        harmless = finding.state == "orphaned"
        (report.warnings if harmless else report.problems).append(str(finding))
    return report, hashed


def _has_records(place: str) -> bool:
    """Whether a work folder holds records of cells."""
    if remote.is_url(place):
        return bool(remote.sizes(f"{place.rstrip('/')}/{RECORDS}"))
    return any((Path(place) / RECORDS).glob("*.json"))


def is_work(place: str) -> bool:
    """Whether a path or URL is of a work folder that holds stages."""
    if remote.is_url(place):
        return not _is_web(place) and remote.exists(f"{place.rstrip('/')}/{STAGES}")
    return (Path(place) / STAGES).is_dir()


def is_shipped(place: str) -> bool:
    """Whether a path or URL is of a folder that was given away."""
    if not remote.is_url(place):
        return any((Path(place) / name).is_file() for name in MANIFESTS)
    at = place.rstrip("/")
    return not at.endswith(".jsonl") and any(remote.exists(f"{at}/{name}") for name in MANIFESTS)


def _verify_shipped(place: str) -> Hashed:
    """Hash the labels and images of a folder that was given away."""
    from ..exchange.hub import verify as check_shipped

    found = Hashed({"shipped folder": 1})
    with _here(place) as folder:
        try:
            check_shipped(folder)
        except UserError as error:
            found.findings.append(Finding("shipped folder", _shown(place), "changed", str(error)))
    return found


def _verify_work(place: str, records: Iterable[Record]) -> Hashed:
    """Hash all stages of a work folder, and hold its records to them.

    Args:
        records: those that the folder holds.
    """
    names, stages = _names(place), dict[Path, _Stage]()
    found = Hashed({"stage": len(names)} if names else {})
    for name in track(names, "stages"):
        with _here(f"{place.rstrip('/')}/{STAGES}/{name}") as folder:
            wrong = damage(folder)
            if wrong is None:
                stages[Path(name)] = _told(folder)
            else:
                state: State = "changed" if (folder / SEAL).is_file() else "orphaned"
                wrong = wrong if state == "changed" else "it has no seal: it was never finished"
                found.findings.append(Finding("stage", f"{_shown(place)}/{name}", state, wrong))
    found.findings += _of_records(place, names, stages, [*records])
    return found


def _of_records(
    place: str, names: list[str], stages: dict[Path, _Stage], records: list[Record]
) -> Iterator[Finding]:
    """Stages that records want and that are not there, or are of other labels; and the rest."""
    told = set[str]()
    for record in records:
        inputs = record["inputs"]
        for name in (inputs["labels"], inputs.get("images_stage", "")):
            if name and name not in names and name not in told:
                told.add(name)
                why = f"record {record['key']} was measured with it"
                yield Finding("stage", f"{_shown(place)}/{name}", "missing", why)
        stage = stages.get(Path(inputs["labels"]))
        total = record["storage"]["total"]
        if stage and stage.artefact not in (None, total):
            why = f"it has {stage.artefact:,} bytes; record {record['key']} says {total:,}"
            yield Finding("stage", f"{_shown(place)}/{inputs['labels']}", "changed", why)
    from ..experiment import clean

    keys = {folder: stage.key for folder, stage in stages.items()}
    for folder in sorted(keys.keys() - clean.kept(keys, records)):
        yield Finding("stage", f"{_shown(place)}/{folder}", "orphaned", "no record refers to it")


def _names(place: str) -> list[str]:
    """The stages of a work folder, those that are being made left out."""
    if remote.is_url(place):
        there = remote.sizes(f"{place.rstrip('/')}/{STAGES}")
        names = {name.partition("/")[0] for name in there if "/" in name}
    else:
        names = {path.name for path in (Path(place) / STAGES).glob("*-*") if path.is_dir()}
    return sorted(name for name in names if "-" in name and not Path(name).suffix)


def _told(folder: Path) -> _Stage:
    from ..labels import artefact

    shipped = folder / "artefact"
    size = None
    if artefact.present(shipped):
        size = sum(file.stat().st_size for file in shipped.iterdir())
    return _Stage(json.loads((folder / KEY).read_bytes()), size)


@contextmanager
def _here(place: str) -> Iterator[Path]:
    """A folder on this machine; a copy for a while of one behind a URL."""
    if not remote.is_url(place):
        yield Path(place)
        return
    copy = remote.scratch()
    try:
        remote.fetch(place, copy, folder=True)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _shown(place: str) -> str:
    return remote.shown(place).rstrip("/")


def _is_web(place: str) -> bool:
    return place.partition("://")[0].lower() in remote.READ_ONLY
