"""The checks of an image source, on real digits: the right images, and the same each time."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ...core import plugins
from ...core.cache import Cache
from ...core.device import choose
from ...core.needs import Needs
from ...core.options import build
from ...data.dataset_source import dataset
from ...data.images import UNLABELLED, Dataset, ResidentImages
from ...data.place import Place
from ...models.image_source import ImageSource, ImageTask, image_source
from ...models.teachers import Teacher
from .checking import Problem, Told, run
from .method_fit import tiny_teacher

IPC = 2
TEACHER = "convnet-d3-w16-bn"  # with the statistics that some sources invert


@dataclass
class Case:
    """A source with its options, and the real digits that it is given."""

    source: ImageSource[Any]
    scratch: Path
    data: Dataset
    teacher: Teacher
    made: list[ResidentImages] = field(default_factory=list)

    def make(self, run: int, part: range | None = None) -> ResidentImages:
        """The images, from what the source says that it needs; of some classes, or of all."""
        needs = self.source.needs(IPC)
        scratch = self.scratch / str(run)
        scratch.mkdir()
        base = None
        if needs.images is not None:
            first = self.data.train
            chosen = torch.cat(
                [torch.nonzero(first.labels == c).squeeze(1)[: needs.images[1]] for c in range(10)]
            )
            base = ResidentImages(first.take(chosen), first.labels[chosen], first.class_names)
        return self.source.make(
            ImageTask(
                self.data,
                IPC,
                0,
                choose("cpu", "fp32"),
                scratch,
                self.teacher if needs.teacher else None,
                base,
                {name: self._other(name) for name in needs.datasets},
                part,
            )
        )

    def _other(self, text: str) -> Dataset:
        name, _, argument = text.partition(":")
        return dataset(name).load(Place(None, Cache(self.scratch / "stages")), argument)


def checks(name: str, argument: str) -> Told:
    """Run all checks on the image source called `name`."""
    try:
        cls = image_source(name)
        options = build(cls.Options, {cls.argument: argument} if argument else {}, name)
    except Exception as error:
        yield "the file defines one ImageSource, whose options have defaults", str(error)
        return
    with tempfile.TemporaryDirectory() as scratch:
        data = dataset("digits").load(Place(None, Cache(Path(scratch) / "stages")))
        teacher = tiny_teacher(Path(scratch), data, TEACHER)
        case = Case(cls(options), Path(scratch), data, teacher)
        yield from run(plugins.IMAGES, name, case, CHECKS, (declares, makes))


def declares(case: Case) -> None:
    """`needs` says what `make` is given, and `validate` lets the digits pass."""
    needs = case.source.needs(IPC)
    if not isinstance(needs, Needs):
        raise Problem(f"`needs` returned {type(needs).__name__}, not benchmark.Needs.")
    case.source.validate(case.data, IPC, case.teacher)


def makes(case: Case) -> None:
    """`make` gives ResidentImages on the CPU."""
    made = case.make(0)
    if not isinstance(made, ResidentImages):
        raise Problem(f"`make` returned {type(made).__name__}, not ResidentImages.")
    if made.pixels.device.type != "cpu" or made.pixels.dtype != torch.uint8:
        raise Problem(f"pixels are {made.pixels.dtype} on {made.pixels.device}, not uint8 on cpu.")
    case.made.append(made)


def counts(case: Case) -> None:
    """There are exactly IPC images of every class, class by class in label order."""
    made, names = case.made[0], case.data.train.class_names
    if tuple(made.class_names) != tuple(names):
        raise Problem("class names are not the dataset's, in their order.")
    expected = torch.arange(len(names)).repeat_interleave(IPC)
    if not case.source.labelled:
        expected = torch.full_like(expected, UNLABELLED)
    if not torch.equal(made.labels, expected):
        raise Problem(f"labels are {made.labels.tolist()}, not {expected.tolist()}.")


def fits(case: Case) -> None:
    """Images have the dataset's channels and resolution."""
    made, train = case.made[0], case.data.train
    size = (len(made.labels), train.channels, train.resolution, train.resolution)
    if tuple(made.pixels.shape) != size:
        raise Problem(f"pixels are {tuple(made.pixels.shape)}, not {size}.")


def repeats(case: Case) -> None:
    """The same task gives the same images again."""
    if case.make(1).digest != case.made[0].digest:
        raise Problem("a second `make` gave other images: draw from the task's seed alone.")


def divides(case: Case) -> None:
    """A source that is `by_class` gives the same images a range of classes at a time."""
    if case.source.by_class:
        made = [case.make(2, range(3)), case.make(3, range(3, 10))]
        pixels, labels = (torch.cat([getattr(p, n) for p in made]) for n in ("pixels", "labels"))
        whole = case.made[0]
        if not (torch.equal(pixels, whole.pixels) and torch.equal(labels, whole.labels)):
            raise Problem(
                "classes 0..2 and 3..9 made apart are not the images of all: `make` must give "
                "those of `task.classes`, each class by itself, or leave `by_class` out."
            )


CHECKS = (declares, makes, counts, fits, repeats, divides)
