"""How many epochs to train, chosen by a pilot student on real training images kept apart.

All seeds of a cell share the choice, and test data has no part in it. The rate is constant, so
students that take the chosen number of epochs train as the pilot did up to there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.files import read_json, write_json
from ..data.images import Images
from ..data.recipe import Recipe
from ..data.views import ViewPlan
from ..labels.contract import LabelSource
from ..labels.student import Student, losses_of, optimisation
from ..labels.task import LabelTask
from ..labels.validation import held_out
from ..models.classifier import correct
from ..models.gradients import Batch
from ..models.training import optimise

SEED = 2**32  # beyond those of students, which count from 0
HELD_OUT, HELD_OUT_SHARE = 5000, 10  # at most so many, and at most a tenth of the training set
FILE = "pilot.json"


@dataclass(frozen=True)
class Pilot:
    """A stage's `pilot.json`: what a pilot student reached on images kept apart, and the choice.

    Attributes:
        chosen: epochs to train; the fewest of equals.
        epochs, accuracy: after how many it was looked at, and the share that it got right.
    """

    chosen: int
    epochs: list[int]
    accuracy: list[float]


def validation_epochs(plan: ViewPlan) -> list[int]:
    """The epochs after which the pilot is looked at.

    Those nearest to 10, 25, 50, 75, 100, 150, ... steps, and the last.
    """
    steps = (10, 25, 50, 75, *range(100, plan.steps, 50))
    near = {max(1, round(step / plan.batches)) for step in steps}
    return sorted({epoch for epoch in near if epoch < plan.epochs} | {plan.epochs})


def kept_apart(task: LabelTask, train: Images) -> Images:
    """Real training images to choose by.

    They are drawn by the artefact's seed, as the methods draw theirs: labels that were learned
    from nine tenths of the training images were not learned from these.

    Args:
        task: of the artefact's seed.
    """
    count = max(1, min(HELD_OUT, len(train) // HELD_OUT_SHARE))
    return held_out(replace(task, train=train), count)[0]


def run(
    student: Student, source: LabelSource, recipe: Recipe, images: Images, folder: Path, label: str
) -> None:
    """Train the pilot to the recipe's end, and write what its looks say; the fewest of equals.

    Args:
        images: to look at.
        folder: for the result; a pilot that was cut short goes on from what lies there.
    """
    file, checkpoint = folder / FILE, folder / "checkpoint.pt"
    at, train = validation_epochs(source.task.plan), losses_of(student, source)
    seen: dict[int, float] = {}
    if file.exists():
        pilot = read_json(file, Pilot)
        seen = dict(zip(pilot.epochs, pilot.accuracy, strict=True))

    def look(epochs: int) -> None:
        """Note the accuracy after so many epochs, before a checkpoint can be later."""
        seen[epochs] = correct(student, images, source.task.compute).double().mean().item()
        best = max(seen, key=lambda epochs: seen[epochs])
        write_json(file, Pilot(best, list(seen), list(seen.values())))
        student.train()

    def losses(epoch: int) -> Iterator[Batch]:
        if epoch in at:
            look(epoch)
        yield from train(epoch)

    memory = source.training_state
    optimise(student, losses, optimisation(recipe, source), label, checkpoint, memory)
    look(at[-1])
    checkpoint.unlink(missing_ok=True)
