"""The contract: what a label source is given, and what it must answer.

A method is one subclass of `LabelSource` in a file of its own. It fills four members: `fit`
(compress), `tensors` (what is shipped), `restore` (from what was shipped), `targets` (what a
student is trained towards). Three families differ only in what else they override:

- per image (hard, smoothed, learned labels): look targets up by image, blend them by the mix;
- per view (stored soft labels, LPQLD): also `views`, to replay the views that have labels;
- online (teacher, HeLlO): run a network on the rendered pixels.

The harness always saves what `fit` returned and trains students on what `load` gives back, so
nothing that was not shipped can reach a student.
"""

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.device import Compute
from ..core.errors import ArtefactError, UserError
from ..core.files import digest
from ..core.needs import Needs
from ..core.options import build
from ..data.images import Images, ResidentImages
from ..data.recipe import Objective
from ..data.views import ViewBatch, ViewPlan
from ..records.ledger import Ledger
from . import artefact
from .artefact import Artefact, StoredTensor

if TYPE_CHECKING:
    from ..models.teachers import Teacher


@dataclass(frozen=True)
class TaskShape:
    """The sizes that decide how many bytes labels take, known before anything is made.

    Attributes:
        batches: of an epoch.
        labels: views of a full label set, epochs x images.
    """

    classes: int
    images: int
    batches: int
    epochs: int
    resolution: int

    @property
    def labels(self) -> int:
        return self.epochs * self.images

    @property
    def soft_bytes(self) -> int:
        """Bytes of all labels stored as fp16 logits: the 1x of every ratio."""
        return self.labels * self.classes * 2


