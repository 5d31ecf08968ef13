"""What several artefacts of a method share, such as a fitted network: made once, its time kept."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .stages import Stages

SECONDS = "seconds.json"


class Shared:
    """Stages for one artefact's fit that other artefacts may have made already.

    Args:
        common: what every key holds, beside what the method says itself.

    Attributes:
        spared: seconds that stages took which were there already; a fit's cost counts them.
    """

    def __init__(self, stages: Stages, common: Mapping[str, Any]) -> None:
        self._stages, self._common = stages, common
        self.spared = 0.0

    def __call__(self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None]) -> Path:
        """The folder of this `key`, filled by `build` if no artefact before needed it."""

        def timed(folder: Path) -> None:
            started, spared = time.perf_counter(), self.spared
            build(folder)
            seconds = time.perf_counter() - started + self.spared - spared
            (folder / SECONDS).write_text(json.dumps(seconds))

        whole = {**self._common, "own": key}
        there = self._stages.done(kind, whole)
        folder = self._stages.make(kind, whole, timed)
        if there:
            self.spared += json.loads((folder / SECONDS).read_text())
        return folder
