"""What a run takes of memory and disk, from shapes: the peak of each stage that is missing.

Counted are a stage's tensors at their most (`footprint`), pixels that are read ahead, and what it
holds of images and labels; distilled images lie in a memory map, which the system may drop. Not
counted: the work space of a device's libraries, and what its allocator keeps.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.work import TEACHER, Passes
from ..data.images import Images
from ..data.streamed import AHEAD, StreamedImages
from ..data.views import Augmentation, ViewPlan
from ..labels.contract import method
from ..labels.task import Amounts, task_shape
from ..models.classifier import at_once
from ..models.image_source import image_source
from ..models.teachers import TeacherOptions
from .footprint import Footprint
from .image_stages import ResolvedImages
from .pace import Subject
from .run_cell import ResolvedCell
from .stages import Experiment


@dataclass(frozen=True)
class Peak:
    """The most that one stage holds.

    Attributes:
        kind: of stage; several of one kind come after one another.
        what: it is.
        device: bytes on the device; None where they are not known.
        host: bytes of pixels in the host's memory.
    """

    kind: str
    what: str
    device: int | None
    host: int


class Peaks:
    """The peaks of a run's stages."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        train = experiment.dataset.train
        self.footprint = Footprint(train, experiment.runtime.compute)
        self.image = train.channels * train.resolution**2  # bytes

    def of(self, cells: Sequence[ResolvedCell]) -> list[Peak]:
        """Of all that is missing for these cells."""
        found = [peak for cell in cells for peak in self._of_cell(cell)]
        return list(dict.fromkeys(found))

    def _of_cell(self, cell: ResolvedCell) -> Iterator[Peak]:
        labels, given = cell.labels, self.experiment
        needs = (labels.needs, labels.images.needs)
        trained = given.teacher_source[1] is None
        wanted = trained or any(each.snapshots for each in needs)
        if wanted and not given.cache.done("teacher", given.training_key):
            yield self._teacher()
        yield from self._images(labels.images)
        if not given.cache.done("labels", labels.key):
            yield self._labels(cell)
        yield self._student(cell)

    def _teacher(self) -> Peak:
        options, dataset = self.experiment.teacher_options, self.experiment.dataset
        network = self.experiment.teacher_source[0]
        trained = self.footprint.of(
            Subject(network, options.batch_size, True), self._real_plan(options), "sgd"
        )
        reads = self._ahead(dataset.train, options.batch_size)
        device = _most(trained, self._tested(network))
        return Peak("teacher", network, device, max(reads, self._tests_ahead()))

    def _real_plan(self, options: TeacherOptions) -> ViewPlan:
        train = self.experiment.dataset.train
        views = Augmentation((options.crop_low, 1.0), mix="none")
        return ViewPlan(0, len(train), train.resolution, options.batch_size, 1, views)

    def _images(self, images: ResolvedImages) -> Iterator[Peak]:
        given = self.experiment
        if images.base is not None:
            yield from self._images(images.base)
        if given.cache.done("images", images.key):
            return
        work = image_source(images.name)(images.options).work(given.dataset, images.ipc)
        plan = self._real_plan(given.teacher_options)
        device = None if work is None else self._passes(work.passes, plan)
        held = images.ipc * len(given.dataset.class_names) * self.image
        yield Peak("images", images.source, device, held + self._ahead(given.dataset.train, 256))

    def _labels(self, cell: ResolvedCell) -> Peak:
        labels, given = cell.labels, self.experiment
        shape = task_shape(len(given.dataset.class_names), labels.plan)
        kept = len(given.teacher_options.snapshot_epochs())
        amounts = Amounts(shape, len(given.dataset.train), kept)
        work = method(labels.variant.method).work(labels.options, amounts)
        if work is None:
            return Peak("labels", labels.variant.label, None, 0)
        passes = self._passes(work.passes, labels.plan)
        batches = [p.batch for p in work.passes if p.images]
        reads = self._ahead(given.dataset.train, max(batches, default=0))
        return Peak("labels", labels.variant.label, _sum(passes, work.memory), reads)

    def _student(self, cell: ResolvedCell) -> Peak:
        labels, given, network = cell.labels, self.experiment, cell.cell.student
        plan, recipe = labels.plan, labels.recipe
        batch = plan.sizes()[0]
        shape = task_shape(len(given.dataset.class_names), plan)
        cls = method(labels.variant.method)
        work = cls.work(labels.options, Amounts(shape, len(given.dataset.train), 0))
        online = [
            self.footprint.of(Subject(self._named(name), batch, False), plan)
            for name in (work.online if work is not None else ())
        ]
        trained = self.footprint.of(Subject(network, batch, True), plan, recipe.optimiser)
        held = 0 if cls.control else cls.label_bytes(labels.options, shape) or 0
        device = _sum(_most(trained, self._tested(network), *online), held)
        where = f"{network} on {labels.variant.label}"
        return Peak("students", where, device, self._tests_ahead())

    def _tests_ahead(self) -> int:
        given = self.experiment
        return self._ahead(given.dataset.test, at_once(given.runtime.compute.device))

    def _tested(self, network: str) -> int | None:
        count = min(
            at_once(self.experiment.runtime.compute.device), len(self.experiment.dataset.test)
        )
        return self.footprint.of(Subject(network, count, False), None)

    def _passes(self, passes: Sequence[Passes], plan: ViewPlan) -> int | None:
        each = [
            self.footprint.of(Subject(self._named(p.network), p.batch, p.trained), plan, "adamw")
            for p in passes
            if p.images
        ]
        return _most(*each)

    def _named(self, network: str) -> str:
        return self.experiment.teacher_source[0] if network == TEACHER else network

    def _ahead(self, images: Images, batch: int) -> int:
        """Bytes of pixels that are decoded before they are asked for, and of those in use."""
        if not isinstance(images, StreamedImages):
            return 0
        return (AHEAD + 1) * min(batch, len(images)) * self.image


