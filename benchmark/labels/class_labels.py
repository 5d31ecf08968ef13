"""What methods share whose labels are made of the images' own classes: nothing is shipped."""

from collections.abc import Iterable
from typing import Self

from ..core.needs import Needs
from ..core.options import OptionsT
from ..core.work import Work
from .artefact import Artefact, StoredTensor
from .contract import LabelSource
from .task import Amounts, LabelTask, TaskShape


class ClassLabels(LabelSource[OptionsT]):
    """All but `targets`: distilled images come sorted into classes, so there is nothing to ship."""

    @classmethod
    def needs(cls, options: OptionsT) -> Needs:
        return Needs()

    @classmethod
    def label_bytes(cls, options: OptionsT, shape: TaskShape) -> int:
        return 0

    @classmethod
    def work(cls, options: OptionsT, amounts: Amounts) -> Work:
        return Work()

    @classmethod
    def fit(cls, task: LabelTask, options: OptionsT) -> Self:
        return cls(task, options)

    def tensors(self) -> Iterable[StoredTensor]:
        return ()

    @classmethod
    def restore(cls, task: LabelTask, options: OptionsT, shipped: Artefact) -> Self:
        return cls(task, options)
