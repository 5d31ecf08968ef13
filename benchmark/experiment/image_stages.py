"""Distilled images as stages: each source's made once and kept, after those it starts from."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import PIL
import torch
from torch import nn

from ..core.errors import UserError
from ..core.facts import fact
from ..core.files import digest, read_json, write_json
from ..core.needs import Needs
from ..core.options import build
from ..data import distilled
from ..data.images import ResidentImages
from ..data.picture_bytes import FORMS, picture_bytes
from ..models import joins
from ..models.image_source import ImageTask, image_source
from ..models.networks import module_of
from .dataset_and_teacher import DatasetAndTeacher
from .grid import parse_images, written_images
from .similarity import within_class

ARTEFACT_SEED = 0
PART = "image-part"  # kind of the stages of a range of classes
MOST_PARTS, LEAST_CLASSES = 32, 5  # of images that are made in parts; of a part
LARGE = 64 * 2**20  # bytes of images that are made in parts, so that a kill loses only one


@dataclass(frozen=True)
class ResolvedImages:
    """An image source at one IPC, with all that decides what it makes.

    Attributes:
        source: as cells write it; `name` and `options` taken apart.
        key: of its stage.
        base: the images it starts from, if from any.
    """

    source: str
    name: str
    options: Any
    ipc: int
    needs: Needs
    key: dict[str, Any]
    base: "ResolvedImages | None"

    @property
    def about(self) -> str:
        """In a line."""
        return f"{self.source} IPC {self.ipc}"


@dataclass(frozen=True)
class Similarity:
    """A stage's `similarity.json`: mean cosine within a class; None at one image a class."""

    similarity: float | None


