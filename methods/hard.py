"""Hard labels: the image's class, blended by the mix. The floor of every comparison."""

from collections.abc import Iterable
from typing import Any, Self

from torch import Tensor

from benchmark.core.needs import Needs
from benchmark.data.views import ViewBatch
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.contract import LabelSource, LabelTask


class Hard(LabelSource):
    """One-hot labels. Nothing is shipped: distilled images come sorted into classes."""

    @classmethod
    def needs(cls, options: Any) -> Needs:
        return Needs()

    @classmethod
    def fit(cls, task: LabelTask, options: Any) -> Self:
        return cls(task, options)

    def tensors(self) -> Iterable[StoredTensor]:
        return ()

    @classmethod
    def restore(cls, task: LabelTask, options: Any, shipped: Artefact) -> Self:
        return cls(task, options)

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        return self.task.hard_labels(views)
