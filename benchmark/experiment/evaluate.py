"""What is measured of one student: its training, its test, its throughput."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..data.images import Images
from ..data.recipe import Recipe
from ..labels import student
from ..labels.contract import LabelSource
from ..labels.student import Student
from ..models.classifier import correct
from .throughput import Timings, measure

Build = Callable[[str, LabelSource, int], Student]  # of a network's name, its labels, a seed


@dataclass(frozen=True)
class Measured:
    """One student's figures.

    Attributes:
        correct: which test images it got right after its last epoch, bool (N,), on the CPU.
        train_loss: mean of each epoch.
        seconds: of its training.
    """

    correct: Tensor
    train_loss: list[float]
    seconds: float
    throughput: Timings


def evaluate(
    classifier: Student,
    source: LabelSource,
    recipe: Recipe,
    test: Images,
    checkpoint: Path,
    label: str,
) -> Measured:
    """Train `classifier` in place on the source's labels, then test and time it.

    Args:
        recipe: with the number of epochs to train.
        checkpoint: a file to go on from, and to write at times; removed at the end.
        label: shown with the progress.
    """
    started = time.perf_counter()
    curve = student.train(classifier, source, recipe, checkpoint, label)
    seconds = time.perf_counter() - started
    right = correct(classifier, test, source.task.compute)
    throughput = measure(classifier, source, student.optimisation(recipe, source))
    checkpoint.unlink(missing_ok=True)
    return Measured(right, curve, seconds, throughput)
