"""From a grid to records: each stage keyed by the content of its inputs, made once and kept.

dataset and teacher (`inputs`) -> distilled images (`image_stages`) -> artefact -> student -> record
"""

import json
import shutil
import time
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

from . import code_version, networks, registry
from .contract import LabelSource, LabelTask, task_shape
from .errors import UserError
from .grid import Cell, Grid, Variant, budget_bytes
from .image_stages import ARTEFACT_SEED, PRIOR_CODE, ImageStages
from .inputs import NETWORK_CODE, TRAINING_CODE, Inputs, Runtime
from .options import build, change
from .recipe import RECIPES
from .sharing import Shared
from .teachers import PRETRAINED, TeacherOptions
from .views import ViewPlan

LABEL_CODE = (
    "packing",
    "spool",
    "relabel",
    "ensemble",
    "stored_views",
    "official/file",
    "official/batch",
    "official/folder",
    *PRIOR_CODE,
    "priors/prompts",
    "transfer",
    "weights",
    "image_labels",
    "trials",
    "ridge",
    "student",
    "label_learning/settings",
    "label_learning/learner",
    "label_learning/second_order",
    "label_learning/ridge",
    "label_learning/table",
    "label_learning/resets",
    "label_learning/real",
    "label_learning/run",
    "label_learning/lanes",
    "label_learning/abreast",
    "label_learning/method",
)


