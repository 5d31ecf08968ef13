"""From a grid to artefacts: cells are resolved once, then each stage is made once and kept.

dataset and teacher (`inputs`) -> distilled images (`image_stages`) -> artefact -> student -> record
"""

import math
import shutil
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from ..core import plugins
from ..core.errors import UserError, unknown
from ..core.files import digest, read_json, write_json
from ..core.needs import Needs
from ..core.options import build
from ..data import recipes
from ..data.images import IMAGENET_MEAN, IMAGENET_STD
from ..data.recipe import Recipe
from ..data.recipe_source import RecipeSetting
from ..data.views import ViewPlan
from ..labels import contract, label_shards
from ..labels.contract import LabelSource, method
from ..labels.ensemble import taught_by
from ..labels.label_shards import LabelShards
from ..labels.relabelling import Relabelling
from ..labels.shared_cache import Shared
from ..labels.task import LabelTask, Surround, task_shape
from ..models import networks
from ..models.teachers import PRETRAINED, TeacherOptions
from .dataset_and_teacher import DatasetAndTeacher, Runtime
from .grid import Cell, Grid, Variant, budget_bytes
from .image_stages import ARTEFACT_SEED, ImageStages, ResolvedImages
from .traced import sketch


@dataclass(frozen=True)
class ResolvedLabels:
    """An artefact to be, with all that decides it; several cells share one.

    Attributes:
        options: the method's, made concrete.
        budget: bytes that it may take, where the user set some.
        recipe: of students, whose views and loss these labels are for.
        fitting: the key of what does not depend on the images and the method's options.
        key: of its stage.
    """

    variant: Variant
    images: ResolvedImages
    options: Any
    needs: Needs
    budget: int | None
    plan: ViewPlan
    recipe: Recipe
    fitting: dict[str, Any]
    key: dict[str, Any]

    @cached_property
    def digest(self) -> str:
        """Of the key."""
        return digest(self.key)


