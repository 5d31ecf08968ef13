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

import copy
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Self, TypeAlias

import torch.nn.functional as F
from torch import Tensor, nn

from ..core import plugins
from ..core.errors import ArtefactError, UserError
from ..core.needs import Needs
from ..core.options import NoOptions, OptionsT, build, options_of
from ..core.work import Work
from ..data.views import ViewBatch, ViewPlan
from ..records.ledger import Ledger
from . import artefact
from .artefact import Artefact, StoredTensor
from .container import described
from .manifest import Requirement
from .relabelling import Relabelling
from .task import Amounts, LabelTask, StoredViewCount, TaskShape, classes_digest

Control: TypeAlias = Literal["floor", "full", "ceiling"]
Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


class LabelSource(ABC, Generic[OptionsT]):
    """Where a student's targets come from; one method of the benchmark.

    A method is written for the dataclass of its options, `LabelSource[Options]`, or for
    `NoOptions`.

    Class attributes:
        name: what users call it; its file's name, or its entry point's.
        title: what tables for readers call it; its class's name if it says nothing.
        paper: what to cite.
        space: whether `targets` are probabilities or logits; decides what the recipe's loss
            does with them. A source whose forms differ says it of itself.
        control: which end of every comparison it marks, if any: `floor`, the images' own classes,
            for which nothing is shipped; `full`, every label stored; `ceiling`, the network
            itself shipped.
        control_forms: the options of its forms that join every comparison as controls, as in
            brackets: `weights=int8`.
        prepares: whether it has a `prepare`, for several tasks at once.
        imports: whether it takes up labels that others published; see `importing`.
        required: the option that names a file it cannot be without, if any; `check` then leaves
            all to a run.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    space: Literal["probabilities", "logits"] = "probabilities"
    control: ClassVar[Control | None] = None
    control_forms: ClassVar[tuple[str, ...]] = ("",)
    imports: ClassVar[bool] = False
    required: ClassVar[str] = ""
    prepares: ClassVar[bool] = False
    Options: ClassVar[type] = NoOptions

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.__module__.split(".")[-1]
        cls.Options = options_of(cls)

    def __init__(self, task: LabelTask, options: OptionsT) -> None:
        self.task = task
        self.options = options
        self.folder: Path | None = None
        # Memory that `loss` keeps from step to step; saved in a student's checkpoint.
        self.training_state: dict[str, Tensor] = {}
        # What `fit` has to tell, as JSON values; records keep it.
        self.notes: dict[str, Json] = {}

    @classmethod
    def resolve_options(cls, options: OptionsT, shape: TaskShape, budget: int | None) -> OptionsT:
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
    def label_bytes(cls, options: OptionsT, shape: TaskShape) -> int | None:
        """Bytes that the labels of such a task take, all but the container; None if not known.

        Known from sizes alone, so that labels can be counted where there is no data.

        Args:
            options: as `resolve_options` gives them.
        """
        return None

    @classmethod
    def stored_views(cls, options: OptionsT, shape: TaskShape) -> StoredViewCount | None:
        """How many batches of views have stored labels, and of how many logits; None without."""
        return None

    @classmethod
    def needs(cls, options: OptionsT) -> Needs:
        """What `fit` is given beside images, plan and training set, and what it depends on.

        By default the teacher. Files, priors, snapshots and networks count for the artefact's
        key only if they are named here.
        """
        return Needs(teacher=True)

    @classmethod
    def work(cls, options: OptionsT, amounts: Amounts) -> Work | None:
        """What `fit` takes, and what runs on each view afterwards; None if that is not known.

        From it a run says how long it will take.

        Args:
            options: as `resolve_options` gives them.
        """
        return None

    @classmethod
    def relabelling(cls, options: OptionsT, plan: ViewPlan, seed: int) -> Relabelling | None:
        """What `fit` asks `teacher_logits` for, as far as it is known before; None if it is not.

        Machines side by side then make it in shards, ahead of the fit.

        Args:
            options: as `resolve_options` gives them.
            seed: of the task that is fitted.
        """
        return None

    @classmethod
    @abstractmethod
    def fit(cls, task: LabelTask, options: OptionsT) -> Self:
        """Compress the teacher's knowledge for these images; may train."""

    @classmethod
    def prepare(cls, tasks: Sequence[LabelTask], options: OptionsT) -> None:
        """Do at once what `fit` would do for one task after another.

        It is left in `task.shared_cache`. Called before `fit` of methods that declare
        `prepares`, and only with --batched.

        Args:
            tasks: they differ only in their images.
        """

    @abstractmethod
    def tensors(self) -> Iterable[StoredTensor]:
        """The tensors that must be shipped, each under the ledger's column it belongs to."""

    @classmethod
    @abstractmethod
    def restore(cls, task: LabelTask, options: OptionsT, shipped: Artefact) -> Self:
        """The source again, from its shipped tensors (on the CPU) and manifest alone."""

    def manifest(self) -> Mapping[str, Json]:
        """What `restore` must know beyond options and tensors; JSON values.

        `restore` reads it by `shipped.extra(DATACLASS)`, which checks its types.
        """
        return {}

    def requires(self) -> Mapping[Literal["prior", "teacher"], Requirement]:
        """What must be there at training time without being shipped.

        A public model, by which pixels become features, or a teacher.
        """
        return {}

    @property
    def ships(self) -> bool:
        """Whether there is anything to ship; else `save` leaves its folder empty: 0 bytes."""
        return True

    @classmethod
    def unshipped(cls, task: LabelTask) -> Self:
        """The source of an empty folder: what images and recipe alone make of it.

        Raises:
            ArtefactError: there is none; so by default.
        """
        raise ArtefactError(f"The folder is empty, and labels of {cls.name} take files.")

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        """The views of one epoch, on the CPU. Default: the plan's, fresh every epoch."""
        return self.task.plan.epoch(epoch)

    def expect(self, views: ViewBatch) -> None:
        """The targets of these views, on the CPU, are asked for after those of the batch before.

        A source whose labels memory does not hold reads them meanwhile. Default: nothing.
        """
        del views

    @property
    def seeded(self) -> bool:
        """Whether its views or targets depend on the student's seed, `task.seed`.

        Students of a source that is not seeded may share one stream of views and targets.
        """
        return False

    def for_student(self, seed: int) -> Self:
        """The same labels for another student: what `loss` keeps from step to step is its own."""
        other = copy.copy(self)
        other.task = replace(self.task, seed=seed)
        other.training_state = {}
        return other

    @property
    def network(self) -> nn.Module | None:
        """What an online source runs on the pixels; its bare pass is the floor of its labels.

        Where several processes train a student, each asks such a source for its own rows of a
        batch: `targets` must then make of each view what its pixels say, by itself.
        """
        return None

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        """Each stored batch's views, on the CPU, and its logits (B, C), for export.

        Classes whose logits are not stored are at -inf.

        Raises:
            UserError: the method stores no labels of views; so by default.
        """
        raise UserError(f"{self.name} stores no labels of views, so there is nothing to export.")

    @classmethod
    def importing(cls, folder: Path, kept: int | None, options: Mapping[str, object]) -> OptionsT:
        """The options by which it takes up labels of others; for methods that declare `imports`.

        All labels are kept, exactly, unless `options` say what to drop.

        Args:
            folder: of official labels.
            kept: logits that each label has there; None where it has those of all classes.
            options: as users give them.

        Raises:
            UserError: an option is wrong.
        """
        raise UserError(f"{cls.name} does not take up labels of others.")

    @abstractmethod
    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        """What the student is trained towards, float32 (B, C) on the task's device.

        Args:
            views: as `views` gave them, moved to the device.
            images: their pixels, float32 (B, channels, R, R) in 0..1.
            epoch: of the student, from 0.
        """

    def supply(self, views: ViewBatch, images: Tensor, epoch: int) -> Any:
        """The targets as `loss` and `probabilities` take them at a step. Default: `targets`.

        For a source whose own `loss` can do with less than a number for every class.
        """
        return self.targets(views, images, epoch)

    def loss(self, logits: Tensor, targets: Any, views: ViewBatch, epoch: int) -> Tensor:
        """The scalar to minimise. Default: the recipe's objective.

        Args:
            logits: the student's, (B, C).
            targets: as `supply` gave them, or `targets`.
        """
        objective = self.task.objective
        if objective.loss == "mse" and self.space == "logits":
            loss = F.mse_loss(logits, targets)
        elif self.space == "logits":
            temperature = objective.temperature
            loss = divergence(targets * objective.label_scale, logits, temperature)
            if objective.rescale:
                loss = loss * temperature**2
        else:
            loss = F.kl_div(F.log_softmax(logits, 1), targets, reduction="batchmean")
        if objective.ce_weight:
            hard = F.cross_entropy(logits, self.task.hard_labels(views))
            loss = loss + objective.ce_weight * hard
        return loss

    def probabilities(self, targets: Any) -> Tensor:
        """Targets of `supply` or `targets` as probabilities, (B, C)."""
        if self.space == "logits":
            objective = self.task.objective
            return F.softmax(targets * objective.label_scale / objective.temperature, 1)
        return targets

    def save(self, folder: Path) -> None:
        """Write the artefact into the existing, empty `folder`."""
        task, self.folder = self.task, folder
        if not self.ships:
            return
        manifest = described(
            self.name,
            self.options,
            task.surround,
            task.images.digest,
            classes_digest(task.images.class_names),
            self.requires(),
            self.manifest(),
        )
        artefact.write(folder, manifest, self.tensors())

    @classmethod
    def load(cls, folder: Path, task: LabelTask) -> Self:
        """Read an artefact back, for the same images, classes and plan.

        Raises:
            ArtefactError: it is damaged, or was made for something else.
        """
        if not folder.is_dir() or not any(folder.iterdir()):  # no store keeps empty folders
            source = cls.unshipped(task)
            source.folder = folder
            return source
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
        if not self.ships:
            return Ledger()
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


def method(name: str) -> type[LabelSource[Any]]:
    """The method called `name`.

    Raises:
        UserError: there is none, or it cannot be imported.
    """
    return plugins.load(plugins.METHODS, name)
