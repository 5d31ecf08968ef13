"""What this machine has taken before: the times in records, and in the stages of a work folder."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from statistics import median
from typing import Any

from ..core.cache import KEY, MADE
from ..core.work import PRIOR
from ..records.record import CellNames
from .pace import Subject

Json = dict[str, Any]
SAME = ("dataset", "source", "ipc", "method", "student", "recipe", "teacher")
BACKWARD = 3  # a forward and a backward pass take about three forward passes


class History:
    """Records and stages that were made on hardware like this, with as many threads.

    Records are only counted on here, not shown: what cannot be read is passed over.

    Args:
        places: folders of records, and collections.
        stages: a work folder's.
        machine: device, hardware and threads, as a record's world and `made.json` have them.
    """

    def __init__(self, places: Iterable[Path], stages: Path, machine: Mapping[str, Any]) -> None:
        self.places, self.stages, self.machine = list(places), stages, dict(machine)
        self.of_views = cache(self._of_views)

    @cached_property
    def records(self) -> list[Json]:
        """Those of this machine."""
        return [record for record in self._read() if self._here(record.get("world"))]

    def _read(self) -> Iterator[Json]:
        told = json.dumps(self.machine["hardware"])
        for place in self.places:
            lines = place.suffix == ".jsonl"
            files = [place] if lines else sorted(place.glob("*.json*")) if place.is_dir() else []
            for file in files:
                try:
                    text = file.read_text(encoding="utf-8")
                except (OSError, UnicodeDecodeError):
                    continue
                for part in text.splitlines() if file.suffix == ".jsonl" else [text]:
                    record = _parsed(part) if told in part else None
                    if record is not None:
                        yield record

    def _here(self, world: Any) -> bool:
        return isinstance(world, dict) and all(
            world.get(name) == value for name, value in self.machine.items()
        )

    def student(self, names: CellNames) -> float | None:
        """Seconds of a student's training, its labels included, of the same cell but its seed."""
        found = [r for r in self.records if all(r["cell"][n] == names[n] for n in SAME)]
        return _median(record["result"]["seconds_train"] for record in found)

    def fit(self, names: CellNames, nearest: bool = False) -> float | None:
        """Seconds of a fit for like images.

        Args:
            nearest: take another IPC's where there is none of this one.
        """
        alike = ("dataset", "method", "teacher")
        found = [r for r in self.records if all(r["cell"][n] == names[n] for n in alike)]
        if not found:
            return None

        def far(record: Json) -> float:
            return abs(math.log(record["cell"]["ipc"] / names["ipc"]))

        closest = min(map(far, found))
        if closest and not nearest:
            return None
        return _median(r["result"]["seconds_fit"] for r in found if far(r) == closest)

    def made(self, kind: str) -> list[tuple[Json, float]]:
        """Keys of the stages of a kind that were made on this machine, and their seconds."""
        found = []
        for folder in self.stages.glob(f"{kind}-*"):
            try:
                key, made = (json.loads((folder / name).read_bytes()) for name in (KEY, MADE))
            except (OSError, ValueError):
                continue
            if self._here(made):
                found.append((key, float(made["seconds"])))
        return found

    def of_network(self, subject: Subject, resolution: int) -> float | None:
        """Seconds an image of a network's pass, by the steps that records timed."""
        name, seconds = subject.network, list[float]()
        passes = []
        for record in self.records:
            times, cell = record["throughput"], record["cell"]
            if record["inputs"].get("resolution") != resolution:
                continue
            if cell["student"] == name:
                seconds.append(median(times["seconds_bare_step"]) / times["batch"])
            floor = times.get("seconds_floor")
            if floor and name in (PRIOR + str(record.get("prior")), _online(record)):
                passes.append(median(floor) / times["batch"])
        if subject.trained:
            return _median(seconds) or _times(_median(passes), BACKWARD)
        return _median(passes) or _times(_median(seconds), 1 / BACKWARD)

    def _of_views(self, resolution: int) -> float | None:
        """Seconds a view, of drawing and rendering it."""
        found = []
        for record in self.records:
            times = record["throughput"]
            if record["inputs"].get("resolution") == resolution and "seconds_floor" not in times:
                parts = [median(times[f"seconds_{n}"]) for n in ("step", "bare_step", "targets")]
                found.append(max(0.0, parts[0] - parts[1] - parts[2]) / times["batch"])
        return _median(found)


def _online(record: Json) -> str:
    """The teacher's network, where it is what runs online."""
    teacher = record["cell"]["teacher"].partition(":")[0]
    return teacher if record["cell"]["method"].partition("[")[0] == "teacher" else ""


def _parsed(text: str) -> Json | None:
    """A record that has all that is counted on; None of anything else."""
    try:
        record = json.loads(text)
        cell, times, result = record["cell"], record["throughput"], record["result"]
        numbers = [result["seconds_train"], result["seconds_fit"], times["batch"], cell["ipc"]]
        for name in ("bare_step", "step", "targets"):
            numbers.append(median(times[f"seconds_{name}"]))
        if all(name in cell for name in SAME) and min(numbers) >= 0 and min(numbers[2:4]) > 0:
            record["inputs"].get("resolution")
            return record
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    return None


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
