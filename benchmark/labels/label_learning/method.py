"""What methods of learned labels share: all but the learner."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Self, TypeVar

from ...core.needs import Needs
from ...core.work import Passes, Work
from ..image_labels import ImageLabels
from ..task import Amounts, LabelTask, TaskShape
from .batched import learn_batched
from .run import Make, learned
from .settings import Learning

LearningT = TypeVar("LearningT", bound=Learning)


class LearnedLabels(ImageLabels[LearningT]):
    """Probabilities of each image, learned with what `learner` makes; options are `Learning`'s."""

    prepares = True

    through_real: ClassVar[bool]  # whether real images take a backward pass too

    @classmethod
    @abstractmethod
    def learner(cls, task: LabelTask, options: LearningT) -> Make:
        """What makes a learner from a fresh network.

        Raises:
            UserError: labels cannot be learned with the networks of the options.
        """

    @classmethod
    def resolve_options(cls, options: LearningT, shape: TaskShape, budget: int | None) -> LearningT:
        return super().resolve_options(options.sized(shape), shape, budget)

    @classmethod
    def needs(cls, options: LearningT) -> Needs:
        return Needs(networks=options.learners)

    @classmethod
    def work(cls, options: LearningT, amounts: Amounts) -> Work:
        share = 1 / len(options.learners)
        real = amounts.real * (1 - options.held_out)
        seen = round(share * options.epochs * real)
        steps = options.epochs * -(-real // options.outer_batch)
        own = round(share * steps * options.inner_batch)
        looks = -(-options.epochs // options.select_every)
        held = round(share * looks * options.held_out * amounts.real)
        return Work(
            tuple(
                passes
                for name in options.learners
                for passes in (
                    Passes(name, seen, options.outer_batch, trained=cls.through_real),
                    Passes(name, 2 * own, options.inner_batch, trained=True),
                    Passes(name, held, options.outer_batch),
                )
            ),
            reads=len(options.learners) * (seen + held),
        )

    @classmethod
    def prepare(cls, tasks: Sequence[LabelTask], options: LearningT) -> None:
        learn_batched(tasks, options, cls.name, cls.learner(tasks[0], options))

    @classmethod
    def fit(cls, task: LabelTask, options: LearningT) -> Self:
        labels, notes = learned(task, options, cls.name, cls.learner(task, options))
        source = cls(task, options, labels)
        source.notes = notes
        return source
