"""What a method is given: images, views, teacher, training set, and the sizes that decide bytes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.device import Compute
from ..core.errors import UserError
from ..core.files import digest
from ..data.images import Images, ResidentImages
from ..data.recipe import Objective
from ..data.views import ViewBatch, ViewPlan
from ..data.whitening import Whitening

if TYPE_CHECKING:
    from ..models.teachers import Teacher
    from .label_shards import LabelShards


@dataclass(frozen=True)
class Surround:
    """What an artefact tells of its task, beside images and classes; see `LabelTask`."""

    plan: ViewPlan
    objective: Objective = field(default_factory=Objective)
    mean: tuple[float, ...] = (0.44444444,) * 3
    std: tuple[float, ...] = (0.22222222,) * 3
    whitened: bool = False


@dataclass(frozen=True)
class TaskShape:
    """The sizes that decide how many bytes labels take, known before anything is made.

    Attributes:
        batches: of an epoch.
        surround: what containers tell of the task, where that is known.
    """

    classes: int
    images: int
    batches: int
    epochs: int
    resolution: int
    surround: Surround | None = field(default=None, compare=False, repr=False)

    @property
    def labels(self) -> int:
        """Views of a full label set, epochs x images."""
        return self.epochs * self.images

    def batch_size(self, batch: int) -> int:
        """Views in this batch of an epoch; sizes differ by at most one."""
        small, larger = divmod(self.images, self.batches)
        return small + (batch < larger)

    @property
    def soft_bytes(self) -> int:
        """Bytes of all labels stored as fp16 logits: the 1x of every ratio."""
        return self.labels * self.classes * 2


@dataclass(frozen=True)
class StoredViewCount:
    """Labels of views that are stored: what the papers' conventions count by.

    Attributes:
        batches: of views.
        logits: kept of each label.
    """

    batches: int
    logits: int


@dataclass(frozen=True)
class Amounts:
    """What decides how long a fit takes, known before anything is made.

    Attributes:
        shape: of the distilled images and their views.
        real: images of the training set.
        snapshots: weak teachers that are kept of a training.
    """

    shape: TaskShape
    real: int
    snapshots: int


def task_shape(classes: int, plan: ViewPlan, surround: Surround | None = None) -> TaskShape:
    """The sizes of a task with this plan."""
    told = surround or Surround(plan)
    return TaskShape(classes, plan.images, plan.batches, plan.epochs, plan.resolution, told)


@dataclass(frozen=True)
class LabelTask:
    """All that a method is given.

    Attributes:
        images: the distilled images, resident on the device.
        plan: the views that students will be shown.
        objective: the recipe's loss.
        compute: the device where targets must be, and its precision.
        seed: of everything random in the method. While fitting, the artefact's; while a
            student trains, the student's.
        mean, std: of the images' pixels in 0..1, per channel; students normalise by them.
        whitening: what students apply in place of them, where the recipe whitens.
        teacher: the classifier whose soft labels are compressed; only while fitting.
        train: the real training set; only while fitting.
        snapshot_source: gives snapshots along one training of the teacher's network; only while
            fitting.
        shared: makes what several artefacts share; see `shared_cache`; only while fitting.
        label_shards: where `teacher_logits` keeps what it makes; only while fitting, in a run.
        scratch: a folder for temporary files and checkpoints; only while fitting.
        accepted: joins let through though they disagree; see `benchmark.models.joins`.
    """

    images: ResidentImages
    plan: ViewPlan
    objective: Objective
    compute: Compute
    seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    whitening: Whitening | None = None
    teacher: "Teacher | None" = None
    train: Images | None = None
    snapshot_source: "Callable[[], Sequence[Teacher]] | None" = None
    shared: Callable[[str, Mapping[str, object], Callable[[Path], None]], Path] | None = None
    label_shards: "LabelShards | None" = None
    scratch: Path | None = None
    accepted: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Where images and targets are."""
        return self.compute.device

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.images.class_names)

    @property
    def shape(self) -> TaskShape:
        """The sizes of the task, as options are resolved by."""
        return task_shape(self.classes, self.plan, self.surround)

    @property
    def surround(self) -> Surround:
        """What artefacts tell of the task."""
        whitened = self.whitening is not None
        return Surround(self.plan, self.objective, self.mean, self.std, whitened)

    def fitting(self) -> "tuple[Teacher, Images, Path]":
        """Teacher, real training set and scratch folder, which are there while fitting.

        The teacher is there for methods whose `needs` say so, as they do by default.
        """
        if self.teacher is None:
            raise RuntimeError("the teacher is only there during fit(), for methods that need it")
        return self.teacher, self.real_images(), self.workspace()

    def real_images(self) -> Images:
        """The real training set, which is there while fitting."""
        if self.train is None:
            raise RuntimeError("the training set is only there during fit()")
        return self.train

    def snapshots(self) -> "Sequence[Teacher]":
        """Snapshots along one training of the teacher's network, from early to late.

        For methods whose `needs` name snapshots.

        Raises:
            UserError: that training is too short to have any.
        """
        found = self.snapshot_source() if self.snapshot_source is not None else ()
        if not found:
            raise UserError(
                "There are no weak teachers: snapshots lie between the first and the last epoch "
                "of a teacher's training, so teacher.epochs must be at least 2, and "
                "teacher.snapshots at least 1."
            )
        return found

    def shared_cache(
        self, kind: str, key: Mapping[str, object], build: Callable[[Path], None]
    ) -> Path:
        """A folder that `build` fills once for all artefacts that agree in `key`.

        For what does not depend on the distilled images. Teacher, training set, how views are
        drawn, seed and the method's code count in any case; `key` holds the options that matter.
        After a kill, `build` is given the same folder again.
        """
        if self.shared is not None:
            return self.shared(kind, key, build)
        folder = self.workspace() / f"{kind}-{digest(key)[:20]}"
        if not folder.exists():
            folder.mkdir()
            build(folder)
        return folder

    def workspace(self) -> Path:
        """The scratch folder, which is there while fitting."""
        if self.scratch is None:
            raise RuntimeError("the scratch folder is only there during fit()")
        return self.scratch

    def mixed(self, per_image: Tensor, views: ViewBatch) -> Tensor:
        """Rows of `per_image` (N, C) looked up by view and blended by the mix, (B, C)."""
        own = per_image[views.index]
        weight = views.mix_weight[:, None]
        return weight * own + (1 - weight) * own[views.partner]

    def hard_labels(self, views: ViewBatch) -> Tensor:
        """One-hot labels of the views' images, blended by the mix, (B, C)."""
        return self.mixed(self.one_hot, views)

    @cached_property
    def one_hot(self) -> Tensor:
        """One-hot labels of the images, float32 (N, C) on the device.

        Raises:
            UserError: the images show none of the classes.
        """
        if not self.images.labelled:
            raise UserError(
                "These images show none of the classes, so they have no labels of their own: "
                "leave out hard, smoothed, and recipes with a cross-entropy of hard labels."
            )
        return (
            F.one_hot(self.images.labels, self.classes).float().to(self.device, non_blocking=True)
        )


def classes_digest(class_names: Iterable[str]) -> str:
    """SHA-256 (hex) of the class names in order."""
    return digest(list(class_names))
