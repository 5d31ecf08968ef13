"""Distilled images as stages: each source's made once and kept, after those it starts from."""

import json
import shutil
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from . import code_version, distilled, registry
from .distilled import ImageTask
from .errors import UserError
from .grid import parse_images
from .images import ResidentImages
from .inputs import Inputs
from .options import build
from .similarity import within_class

ARTEFACT_SEED = 0
IMAGE_CODE = ("views", "render", "batch_norm", "training")
PRIOR_CODE = (
    "priors/__init__",
    "priors/prior",
    "priors/source",
    "priors/clips",
    "priors/backbones",
)


class ImageStages:
    """The image stages of one grid; a `source` is written as in its cells."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self._other = cache(inputs.open)
        self._resident: tuple[Path, ResidentImages] | None = None

    def options(self, source: str) -> tuple[str, Any]:
        """A source's name, and its options: those in brackets before those of `--set`.

        Raises:
            UserError: there is no such source or option, or a value is refused.
        """
        name, given = parse_images(source)
        module = registry.image_source(name)
        return name, build(module.Options, self.inputs.grid.of(name) | given, name)

    def base(self, source: str, ipc: int) -> tuple[str, int] | None:
        """The source and IPC of the images that these are made from; None if from none.

        Raises:
            UserError: there is no such source, or it starts from images of others itself.
        """
        name, options = self.options(source)
        module = registry.image_source(name)
        if not hasattr(module, "base"):
            return None
        base, base_ipc = module.base(options, ipc)
        base_name, _ = self.options(base)
        if hasattr(registry.image_source(base_name), "base"):
            raise UserError(
                f"{source!r} cannot start from images of {base!r}, which starts from those of "
                "another source itself."
            )
        return base, base_ipc

    def check(self, source: str, ipc: int, network: nn.Module) -> None:
        """Refuse what a source, or the one that it starts from, would; see `datasets.distilled`.

        Raises:
            UserError: says what is wrong and what would be valid.
        """
        name, options = self.options(source)
        registry.image_source(name).check(self.inputs.dataset, ipc, options, network)
        if base := self.base(source, ipc):
            try:
                self.check(*base, network)
            except UserError as error:
                raise UserError(
                    f"{source} at IPC {ipc} starts from {base[0]} at IPC {base[1]}: {error}"
                ) from error

    def key(self, source: str, ipc: int) -> dict[str, Any]:
        """What decides the images."""
        name, options = self.options(source)
        key: dict[str, Any] = {
            "source": name,
            "options": asdict(options),
            "ipc": ipc,
            "seed": ARTEFACT_SEED,
            "train": self.inputs.dataset.train.digest,
            "code": code_version.of_files(
                [*registry.image_sources().values(), *code_version.paths(*IMAGE_CODE)]
            ),
        }
        if registry.image_source(name).NEEDS_TEACHER:
            key["teacher"] = self.inputs.teacher_key
        if path := getattr(options, "path", None):
            key["content"] = self.inputs.content(Path(path))
        if prior := getattr(options, "prior", None):
            weights = self.inputs.prior_content(prior)
            key["prior"] = [weights, code_version.of_modules(*PRIOR_CODE)]
        if other := getattr(options, "dataset", None):
            key["dataset"] = self._other(other).train.digest
        if base := self.base(source, ipc):
            key["base"] = self.key(*base)
        return key

    def folder(self, source: str, ipc: int) -> Path:
        """The images' stage."""
        name, options = self.options(source)
        module, inputs = registry.image_source(name), self.inputs

        def build_stage(folder: Path) -> None:
            scratch = folder / "scratch"
            scratch.mkdir(exist_ok=True)
            base = self.base(source, ipc)
            task = ImageTask(
                inputs.dataset,
                ipc,
                ARTEFACT_SEED,
                inputs.runtime.compute,
                scratch,
                inputs.teacher if module.NEEDS_TEACHER else None,
                self.images(*base) if base else None,
                self._other if hasattr(options, "dataset") else None,
            )
            distilled.write(folder, module.make(task, options))
            shutil.rmtree(scratch)

        return inputs.stages.make("images", self.key(source, ipc), build_stage)

    def images(self, source: str, ipc: int) -> ResidentImages:
        """The images, on the device."""
        folder = self.folder(source, ipc)
        if self._resident is None or self._resident[0] != folder:
            self._resident = folder, distilled.read(folder, self.inputs.runtime.compute.device)
        return self._resident[1]

    def similarity(self, source: str, ipc: int) -> float | None:
        """How alike the teacher finds the images of a class; decides nothing."""
        inputs = self.inputs

        def build_stage(folder: Path) -> None:
            images = self.images(source, ipc)
            value = within_class(inputs.teacher, images, inputs.runtime.compute)
            (folder / "similarity.json").write_text(json.dumps({"similarity": value}))

        key = {
            "images": self.key(source, ipc),
            "teacher": inputs.teacher_key,
            "code": code_version.of_modules("similarity"),
        }
        folder = inputs.stages.make("similarity", key, build_stage)
        return json.loads((folder / "similarity.json").read_text())["similarity"]
