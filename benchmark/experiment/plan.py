"""What a run would make: stages by kind and by what they are of, with bytes and time."""

from collections.abc import Sequence
from dataclasses import dataclass

from ..labels.contract import method
from ..labels.task import task_shape
from .estimate import Estimator
from .image_stages import ResolvedImages
from .run_cell import ResolvedCell
from .stages import ResolvedLabels


@dataclass
class Planned:
    """Stages of one kind that are alike.

    Attributes:
        stage: teacher, images, labels or students.
        of: the network, image source or method.
        there: how many are made already.
        missing: how many would be made.
        bytes: of those that would be made; None where that is not known.
        seconds: that these take, one after another; None where that is not known.
    """

    stage: str
    of: str
    there: int = 0
    missing: int = 0
    bytes: int | None = None
    seconds: float | None = 0.0

    def add(self, seconds: float | None) -> None:
        """Count time of what is missing."""
        both = self.seconds, seconds
        self.seconds = None if None in both else sum(each for each in both if each is not None)


class Plan:
    """The stages of a grid's cells, in the order in which they are made."""

    def __init__(
        self, estimator: Estimator, found: Sequence[ResolvedCell], missing: Sequence[ResolvedCell]
    ) -> None:
        self.estimator, self.experiment = estimator, estimator.experiment
        self._planned: dict[tuple[str, str], Planned] = {}
        wanted = {cell.key for cell in missing}
        cached = [cell for cell in found if cell.key not in wanted]
        self._count(found, missing)
        for cell in cached:
            self._of("students", cell.cell.variant.label).there += 1
        for cell in missing:
            self._of("students", cell.cell.variant.label).missing += 1
        self._time(missing)

    def stages(self) -> list[Planned]:
        """Teacher first, students last."""
        order = ("teacher", "images", "labels", "students")
        return sorted(self._planned.values(), key=lambda each: order.index(each.stage))

    def _of(self, stage: str, of: str) -> Planned:
        return self._planned.setdefault((stage, of), Planned(stage, of))

    def _count(self, found: Sequence[ResolvedCell], missing: Sequence[ResolvedCell]) -> None:
        """Stages but students, each once; what no missing cell waits for does not count."""
        cache, given = self.experiment.cache, self.experiment
        labels = {cell.labels.digest: cell.labels for cell in found}
        needed = {cell.labels.digest for cell in missing}
        for name, each in labels.items():
            planned = self._of("labels", each.variant.label)
            if cache.done("labels", each.key):
                planned.there += 1
            elif name in needed:
                planned.missing += 1
                size = self._bytes(each)
                planned.bytes = size if planned.bytes is None else planned.bytes + (size or 0)
        used = [each.images for name, each in labels.items() if name in needed]
        for images in {str(i.key): i for each in used for i in _lineage(each)}.values():
            planned = self._of("images", images.about)
            if cache.done("images", images.key):
                planned.there += 1
            else:
                planned.missing += 1
                train, classes = given.dataset.train, len(given.dataset.class_names)
                planned.bytes = images.ipc * classes * train.channels * train.resolution**2
        network, file = given.teacher_source
        if file is None and missing:
            planned = self._of("teacher", network)
            planned.there = int(cache.done("teacher", given.training_key))
            planned.missing = 1 - planned.there

    def _bytes(self, labels: ResolvedLabels) -> int | None:
        shape = task_shape(len(self.experiment.dataset.class_names), labels.plan)
        return method(labels.variant.method).label_bytes(labels.options, shape)

    def _time(self, missing: Sequence[ResolvedCell]) -> None:
        """What is known of the time of each; an item counts once, for the first that needs it."""
        counted: set[str] = set()
        for cell in missing:
            label, network = cell.cell.variant.label, self.experiment.teacher_source[0]
            ways = {"teacher": network, "images": cell.labels.images.about, "labels": label}
            for item in self.estimator.items(cell):
                if item.name in counted:
                    continue
                counted.add(item.name)
                stage = item.kind if item.kind in ways else "students"
                self._of(stage, ways.get(item.kind, label)).add(item.seconds)


def _lineage(images: ResolvedImages) -> list[ResolvedImages]:
    """Images, and those that they are made from."""
    return [images, *(_lineage(images.base) if images.base is not None else ())]