class ImageStages:
    """The image stages of one grid."""

    def __init__(self, given: DatasetAndTeacher) -> None:
        self.given = given
        self.resolve = cache(self._resolve)
        self.options = cache(self._options)
        self.without_draw = cache(self._without_draw)
        self._resident: tuple[Path, ResidentImages] | None = None

    def _options(self, source: str) -> tuple[str, Any]:
        """A source's name, and its options: those in brackets before those of `--set`.

        Raises:
            UserError: there is no such source or option, or a value is refused.
        """
        name, argument, options = parse_images(source)
        cls = image_source(name)
        if argument and not cls.argument:
            raise UserError(f"Image source {name!r} takes nothing after a colon, got {argument!r}.")
        if argument:
            options = {cls.argument: argument, **options}
        return name, build(cls.Options, self.given.grid.of(name) | options, name)

    def _without_draw(self, source: str) -> tuple[str, int]:
        """A source as written but for the option that draws, and that draw."""
        name, options = self.options(source)
        draws = image_source(name).draws
        if not draws:
            return source, 0
        _, argument, given = parse_images(source)
        given.pop(draws, None)
        return written_images(name, argument, given), getattr(options, draws)

    def base(self, source: str, ipc: int) -> tuple[str, int] | None:
        """The source and IPC of the images that these are made from; None if from none.

        Raises:
            UserError: there is no such source, or it starts from images of others itself.
        """
        name, options = self.options(source)
        base = image_source(name)(options).needs(ipc).images
        if base is None:
            return None
        base_name, base_options = self.options(base[0])
        if image_source(base_name)(base_options).needs(base[1]).images is not None:
            raise UserError(
                f"{source!r} cannot start from images of {base[0]!r}, which starts from those of "
                "another source itself."
            )
        return base

    def validate(self, source: str, ipc: int, network: nn.Module) -> None:
        """Refuse what a source, or the one that it starts from, would; see `ImageSource.validate`.

        Raises:
            UserError: says what is wrong and what would be valid.
        """
        name, options = self.options(source)
        image_source(name)(options).validate(self.given.dataset, ipc, network)
        if base := self.base(source, ipc):
            try:
                self.validate(*base, network)
            except UserError as error:
                raise UserError(
                    f"{source} at IPC {ipc} starts from {base[0]} at IPC {base[1]}: {error}"
                ) from error

    def _resolve(self, source: str, ipc: int, fetch: bool) -> ResolvedImages:
        """The source with its key; `fetch` and errors as for `DatasetAndTeacher.content_of`."""
        name, options = self.options(source)
        source_of, given = image_source(name), self.given
        needs = source_of(options).needs(ipc)
        base = self.resolve(*needs.images, fetch) if needs.images else None
        key = {
            "source": name,
            "options": asdict(options),
            "ipc": ipc,
            "seed": ARTEFACT_SEED,
            "dataset": given.facts,
            "needs": given.content_of(needs, source, fetch),
            "base": base.key if base else None,
        }
        roots = [source_of.__module__, distilled.__name__, *map(module_of, needs.networks)]
        return ResolvedImages(source, name, options, ipc, needs, given.key(key, *roots), base)

    def folder(self, resolved: ResolvedImages) -> Path:
        """The images' stage."""

        def build_stage(folder: Path) -> None:
            train, parts = self.given.dataset.train, self.parts(resolved)
            size = resolved.ipc * len(train.class_names) * train.channels * train.resolution**2
            begun = any(self.has(resolved, part) for part in parts)
            if len(parts) > 1 and (begun or size > LARGE):
                cpu = torch.device("cpu")
                made = [distilled.read(self.part(resolved, part), cpu) for part in parts]
                scratch = folder / "joined"
                distilled.write(folder, _joined(made, scratch))
                scratch.unlink()
            else:
                self._make(resolved, folder, None)

        return self.given.cache.make("images", resolved.key, build_stage, resolved.about)

    def parts(self, resolved: ResolvedImages) -> list[range]:
        """The ranges of classes that the images can be made in, by processes side by side."""
        count = len(self.given.dataset.class_names)
        number = min(MOST_PARTS, count // LEAST_CLASSES)
        if not image_source(resolved.name).by_class or number < 2:
            return [range(count)]
        ends = [count * n // number for n in range(number + 1)]
        return [range(first, end) for first, end in pairwise(ends)]

    def part(self, resolved: ResolvedImages, classes: range) -> Path:
        """The stage of the images of one of these ranges."""
        key = _part_key(resolved, classes)
        return self.given.cache.make(PART, key, lambda f: self._make(resolved, f, classes))

    def has(self, resolved: ResolvedImages, classes: range) -> bool:
        """Whether that is there."""
        return self.given.cache.done(PART, _part_key(resolved, classes))

    def _make(self, resolved: ResolvedImages, folder: Path, classes: range | None) -> None:
        """Have the source make the images of some classes, or of all."""
        given, needs, scratch = self.given, resolved.needs, folder / "scratch"
        scratch.mkdir(exist_ok=True)
        task = ImageTask(
            given.dataset,
            resolved.ipc,
            ARTEFACT_SEED,
            given.runtime.compute,
            scratch,
            given.teacher if needs.teacher else None,
            self.images(resolved.base) if resolved.base else None,
            {name: given.open(name) for name in needs.datasets},
            classes,
        )
        made = image_source(resolved.name)(resolved.options).make(task)
        distilled.write(folder, made)
        shutil.rmtree(scratch)

    def images(self, resolved: ResolvedImages) -> ResidentImages:
        """The images, on the device."""
        folder = self.folder(resolved)
        if self._resident is None or self._resident[0] != folder:
            given = self.given
            found = distilled.read(folder, given.runtime.compute.device)
            if image_source(resolved.name).brought:
                joins.check_images(
                    found, given.teacher, given.runtime.compute, resolved.source, given.grid.accept
                )
            self._resident = folder, found
        return self._resident[1]

    def picture_bytes(self, resolved: ResolvedImages) -> dict[str, int]:
        """The images' bytes as PNG and JPEG files; decides nothing."""
        images = self.images(resolved)
        follows = [images.digest, FORMS, PIL.__version__]
        found = fact(self.given.cache, "pictures", follows, lambda: picture_bytes(images))
        assert found is not None  # records are made where the cache is not only looked at
        return found

    def similarity_key(self, resolved: ResolvedImages) -> dict[str, Any]:
        """What decides how alike the images of a class are."""
        key = {"images": digest(resolved.key), "teacher": self.given.teacher_key}
        return self.given.key(key, within_class.__module__)

    def similarity(self, resolved: ResolvedImages) -> float | None:
        """How alike the teacher finds the images of a class; decides nothing."""
        given = self.given

        def build_stage(folder: Path) -> None:
            images = self.images(resolved)
            value = within_class(given.teacher, images, given.runtime.compute)
            write_json(folder / "similarity.json", Similarity(value))

        folder = given.cache.make("similarity", self.similarity_key(resolved), build_stage)
        return read_json(folder / "similarity.json", Similarity).similarity


def _joined(parts: Sequence[ResidentImages], scratch: Path) -> ResidentImages:
    """The images of all parts, whose pixels are mapped from a new file and not in memory."""
    shape = (sum(map(len, parts)), *parts[0].pixels.shape[1:])
    file = torch.from_file(str(scratch), shared=True, size=math.prod(shape), dtype=torch.uint8)
    pixels = file.view(shape)
    for rows, part in zip(pixels.split([*map(len, parts)]), parts, strict=True):
        rows.copy_(part.pixels)
    labels = torch.cat([part.labels for part in parts])
    return ResidentImages(pixels, labels, parts[0].class_names)


def _part_key(resolved: ResolvedImages, classes: range) -> dict[str, Any]:
    return {**resolved.key, "classes": [classes.start, classes.stop]}
