"""What is measured of students: their training, their test, their throughput."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..data.images import Images
from ..data.recipe import Recipe
from ..labels import streams, student
from ..labels.contract import LabelSource
from ..labels.streams import Learner, Trained
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
        seconds: of its training; its share where several were trained at once.
        trained: how they were.
    """

    correct: Tensor
    train_loss: list[float]
    seconds: float
    throughput: Timings
    trained: Trained


def evaluate(
    learners: Sequence[Learner], recipe: Recipe, test: Images
) -> list[Measured | Exception]:
    """Train students in place on one stream of labels, then test and time each by itself.

    Args:
        recipe: with the number of epochs to train.

    Returns:
        Each one's figures, or what went wrong with it.
    """
    started = time.perf_counter()
    trained = streams.train(learners, recipe)
    seconds = (time.perf_counter() - started) / len(learners)

    def finished(learner: Learner, curve: list[float] | Exception) -> Measured | Exception:
        """What a trained student came to, or what ended its training, its test or its timing."""
        if isinstance(curve, Exception):
            return curve
        classifier, source = learner.student, learner.source
        try:
            right = correct(classifier, test, source.task.compute)
            timings = measure(classifier, source, student.optimisation(recipe, source))
        except Exception as error:
            return error
        learner.checkpoint.unlink(missing_ok=True)
        return Measured(right, curve, seconds, timings, trained)

    return [finished(*each) for each in zip(learners, trained.curves, strict=True)]