def _most(*values: int | None) -> int | None:
    known = [value for value in values if value is not None]
    return max(known, default=0) if len(known) == len(values) else None


def _sum(value: int | None, more: int) -> int | None:
    return None if value is None else value + more


def resident() -> int:
    """Bytes that this process holds now, without files that are only mapped; 0 if not known."""
    try:
        told = Path("/proc/self/status").read_text()
        return int(told.partition("RssAnon:")[2].split()[0]) * 1024
    except (OSError, IndexError, ValueError):
        return 0


def memory_told(peaks: Sequence[Peak], on_cpu: bool, own: int) -> list[str]:
    """Peaks by kind of stage, in words, a line for each memory.

    Args:
        on_cpu: whether the device's memory is the host's.
        own: bytes that a process takes before it does anything.
    """
    device, host = dict[str, int](), dict[str, int]()
    unknown = list(dict.fromkeys(f"{p.kind} of {p.what}" for p in peaks if p.device is None))
    for peak in peaks:
        known = peak.device or 0
        shared = known if on_cpu else 0
        host[peak.kind] = max(host.get(peak.kind, 0), own + peak.host + shared)
        device[peak.kind] = max(device.get(peak.kind, 0), known)
    lines = [f"memory of the host, at most: {_listed(host)} ({size(own)} of a process itself)"]
    if not on_cpu:
        lines.insert(0, f"memory of the device, at most: {_listed(device)}")
    if unknown:
        lines.append(f"not known: how much memory {', '.join(unknown)} take")
    return lines if peaks else []


def disk_told(experiment: Experiment, cells: Sequence[ResolvedCell]) -> list[str]:
    """Bytes of the distilled images and labels that are missing, in words."""
    dataset, parts = experiment.dataset, defaultdict(int)
    train, unknown = dataset.train, dict[str, None]()
    image = train.channels * train.resolution**2 + 8  # its label is int64
    for images in {cell.labels.images.source: cell.labels.images for cell in cells}.values():
        if not experiment.cache.done("images", images.key):
            parts[f"images {images.source}"] += images.ipc * len(dataset.class_names) * image
    for labels in {cell.labels.digest: cell.labels for cell in cells}.values():
        if experiment.cache.done("labels", labels.key):
            continue
        shape = task_shape(len(dataset.class_names), labels.plan)
        taken = method(labels.variant.method).label_bytes(labels.options, shape)
        if taken is None:
            unknown[labels.variant.label] = None
        else:
            parts[f"labels {labels.variant.label}"] += taken
    if not parts and not unknown:
        return []
    more = f"; known once made: labels {', '.join(unknown)}" if unknown else ""
    return [f"bytes on disk: {_listed(parts)}{more}"]


def _listed(parts: dict[str, int]) -> str:
    return ", ".join(f"{name} {size(taken)}" for name, taken in parts.items())


def size(count: int) -> str:
    """Bytes in words: `612 B`, `98.2 kB`, `1.51 GB`."""
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count} B"