class Pipeline(Inputs):
    """All stages of one grid."""

    def __init__(self, grid: Grid, runtime: Runtime) -> None:
        super().__init__(grid, runtime)
        changed = grid.of("recipe")
        self.recipe = change(RECIPES[grid.recipe], changed, "recipe")
        self.on_protocol = self.recipe == RECIPES[grid.recipe]
        self.image_stages = ImageStages(self)
        self.options = cache(self._settled)

    def check(self, cells: list[Cell]) -> None:
        """Refuse whatever names or options are wrong before anything is made.

        Raises:
            UserError: says what is wrong and what would be valid.
        """
        grid = self.grid
        known = ["recipe", "teacher", *registry.image_sources(), *registry.methods()]
        for key in grid.set:
            if "." not in key:
                raise UserError(f"--set takes NAME.OPTION=VALUE, got {key!r}.")
            if key.partition(".")[0] not in known:
                raise registry.unknown("name to set options of", key.partition(".")[0], known)
        for name in grid.students:
            networks.check(name)
        build(TeacherOptions, grid.of("teacher"), "teacher")
        named = {key.partition(".")[0] for key in grid.set} - {"teacher"}
        for name in named & registry.methods().keys():
            build(registry.method(name).Options, grid.of(name), name)
        for source in named & registry.image_sources().keys():
            self.image_stages.options(source)
        sources = {(cell.images, cell.ipc) for cell in cells}
        for source, ipc in sources:
            self.image_stages.base(source, ipc)
        for variant in {cell.variant for cell in cells}:
            self.asked(variant)
        network, file = self.teacher_source
        # From here on class counts are needed, and with them the dataset.
        images, classes = self.dataset.train, len(self.dataset.class_names)
        size = (classes, images.channels, images.resolution)
        untrained = networks.create(network, *size)
        if self.recipe.tester == "ridge":
            for name in grid.students:
                networks.headless(networks.create(name, *size), classes)
        if file is not None and file != PRETRAINED:
            self.teacher  # noqa: B018 (raises where the file holds another network)
        for source, ipc in sources:
            self.image_stages.check(source, ipc, untrained)
        for cell in cells:
            self.labels_key(cell)

    # The way of the data goes on: for each stage its key, then the stage itself.

    def plan(self, ipc: int) -> ViewPlan:
        """The views that students of this grid are shown."""
        recipe, dataset = self.recipe, self.dataset
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

    def _settled(self, variant: Variant, ipc: int) -> Any:
        """A variant's options, checked and made concrete."""
        shape = task_shape(len(self.dataset.class_names), self.plan(ipc))
        budget = budget_bytes(variant.budget, shape.soft_bytes) if variant.budget else None
        return registry.method(variant.method).settle(self.asked(variant), shape, budget)

    def asked(self, variant: Variant) -> Any:
        """A variant's options as the user gave them."""
        method = registry.method(variant.method)
        return build(method.Options, dict(variant.options), variant.method)

    def labels_key(self, cell: Cell) -> dict[str, Any]:
        """What decides an artefact."""
        name = cell.variant.method
        options = self.options(cell.variant, cell.ipc)
        path, prior = getattr(options, "path", None), getattr(options, "prior", None)
        return {
            "images": self.image_stages.key(cell.images, cell.ipc),
            "method": name,
            "options": asdict(options),
            "content": self.content(Path(path)) if path else None,
            "prior": self.prior_content(prior) if prior else None,
            "plan": asdict(self.plan(cell.ipc)),
            "objective": asdict(self.recipe.objective),
            **self._fitting_key(cell.variant, cell.ipc),
        }

    def _fitting_key(self, variant: Variant, ipc: int) -> dict[str, Any]:
        """What decides a fit, but for the distilled images and the method's options."""
        weak = getattr(self.options(variant, ipc), "teachers", None) == "trajectory"
        core = ("contract", "artefact", *LABEL_CODE, *TRAINING_CODE, *NETWORK_CODE)
        return {
            "teacher": self.teacher_key,
            "weak": self.training_key if weak else None,
            "seed": ARTEFACT_SEED,
            "code": [
                code_version.of_modules(*core),
                code_version.of_files(registry.sources_of(variant.method)),
            ],
        }

    def labels_folder(self, cell: Cell) -> Path:
        """The stage of an artefact: `artefact/` is what ships, `fit.json` tells of the fit."""
        method = registry.method(cell.variant.method)

        def build_stage(folder: Path) -> None:
            scratch, target = folder / "scratch", folder / "artefact"
            scratch.mkdir(exist_ok=True)
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            task, shared = self.fitting_task(cell, scratch)
            started = time.perf_counter()
            source = method.fit(task, self.options(cell.variant, cell.ipc))
            seconds = time.perf_counter() - started + shared.spared
            source.save(target)
            shutil.rmtree(scratch)
            (folder / "fit.json").write_text(json.dumps({"seconds": seconds, **source.notes}))
            self._check_budget(cell, source)

        return self.stages.make("labels", self.labels_key(cell), build_stage)

    def task(self, cell: Cell, seed: int) -> LabelTask:
        """What a source of this cell is loaded with, for a student of this seed."""
        return LabelTask(
            images=self.image_stages.images(cell.images, cell.ipc),
            plan=self.plan(cell.ipc),
            objective=self.recipe.objective,
            compute=self.runtime.compute,
            seed=seed,
            mean=self.dataset.mean,
            std=self.dataset.std,
        )

    def fitting_task(self, cell: Cell, scratch: Path) -> tuple[LabelTask, Shared]:
        """What a source of this cell is fitted with."""
        task = self.task(cell, ARTEFACT_SEED)
        common = {
            **self._fitting_key(cell.variant, cell.ipc),
            "train": self.dataset.train.digest,
            "classes": self.dataset.class_names,
            "views": asdict(task.plan.augmentation),
        }
        shared = Shared(self.stages, common)
        fitting = replace(
            task,
            teacher=self.teacher,
            train=self.dataset.train,
            weak=lambda: self.weak_teachers,
            shared=shared,
            scratch=scratch,
        )
        return fitting, shared

    def _check_budget(self, cell: Cell, source: LabelSource) -> None:
        if cell.variant.budget is None:
            return
        total, shape = source.storage().total, source.task.shape
        budget = budget_bytes(cell.variant.budget, shape.soft_bytes)
        if total > budget:
            raise UserError(
                f"{cell.variant.label} takes {total:,} bytes, above its budget of {budget:,}: "
                "the method's `settle` promised less than its artefact takes."
            )
