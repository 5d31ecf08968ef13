"""What a grid starts from: the real dataset, its teacher, and weak ones; made once and kept."""

import json
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property
from inspect import signature
from pathlib import Path
from typing import Any

from . import code_version, registry, teachers
from .classifier import correct
from .device import Compute
from .errors import UserError
from .grid import Grid
from .images import Dataset, ResidentImages
from .options import build
from .priors import content as prior_content
from .stages import Stages, content_digest, file_digest
from .teachers import PRETRAINED, Teacher, TeacherOptions

TRAINING_CODE = ("training", "classifier", "views", "render", "recipe")
NETWORK_CODE = ("networks", "convnet", "cifar_resnet", "lenet")


@dataclass(frozen=True)
class Runtime:
    """Where and on what a run works; nothing here changes what is measured.

    Attributes:
        work: folder of stages, checkpoints and records.
        data_root: of local copies of datasets.
        force: measure finished cells anew, from the artefacts that are there.
        together: base sets whose labels are learned side by side, at most.
    """

    work: Path
    compute: Compute
    data_root: Path | None
    download: bool = False
    force: bool = False
    together: int = 1


class Inputs:
    """Dataset and teachers of one grid; for each stage its key, then the stage itself."""

    def __init__(self, grid: Grid, runtime: Runtime) -> None:
        self.grid, self.runtime = grid, runtime
        self.stages = Stages(runtime.work / "stages")
        # Folders of others' images and labels, and priors, are large: read once, not once a cell.
        self.content = cache(content_digest)
        self.prior_content = cache(prior_content)

    @cached_property
    def dataset(self) -> Dataset:
        """The real dataset."""
        return self.open(self.grid.dataset)

    def open(self, text: str) -> Dataset:
        """Any real dataset, named as for `--dataset`.

        Raises:
            UserError: there is no such dataset, or it is not on this machine.
        """
        from .datasets.place import Place  # type: ignore[import-not-found]

        name, _, path = text.partition(":")
        module = registry.dataset(name)
        place = Place(self.runtime.data_root, self.stages, self.runtime.download)
        if path and len(signature(module.load).parameters) == 1:
            raise UserError(f"Dataset {name!r} takes nothing after a colon, got {path!r}.")
        loaded: Dataset = module.load(place, path) if path else module.load(place)
        device = self.runtime.compute.device
        if device.type == "cuda" and isinstance(loaded.train, ResidentImages):
            loaded = replace(loaded, train=loaded.train.to(device))
        return loaded

    @cached_property
    def teacher_key(self) -> dict[str, Any]:
        """What decides the teacher's weights."""
        network, file = self.teacher_source
        key = {"network": network, "train": self.dataset.train.digest}
        if file is not None:
            return {**key, "file": str(file) if file == PRETRAINED else file_digest(file)}
        return self.training_key

    @cached_property
    def training_key(self) -> dict[str, Any]:
        """What decides a teacher that is trained here, and its snapshots."""
        return {
            "network": self.teacher_source[0],
            "train": self.dataset.train.digest,
            "options": asdict(self._teacher_options),
            "code": code_version.of_modules("teachers", *TRAINING_CODE, *NETWORK_CODE),
        }

    def _trained(self) -> Path:
        """The stage of a teacher that is trained here, and its snapshots."""
        network, options = self.teacher_source[0], self._teacher_options
        compute = self.runtime.compute
        return self.stages.make(
            "teacher",
            self.training_key,
            lambda f: teachers.trained(network, self.dataset, options, compute, f),
        )

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher, on the device."""
        network, file = self.teacher_source
        images, compute = self.dataset.train, self.runtime.compute
        classes = len(self.dataset.class_names)
        if file == PRETRAINED:
            return teachers.pretrained(network, classes, compute.device)
        if file is None:
            file = self._trained() / teachers.WEIGHTS
        size = (classes, images.channels, images.resolution)
        return teachers.load(network, file, *size, compute.device)

    @cached_property
    def weak_teachers(self) -> list[Teacher]:
        """Snapshots along one training of the teacher's network, on the device.

        A teacher from a file has no training to look back on: one is made for them.
        """
        images, folder = self.dataset.train, self._trained()
        size = (len(self.dataset.class_names), images.channels, images.resolution)
        device = self.runtime.compute.device
        return [
            teachers.load(self.teacher_source[0], file, *size, device)
            for file in sorted(folder.glob(teachers.SNAPSHOTS))
        ]

    @cached_property
    def teacher_accuracy(self) -> float:
        """Of the teacher on the test set, measured here; decides nothing."""

        def build_stage(folder: Path) -> None:
            right = correct(self.teacher, self.dataset.test, self.runtime.compute)
            value = {"accuracy": right.double().mean().item()}
            (folder / "accuracy.json").write_text(json.dumps(value))

        key = {"teacher": self.teacher_key, "test": self.dataset.test.digest}
        folder = self.stages.make("teacher-accuracy", key, build_stage)
        return json.loads((folder / "accuracy.json").read_text())["accuracy"]

    @property
    def _teacher_options(self) -> TeacherOptions:
        return build(TeacherOptions, self.grid.of("teacher"), "teacher")

    @property
    def teacher_source(self) -> tuple[str, Path | None]:
        return teachers.find(self.grid.teacher, self.runtime.data_root)
