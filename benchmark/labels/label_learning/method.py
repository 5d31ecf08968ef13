"""What methods of learned labels share: all but the learner."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from ...core.needs import Needs
from ..contract import LabelTask, TaskShape
from ..image_labels import ImageLabels
from .batched import learn_batched
from .run import Make, learned


class LearnedLabels(ImageLabels):
    """Probabilities of each image, learned with what `learner` makes; options are `Learning`'s."""

    @classmethod
    @abstractmethod
    def learner(cls, task: LabelTask, options: Any) -> Make:
        """What makes a learner from a fresh network.

        Raises:
            UserError: labels cannot be learned with the networks of the options.
        """

    @classmethod
    def resolve_options(cls, options: Any, shape: TaskShape, budget: int | None) -> Any:
        return super().resolve_options(options.sized(shape), shape, budget)

    @classmethod
    def needs(cls, options: Any) -> Needs:
        return Needs(networks=options.learners)

    @classmethod
    def prepare(cls, tasks: Sequence[LabelTask], options: Any) -> None:
        learn_batched(tasks, options, cls.name, cls.learner(tasks[0], options))

    @classmethod
    def fit(cls, task: LabelTask, options: Any) -> Self:
        labels, notes = learned(task, options, cls.name, cls.learner(task, options))
        source = cls(task, options, labels)
        source.notes = notes
        return source
