"""What several artefacts of a method share, such as a fitted network: made once, its time kept."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.cache import Cache
from ..core.files import digest, read_json, write_json
from .task import LabelTask

SECONDS = "seconds.json"


class Shared:
    """Cache for one artefact's fit that other artefacts may have made already.

    Args:
        common: what every key holds, beside what the method says itself.

    Attributes:
        spared: seconds that stages took which were there already; a fit's cost counts them.
    """

    def __init__(self, cache: Cache, common: Mapping[str, Any]) -> None:
        self._cache, self._common = cache, common
        self.spared = 0.0

    def __call__(self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
        """The folder of this `key`, filled by `build` if no artefact before needed it."""

        def timed(folder: Path) -> None:
            started, spared = time.perf_counter(), self.spared
            (folder / SECONDS).unlink(missing_ok=True)
            build(folder)
            seconds = time.perf_counter() - started + self.spared - spared
            if not (folder / SECONDS).exists():  # as there is if several were built at once
                write_json(folder / SECONDS, seconds)

        whole = {**self._common, "own": key}
        there = self._cache.done(kind, whole)
        folder = self._cache.make(kind, whole, timed)
        if there:
            self.spared += read_json(folder / SECONDS, float)
        return folder


def shared_cache_for_all(
    tasks: Sequence[LabelTask],
    kind: str,
    keys: Sequence[Mapping[str, Any]],
    build: Callable[[dict[int, Path]], None],
) -> None:
    """`task.shared_cache` of several tasks, each with its key, whose time they share evenly.

    Args:
        build: fills the folders of those that are not there yet, by the tasks' places; after a
            kill it is given the same folders again.
    """
    # All wait in one order, so that no two runs wait for each other.
    order = [i for _, i in sorted({digest(key): i for i, key in enumerate(keys)}.items())]
    missing: dict[int, Path] = {}

    def enter(left: list[int]) -> None:
        if left:

            def held(folder: Path) -> None:
                missing[left[0]] = folder
                enter(left[1:])

            tasks[left[0]].shared_cache(kind, keys[left[0]], held)
            if left[0] not in missing:
                enter(left[1:])
        elif missing:
            started = time.perf_counter()
            build(missing)
            share = (time.perf_counter() - started) / len(missing)
            for folder in missing.values():
                write_json(folder / SECONDS, share)

    enter(order)
