"""What is measured of students: their training, their test, their throughput."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..core import ranks
from ..data.images import Images
from ..data.recipe import Recipe
from ..labels import streams, student
from ..labels.contract import LabelSource
from ..labels.streams import Learner, Trained
from ..labels.student import Student
from ..models import whole_batch_norm
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
        parts: in which its batches were seen.
        batch_norm: whether the network has layers of it.
    """

    correct: Tensor
    train_loss: list[float]
    seconds: float
    throughput: Timings
    trained: Trained
    parts: int
    batch_norm: bool


def evaluate(
    learners: Sequence[Learner], recipe: Recipe, test: Images
) -> list[Measured | Exception]:
    """Train students in place on one stream of labels, then test and time each by itself.

    Several processes train each together, and time it together; each tests it.

    Args:
        recipe: with the number of epochs to train.

    Returns:
        Each one's figures, or what went wrong with it.
    """
    started = time.perf_counter()
    trained = streams.train(learners, recipe)
    seconds = (time.perf_counter() - started) / len(learners)

    def finished(
        learner: Learner, curve: list[float] | Exception, parts: int
    ) -> Measured | Exception:
        """What a trained student came to, or what ended its training, its test or its timing."""
        if isinstance(curve, Exception):
            return curve
        classifier, source = learner.student, learner.source
        try:
            with ranks.together():
                right = correct(classifier, test, source.task.compute)
            timings = measure(classifier, source, student.optimisation(recipe, source), parts)
        except Exception as error:
            return error
        if ranks.leads():
            learner.checkpoint.unlink(missing_ok=True)
        norm = bool(whole_batch_norm.layers(classifier))
        return Measured(right, curve, seconds, timings, trained, parts, norm)

    each = zip(learners, trained.curves, trained.parts, strict=True)
    return [finished(*one) for one in each]