def task_shape(classes: int, plan: ViewPlan) -> TaskShape:
    """The sizes of a task with this plan."""
    return TaskShape(classes, plan.images, plan.batches, plan.epochs, plan.resolution)


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
        mean, std: of the images' pixels in 0..1, per channel.
        teacher: the classifier whose soft labels are compressed; only while fitting.
        train: the real training set; only while fitting.
        snapshot_source: gives snapshots along one training of the teacher's network; only while
            fitting.
        shared: makes what several artefacts share; see `shared_cache`; only while fitting.
        scratch: a folder for temporary files and checkpoints; only while fitting.
    """

    images: ResidentImages
    plan: ViewPlan
    objective: Objective
    compute: Compute
    seed: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    teacher: "Teacher | None" = None
    train: Images | None = None
    snapshot_source: "Callable[[], Sequence[Teacher]] | None" = None
    shared: Callable[[str, Mapping[str, Any], Callable[[Path], None]], Path] | None = None
    scratch: Path | None = None

    @property
    def device(self) -> torch.device:
        return self.compute.device

    @property
    def classes(self) -> int:
        return len(self.images.class_names)

    @property
    def shape(self) -> TaskShape:
        return task_shape(self.classes, self.plan)

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
        self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None]
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
        return self.mixed(self._one_hot, views)

    @cached_property
    def _one_hot(self) -> Tensor:
        if not self.images.labelled:
            raise UserError(
                "These images show none of the classes, so they have no labels of their own: "
                "leave out hard, smoothed, and recipes with a cross-entropy of hard labels."
            )
        return (
            F.one_hot(self.images.labels, self.classes).float().to(self.device, non_blocking=True)
        )


class LabelSource(ABC):
    """Where a student's targets come from; one method of the benchmark.

    Class attributes:
        name: what users call it; its file's name, or its entry point's.
        paper: what to cite.
        space: whether `targets` are probabilities or logits; decides what the recipe's loss
            does with them.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    space: ClassVar[Literal["probabilities", "logits"]] = "probabilities"

    @dataclass(frozen=True)
    class Options:
        """The method's options and their defaults; subclasses replace this class."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.__module__.split(".")[-1]

    def __init__(self, task: LabelTask, options: Any) -> None:
        self.task = task
        self.options = options
        self.folder: Path | None = None
        # Memory that `loss` keeps from step to step; saved in a student's checkpoint.
        self.training_state: dict[str, Tensor] = {}
        # What `fit` has to tell, as JSON values; records keep it.
        self.notes: dict[str, Any] = {}

    @classmethod
    def resolve_options(cls, options: Any, shape: TaskShape, budget: int | None) -> Any:
        """Options made concrete: those left open decided, and the byte budget, if any, met.

        Called before anything is made, so that records name the settings that were chosen.

        Raises:
            UserError: an option does not fit the task, no setting can meet the budget, or none
                changes the size.
        """
        if budget is not None:
            raise UserError(
                f"{cls.name} has no setting that changes its size: leave "
                "it out of a run with --budget."
            )
        return options

    @classmethod
    def needs(cls, options: Any) -> Needs:
        """What `fit` is given beside images, plan and training set, and what it depends on.

        By default the teacher. Files, priors, snapshots and networks count for the artefact's
        key only if they are named here.
        """
        return Needs(teacher=True)

    @classmethod
    @abstractmethod
    def fit(cls, task: LabelTask, options: Any) -> Self:
        """Compress the teacher's knowledge for these images; may train."""

    @classmethod  # noqa: B027 (optional)
    def prepare(cls, tasks: Sequence[LabelTask], options: Any) -> None:
        """Do at once what `fit` would do for one task after another.

        It is left in `task.shared_cache`. By default nothing. Called before `fit`, and only
        with --batched.

        Args:
            tasks: they differ only in their images.
        """

    @abstractmethod
    def tensors(self) -> Iterable[StoredTensor]:
        """The tensors that must be shipped, each under the ledger's column it belongs to."""

    @classmethod
    @abstractmethod
    def restore(cls, task: LabelTask, options: Any, shipped: Artefact) -> Self:
        """The source again, from its shipped tensors (on the CPU) and manifest alone."""

    def manifest(self) -> Mapping[str, Any]:
        """What `restore` must know beyond options and tensors; JSON values.

        `restore` reads it by `shipped.extra(DATACLASS)`, which checks its types.
        """
        return {}

    def requires(self) -> Mapping[str, Any]:
        """What must be present at training time without being shipped.

        `{"prior": {"name", "bytes", "sha256"}}` for a public model, likewise `teacher`.
        """
        return {}

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        """The views of one epoch, on the CPU. Default: the plan's, fresh every epoch."""
        return self.task.plan.epoch(epoch)

    @property
    def network(self) -> nn.Module | None:
        """What an online source runs on the pixels; its bare pass is the floor of its labels."""
        return None

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        """Each stored batch's views, on the CPU, and its logits (B, C), for export.

        Classes whose logits are not stored are at -inf.

        Raises:
            UserError: the method stores no labels of views; so by default.
        """
        raise UserError(f"{self.name} stores no labels of views, so there is nothing to export.")

    @abstractmethod
    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        """What the student is trained towards, float32 (B, C) on the task's device.

        Args:
            views: as `views` gave them, moved to the device.
            images: their pixels, float32 (B, channels, R, R) in 0..1.
            epoch: of the student, from 0.
        """

    def loss(self, logits: Tensor, targets: Tensor, views: ViewBatch, epoch: int) -> Tensor:
        """The scalar to minimise. Default: the recipe's objective.

        Args:
            logits: the student's, (B, C).
            targets: as `targets` gave them.
        """
        objective = self.task.objective
        if objective.loss == "mse" and self.space == "logits":
            loss = F.mse_loss(logits, targets)
        elif self.space == "logits":
            temperature = objective.temperature
            loss = divergence(targets, logits, temperature)
            if objective.rescale:
                loss = loss * temperature**2
        else:
            loss = F.kl_div(F.log_softmax(logits, 1), targets, reduction="batchmean")
        if objective.ce_weight:
            hard = F.cross_entropy(logits, self.task.hard_labels(views))
            loss = loss + objective.ce_weight * hard
        return loss

    def probabilities(self, targets: Tensor) -> Tensor:
        """Targets as probabilities, (B, C), for training loops that are not ours."""
        if self.space == "logits":
            return F.softmax(targets / self.task.objective.temperature, 1)
        return targets

    def save(self, folder: Path) -> None:
        """Write the artefact into the existing, empty `folder`."""
        task = self.task
        manifest = {
            "method": self.name,
            "options": asdict(self.options),
            "images": task.images.digest,
            "classes": classes_digest(task.images.class_names),
            "plan": asdict(task.plan),
            "objective": asdict(task.objective),
            "mean": task.mean,
            "std": task.std,
            "requires": dict(self.requires()),
            "extra": dict(self.manifest()),
        }
        artefact.write(folder, manifest, self.tensors())
        self.folder = folder

    @classmethod
    def load(cls, folder: Path, task: LabelTask) -> Self:
        """Read an artefact back, for the same images, classes and plan.

        Raises:
            ArtefactError: it is damaged, or was made for something else.
        """
        shipped = artefact.read(folder)
        manifest = shipped.manifest
        if manifest["classes"] != classes_digest(task.images.class_names):
            raise ArtefactError(
                f"The labels in {str(folder)!r} were made for other classes than "
                f"{', '.join(task.images.class_names[:3])}, ... ({task.classes} in all)."
            )
        if manifest["images"] != task.images.digest:
            raise ArtefactError(
                f"The labels in {str(folder)!r} were made for the images of SHA-256 "
                f"{manifest['images'][:16]}…, not for these ({task.images.digest[:16]}…)."
            )
        plan = build(ViewPlan, manifest["plan"], "plan")
        if plan != task.plan:
            raise ArtefactError(
                f"The labels in {str(folder)!r} were made for another view plan: "
                f"{manifest['plan']}, not {asdict(task.plan)}."
            )
        if (plan.images, plan.resolution) != (len(task.images), task.images.resolution):
            raise ArtefactError(
                f"The labels in {str(folder)!r} were made for {plan.images} images of "
                f"{plan.resolution} pixels, not for {len(task.images)} of {task.images.resolution}."
            )
        source = cls.restore(task, build(cls.Options, manifest["options"], "options"), shipped)
        source.folder = folder
        return source

    def storage(self) -> Ledger:
        """The ledger of the artefact, measured on disk (in a temporary folder if unsaved)."""
        if self.folder is not None:
            return artefact.measure(self.folder, artefact.read_manifest(self.folder))
        with tempfile.TemporaryDirectory() as folder:
            self.save(Path(folder))
            ledger = self.storage()
        self.folder = None
        return ledger


def divergence(target: Tensor, logits: Tensor, temperature: float) -> Tensor:
    """KL from the target logits' softmax to the student's, both at `temperature`; batch mean."""
    return F.kl_div(
        F.log_softmax(logits / temperature, 1),
        F.log_softmax(target / temperature, 1),
        reduction="batchmean",
        log_target=True,
    )


def classes_digest(class_names: Iterable[str]) -> str:
    """SHA-256 of the class names in order."""
    return digest(list(class_names))
