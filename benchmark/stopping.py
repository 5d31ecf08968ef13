"""How many epochs to train, chosen by a pilot student on real training images kept apart.

All seeds of a cell share the choice, and test data has no part in it. The rate is constant, so
students that take the chosen number of epochs train as the pilot did up to there.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from . import code_version
from .classifier import correct
from .contract import LabelSource
from .grid import Cell
from .image_stages import ARTEFACT_SEED
from .images import Images
from .inputs import NETWORK_CODE, TRAINING_CODE
from .pipeline import Pipeline
from .recipe import Recipe
from .stages import write_atomic
from .student import Student, lessons, schedule
from .training import optimise
from .trials import held_out
from .views import ViewPlan

PILOT_SEED = 2**32  # beyond those of students, which count from 0
CODE = ("stopping", "trials", "student", "ridge_student", "ridge", *TRAINING_CODE, *NETWORK_CODE)
HELD_OUT, HELD_OUT_SHARE = 5000, 10  # at most so many, and at most a tenth of the training set
FILE = "pilot.json"

Fresh = Callable[[int], tuple[Student, LabelSource]]  # an untrained student of a seed, its labels


def looks(plan: ViewPlan) -> list[int]:
    """The epochs after which the pilot is looked at.

    Those nearest to 10, 25, 50, 75, 100, 150, ... steps, and the last.
    """
    steps = (10, 25, 50, 75, *range(100, plan.steps, 50))
    near = {max(1, round(step / plan.batches)) for step in steps}
    return sorted({epoch for epoch in near if epoch < plan.epochs} | {plan.epochs})


def chosen(pipeline: Pipeline, cell: Cell, fresh: Fresh) -> dict[str, Any]:
    """The `epochs` to train, and the `pilot`'s epochs and accuracies; made once for all seeds."""

    def build_stage(folder: Path) -> None:
        student, source = fresh(PILOT_SEED)
        label = f"pilot of {cell.label}"
        fly(student, source, pipeline.recipe, kept_apart(pipeline, cell), folder, label)

    key = {
        "labels": pipeline.labels_key(cell),
        "student": cell.student,
        "recipe": asdict(pipeline.recipe),
        "train": pipeline.dataset.train.digest,
        "code": code_version.of_modules(*CODE),
    }
    folder = pipeline.stages.make("pilot", key, build_stage)
    return json.loads((folder / FILE).read_text())


def kept_apart(pipeline: Pipeline, cell: Cell) -> Images:
    """Real training images to choose by.

    They are drawn by the artefact's seed, as the methods draw theirs: labels that were learned
    from nine tenths of the training images were not learned from these.
    """
    train = pipeline.dataset.train
    task = pipeline.task(cell, ARTEFACT_SEED)
    count = max(1, min(HELD_OUT, len(train) // HELD_OUT_SHARE))
    return held_out(replace(task, train=train), count)[0]


def fly(
    student: Student, source: LabelSource, recipe: Recipe, images: Images, folder: Path, label: str
) -> None:
    """Train the pilot to the recipe's end, and write what its looks say; the fewest of equals.

    Args:
        images: to look at.
        folder: for the result; a pilot that was cut short goes on from what lies there.
    """
    file, checkpoint = folder / FILE, folder / "checkpoint.pt"
    at, train = looks(source.task.plan), lessons(student, source)
    seen: dict[int, float] = {}
    if file.exists():
        pilot = json.loads(file.read_text())["pilot"]
        seen = dict(zip(pilot["epochs"], pilot["accuracy"], strict=True))

    def look(epochs: int) -> None:
        """Note the accuracy after so many epochs, before a checkpoint can be later."""
        seen[epochs] = correct(student, images, source.task.compute).double().mean().item()
        pilot = {"epochs": list(seen), "accuracy": list(seen.values())}
        best = max(seen, key=lambda epochs: seen[epochs])
        write_atomic(file, json.dumps({"epochs": best, "pilot": pilot}).encode())
        student.train()

    def losses(epoch: int) -> Iterator[Tensor]:
        if epoch in at:
            look(epoch)
        yield from train(epoch)

    memory = source.training_state
    optimise(student, losses, schedule(recipe, source), label, checkpoint, memory)
    look(at[-1])
    checkpoint.unlink(missing_ok=True)
