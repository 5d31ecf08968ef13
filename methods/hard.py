"""Hard labels: the image's class, blended by the mix. The floor of every comparison."""

from torch import Tensor

from benchmark.core.options import NoOptions
from benchmark.data.views import ViewBatch
from benchmark.labels.class_labels import ClassLabels


class Hard(ClassLabels[NoOptions]):
    """One-hot labels."""

    title = "Hard labels"
    control = "floor"

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        return self.task.hard_labels(views)
