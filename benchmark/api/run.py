"""`run`: measure a grid of cells, from Python."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from ..core import bounded
from ..core.arguments import typed
from ..core.command import options_of
from ..experiment.grid import Grid
from .measure import measured
from .results import Results
from .surroundings import DATA_ROOT, Surroundings

Several = str | Iterable[str] | None


@typed
def run(
    *,
    methods: Several = None,
    dataset: str | None = None,
    images: Several = None,
    ipc: int | str | Iterable[int] | None = None,
    students: Several = None,
    recipe: str | None = None,
    teacher: str | None = None,
    seeds: int | None = None,
    budget: int | str | Iterable[int | str] | None = None,
    controls: bool | None = None,
    accept: Several = None,
    set: Mapping[str, Any] | Iterable[str] | None = None,
    config: str | Path | None = None,
    plugin: str | Path | Iterable[str | Path] = (),
    data_root: str | Path | None = None,
    download: bool = False,
    work: str | Path = "runs",
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    shard: str | None = None,
    executor: Literal["local", "ray"] = "local",
    address: str | None = None,
    jobs: int | str = "auto",
    share_stream: Literal["auto", "off"] = "auto",
    batched: int = 1,
    force: bool = False,
    within: str | None = None,
    dry_run: bool = False,
) -> Results:
    """Train students on each method's labels, and give the records of what they reach.

    The words are those of `python -m benchmark run`, whose `--help` explains them, with the same
    defaults, keys and records. Where there are several values, a list or text with commas between;
    `set` takes {"teacher.epochs": 10} or ["teacher.epochs=10"]. Progress goes to standard error.
    Cells that fail are among the results, the others go on.

    Raises:
        UserError: a name, an option or a value is wrong; nothing was made yet.
        Interrupted: by Ctrl-C; what was finished is kept.
    """
    return measured(*_understood(locals()))


def _understood(words: Mapping[str, Any]) -> tuple[dict[str, Any], Surroundings]:
    """What is asked for and where it is measured, as the command line gives them."""
    asked = {}
    for field, option in options_of(Grid).items():
        given = words[option.name.replace("-", "_")]
        if given is not None:
            asked[field] = option.take(given)
    at = {field.name: words[field.name] for field in fields(Surroundings)}
    plugin, root = at["plugin"], at["data_root"] or os.environ.get(DATA_ROOT)
    at["plugin"] = [Path(p) for p in ([plugin] if isinstance(plugin, str | Path) else plugin)]
    at["data_root"] = Path(root) if root else None
    at["config"] = at["config"] and Path(at["config"])
    at["work"], at["jobs"] = str(at["work"]), str(at["jobs"])
    return asked, bounded.parse(TypeAdapter(Surroundings), at, "run")