@dataclass(frozen=True)
class Resolved:
    """What a run makes of its cells.

    Attributes:
        labels: of each cell that can be run, in their order.
        left_out: cells whose method cannot meet their byte budget, and why.
    """

    labels: dict[Cell, ResolvedLabels] = field(default_factory=dict)
    left_out: dict[Cell, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """A stage's `fit.json`: how long a fit took, and what the method had to tell."""

    seconds: float
    notes: dict[str, Any]


class Experiment(DatasetAndTeacher):
    """All stages of one grid, but for its students."""

    def __init__(self, grid: Grid, runtime: Runtime) -> None:
        super().__init__(grid, runtime)
        # Each is made once for all cells that share it; draws of the images share all but labels.
        self.recipe = cache(self._recipe)
        self.on_protocol = cache(self._on_protocol)
        self.plan = cache(self._plan)
        self.asked = cache(self._asked)
        self._options = cache(self._resolve_options)
        self.image_stages = ImageStages(self)
        self._labels = cache(self._resolve_labels)

    def resolve(self, cells: Sequence[Cell], fetch: bool = True) -> Resolved:
        """Options, keys and needs of all cells, before anything is made.

        Args:
            fetch: whether priors that are not on this machine are downloaded.

        Raises:
            UserError: a name, an option or an input is wrong; says what would be valid.
        """
        self._check_names()
        variants = {cell.variant for cell in cells}
        for variant in variants:
            self.asked(variant)
        sources = {(cell.images, cell.ipc) for cell in cells}
        for source, ipc in sources:
            self.image_stages.base(source, ipc)
        # From here on class counts are needed, and with them the dataset.
        self._check_networks(sources)
        resolved = Resolved()
        for cell in cells:
            found = self._labels(cell.images, cell.ipc, cell.variant, cell.student, fetch)
            if isinstance(found, str):
                resolved.left_out[cell] = found
            else:
                resolved.labels[cell] = found
        return resolved

    def _check_names(self) -> None:
        grid = self.grid
        methods, images = plugins.found(plugins.METHODS), plugins.found(plugins.IMAGES)
        known = ["recipe", "teacher", *images, *methods]
        for key in grid.set:
            if "." not in key:
                raise UserError(f"--set takes NAME.OPTION=VALUE, got {key!r}.")
            if key.partition(".")[0] not in known:
                raise unknown("name to set options of", key.partition(".")[0], known)
        for name in grid.students:
            networks.require(name)
        options = build(TeacherOptions, grid.of("teacher"), "teacher")
        if self.teacher_source[1] is None and options.of_a_file:
            raise UserError(
                f"teacher.{options.of_a_file} is for a teacher from a file; {grid.teacher!r} is "
                "trained here."
            )
        named = {key.partition(".")[0] for key in grid.set} - {"teacher"}
        for name in named & methods.keys():
            build(method(name).Options, grid.of(name), name)
        for source in named & images.keys():
            self.image_stages.options(source)

    def _check_networks(self, sources: Iterable[tuple[str, int]]) -> None:
        network, file = self.teacher_source
        images, classes = self.dataset.train, len(self.dataset.class_names)
        size = (classes, images.channels, images.resolution)
        untrained = self._untrained(network, size, sources)
        for name in self.grid.students:
            solved = any(self.recipe(ipc, name).evaluator == "ridge" for _, ipc in sources)
            try:
                student = networks.create(name, *size) if solved else self._untrained(name, size)
            except (MemoryError, RuntimeError):  # too large for this machine: its cells fail
                continue
            if solved:
                networks.headless(student, classes)
        if file is not None and file != PRETRAINED:
            self.teacher  # noqa: B018 (raises where the file holds another network)
        for source, ipc in sources:
            self.image_stages.validate(source, ipc, untrained)

    def _untrained(
        self, name: str, size: tuple[int, int, int], sources: Iterable[tuple[str, int]] = ()
    ) -> nn.Module:
        """A network of random weights; where a run only looks, a sketch of one if that will do.

        Image sources of this project ask for nothing but batch norms.
        """
        shown = {self.image_stages.options(source)[0] for source, _ in sources}
        ours = all(plugins.is_builtin(plugins.IMAGES, name) for name in shown)
        known = sketch(name, size) if self.runtime.look_only and ours else None
        return networks.create(name, *size) if known is None else known

    def _recipe(self, ipc: int, student: str) -> Recipe:
        """How a student is trained."""
        return recipes.make(self.grid.recipe, self._setting(ipc, student), self.grid.of("recipe"))

    def _on_protocol(self, ipc: int, student: str) -> bool:
        """Whether that is what the recipe says, or was changed."""
        unchanged = recipes.make(self.grid.recipe, self._setting(ipc, student))
        return self.recipe(ipc, student) == unchanged

    def _setting(self, ipc: int, student: str) -> RecipeSetting:
        images = self.dataset.train
        return RecipeSetting(len(images.class_names), ipc, images.resolution, student)

    def _plan(self, ipc: int, student: str) -> ViewPlan:
        """The views that such a student is shown."""
        recipe, dataset = self.recipe(ipc, student), self.dataset
        images, augmentation = ipc * len(dataset.class_names), recipe.augmentation
        if not dataset.mirror:
            augmentation = replace(augmentation, flip=0.0)
        return ViewPlan(
            ARTEFACT_SEED,
            images,
            dataset.train.resolution,
            recipe.batch_size,
            recipe.epochs_of(images),
            augmentation,
        )

    def _asked(self, variant: Variant) -> Any:
        """A variant's options as the user gave them."""
        return build(method(variant.method).Options, dict(variant.options), variant.method)

    def _resolve_options(
        self, ipc: int, variant: Variant, student: str
    ) -> tuple[Any, int | None] | str:
        """A variant's options and byte budget, or why the method cannot meet that."""
        recipe, plan = self.recipe(ipc, student), self.plan(ipc, student)
        whitened = recipe.pixels == "whitened"
        # Of pixels that a look has not read, numbers as long: only bytes follow from them.
        mean, std = (
            tuple(1 / 3 if math.isnan(number) else number for number in numbers)
            for numbers in self._pixels(recipe)
        )
        surround = Surround(plan, recipe.objective, mean, std, whitened)
        shape = task_shape(len(self.dataset.class_names), plan, surround)
        resolve, asked = method(variant.method).resolve_options, self.asked(variant)
        if not variant.budget:
            return resolve(asked, shape, None), None
        budget = budget_bytes(variant.budget, shape.soft_bytes)
        try:
            return resolve(asked, shape, budget), budget
        except UserError as error:
            return str(error)

    def _resolve_labels(
        self, source: str, ipc: int, variant: Variant, student: str, fetch: bool
    ) -> ResolvedLabels | str:
        """An artefact's options and key, or why the method cannot meet its byte budget."""
        found = self._options(ipc, variant, student)
        if isinstance(found, str):
            return found
        options, budget = found
        cls, plan, recipe = (
            method(variant.method),
            self.plan(ipc, student),
            self.recipe(ipc, student),
        )
        needs = cls.needs(options)
        images = self.image_stages.resolve(source, ipc, fetch)
        fitting = {
            "needs": self.content_of(needs, variant.label, fetch),
            "dataset": self.facts,
            "views": asdict(plan.augmentation),
            "seed": ARTEFACT_SEED,
        }
        modules = [cls.__module__, contract.__name__, *map(networks.module_of, needs.networks)]
        fitting = self.key(fitting, *modules)
        key = {
            **fitting,
            "images": digest(images.key),
            "method": variant.method,
            "options": asdict(options),
            "budget": budget,
            "plan": asdict(plan),
            "objective": asdict(recipe.objective),
            "pixels": recipe.pixels,
        }
        return ResolvedLabels(variant, images, options, needs, budget, plan, recipe, fitting, key)

    def labels_folder(self, labels: ResolvedLabels) -> Path:
        """The stage of an artefact: `artefact/` is what ships, `fit.json` tells of the fit."""

        def build_stage(folder: Path) -> None:
            scratch, target = folder / "scratch", folder / "artefact"
            scratch.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            task, shared = self.fitting_task(labels, scratch)
            started = time.perf_counter()
            source = method(labels.variant.method).fit(task, labels.options)
            seconds = time.perf_counter() - started + shared.spared
            seconds += sum(task.label_shards.spared) if task.label_shards else 0.0
            source.save(target)
            shutil.rmtree(scratch)
            write_json(folder / "fit.json", Fit(seconds, source.notes))
            _check_budget(labels, source)

        about = f"{labels.variant.label} on {labels.images.about}"
        return self.cache.make("labels", labels.key, build_stage, about)

    def finished(self, labels: ResolvedLabels) -> tuple[Path, Fit]:
        """A finished artefact's stage, and what its fit told; nothing is made here.

        Raises:
            RuntimeError: it is not there.
        """
        if not self.cache.done("labels", labels.key):
            raise RuntimeError(f"{labels.variant.label} is not fitted, or was damaged meanwhile")
        folder = self.cache.folder("labels", labels.key)
        return folder, read_json(folder / "fit.json", Fit)

    def task(self, labels: ResolvedLabels, seed: int) -> LabelTask:
        """What a source of these labels is loaded with, for a student of this seed."""
        mean, std = self._pixels(labels.recipe)
        return LabelTask(
            images=self.image_stages.images(labels.images),
            plan=labels.plan,
            objective=labels.recipe.objective,
            compute=self.runtime.compute,
            seed=seed,
            mean=mean,
            std=std,
            whitening=self.whitening if labels.recipe.pixels == "whitened" else None,
        )

    def _pixels(self, recipe: Recipe) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation that students normalise by."""
        channels = self.dataset.train.channels
        if recipe.pixels == "imagenet":
            return IMAGENET_MEAN[:channels], IMAGENET_STD[:channels]
        return self.dataset.mean, self.dataset.std

    def fitting_task(self, labels: ResolvedLabels, scratch: Path) -> tuple[LabelTask, Shared]:
        """What a source of these labels is fitted with."""
        shared = Shared(self.cache, labels.fitting)
        task, needs = self.task(labels, ARTEFACT_SEED), labels.needs
        teacher = self.teacher if needs.teacher else None
        fitting = replace(
            task,
            teacher=teacher,
            label_shards=self._shards(labels).of(task.images, teacher),
            train=self.dataset.train,
            snapshot_source=(lambda: self.snapshots) if labels.needs.snapshots else None,
            shared=shared,
            scratch=scratch,
            accepted=self.grid.accept,
        )
        return fitting, shared

    def missing_shards(self, labels: ResolvedLabels) -> dict[Path, Sequence[int]]:
        """The stages of the shards that the fit reads and that are missing, and their batches."""
        asked = self._relabelling(labels)
        return {} if asked is None else self._shards(labels).missing(asked)

    def label_shard(self, labels: ResolvedLabels, part: Sequence[int]) -> None:
        """Make the shard of these batches."""
        asked = self._relabelling(labels)
        with TemporaryDirectory() as scratch:
            task, _ = self.fitting_task(labels, Path(scratch))
            task = taught_by(task, asked.teachers) if asked is not None else task
            assert task.label_shards is not None
            task.label_shards.make(task, part, f"label {len(part)} batches")

    def _relabelling(self, labels: ResolvedLabels) -> Relabelling | None:
        cls = method(labels.variant.method)
        return cls.relabelling(labels.options, labels.plan, ARTEFACT_SEED)

    def _shards(self, labels: ResolvedLabels) -> LabelShards:
        key = {
            "images": digest(labels.images.key),
            "teacher": self.teacher_key if labels.needs.teacher else None,
            "snapshots": self.training_key if labels.needs.snapshots else None,
        }
        key = self.key(key, label_shards.__name__)
        return LabelShards(self.cache, key, labels.plan, len(self.dataset.class_names))

    def missing(self, labels: ResolvedLabels) -> bool:
        """Whether any stage that a student of these labels needs has yet to be made."""
        images = self.image_stages
        return not (
            self.cache.done("labels", labels.key)
            and self.cache.done("images", labels.images.key)
            and self.cache.done("similarity", images.similarity_key(labels.images))
            and self.cache.done("teacher-accuracy", self.tested_key)
        )

    def make_stages(self, labels: ResolvedLabels) -> None:
        """Make all that a student of these labels needs."""
        self.labels_folder(labels)
        self.image_stages.folder(labels.images)
        self.image_stages.similarity(labels.images)
        self.teacher_accuracy()


def _check_budget(labels: ResolvedLabels, source: LabelSource) -> None:
    if labels.budget is None:
        return
    total = source.storage().total
    if total > labels.budget:
        raise UserError(
            f"{labels.variant.label} takes {total:,} bytes, above its budget of "
            f"{labels.budget:,}: the method's `resolve_options` promised less than that."
        )
