"""`--together N`: labels of several base sets at once, before their cells are measured."""

from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

from . import registry
from .contract import LabelSource
from .errors import UserError
from .grid import Cell
from .pipeline import Pipeline
from .progress import say
from .stages import digest

Failures = list[tuple[Cell, UserError]]


def prepare(pipeline: Pipeline, cells: list[Cell]) -> Failures:
    """Let methods `prepare` artefacts that differ only in the draw of their images.

    Returns:
        The cells of those that failed.
    """
    most, failed = pipeline.runtime.together, []
    for alike in _groups(pipeline, cells) if most > 1 else ():
        for start in range(0, len(alike), most):
            chunk = alike[start : start + most]
            if len(chunk) == 1:  # `fit` does it
                continue
            first = chunk[0][0]
            method = registry.method(first.variant.method)
            try:
                with TemporaryDirectory() as scratch:
                    tasks = [pipeline.fitting_task(c[0], Path(scratch))[0] for c in chunk]
                    method.prepare(tasks, pipeline.options(first.variant, first.ipc))
            except UserError as error:
                say(f"failed: {first.variant.label} of {len(chunk)} base sets: {error}")
                failed += [(cell, error) for same in chunk for cell in same]
    return failed


def _groups(pipeline: Pipeline, cells: list[Cell]) -> list[list[list[Cell]]]:
    """Cells whose artefact is missing: by what is alike but the draw, then by artefact."""
    groups: dict[str, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        method = registry.method(cell.variant.method)
        key = pipeline.labels_key(cell)
        own = method.prepare.__func__ is not LabelSource.prepare.__func__  # type: ignore[attr-defined]
        if own and not pipeline.stages.done("labels", key):
            drawn = {n: v for n, v in key["images"]["options"].items() if n != "draw"}
            alike = {**key, "images": {**key["images"], "options": drawn}}
            groups[digest(alike)][digest(key)].append(cell)
    return [list(group.values()) for group in groups.values()]
