"""The checks of a dataset: what it loads is whole, and the same each time."""

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ...core import plugins
from ...core.cache import Cache
from ...data.dataset_source import DatasetSource, dataset
from ...data.images import Dataset, Images
from ...data.place import Place
from .checking import Problem, Told, run


@dataclass
class Case:
    """A dataset, with what a colon after its name says, and a place for decoded pixels."""

    source: DatasetSource
    argument: str
    scratch: Path
    loaded: list[Dataset] = field(default_factory=list)

    def load(self) -> Dataset:
        """What the data root of the environment holds."""
        root = os.environ.get("LABELBENCH_DATA")
        place = Place(Path(root) if root else None, Cache(self.scratch / "stages"))
        return self.source.load(place, self.argument)


def checks(name: str, argument: str) -> Told:
    """Run all checks on the dataset called `name`."""
    try:
        source = dataset(name)
    except Exception as error:
        yield "the file defines one DatasetSource", str(error)
        return
    with tempfile.TemporaryDirectory() as scratch:
        case = Case(source, argument, Path(scratch))
        yield from run(plugins.DATASETS, name, case, CHECKS, (loads,))


def loads(case: Case) -> None:
    """`load` gives a Dataset, from LABELBENCH_DATA where it needs files."""
    found = case.load()
    if not isinstance(found, Dataset):
        raise Problem(f"`load` returned {type(found).__name__}, not a Dataset.")
    case.loaded.append(found)


def parts_agree(case: Case) -> None:
    """Training and test images have the same classes, channels and resolution."""
    train, test = case.loaded[0].train, case.loaded[0].test
    for what in ("class_names", "channels", "resolution"):
        one, other = getattr(train, what), getattr(test, what)
        if one != other:
            raise Problem(f"{what} are {one!r} in training and {other!r} in test images.")


def labels_are_classes(case: Case) -> None:
    """Every image has a label, and every class has images."""
    for part in ("train", "test"):
        images: Images = getattr(case.loaded[0], part)
        labels, classes = images.labels, len(images.class_names)
        if len(labels) != len(images) or labels.dtype != torch.int64:
            raise Problem(
                f"`{part}` has {len(images)} images and {len(labels)} labels of {labels.dtype}."
            )
        if not len(labels) or int(labels.min()) < 0 or int(labels.max()) >= classes:
            raise Problem(f"labels of `{part}` must be in 0..{classes - 1}, all of them.")
        empty = torch.nonzero(labels.bincount(minlength=classes) == 0).squeeze(1).tolist()
        if empty:
            names = ", ".join(images.class_names[c] for c in empty[:3])
            raise Problem(f"`{part}` has no image of {names}.")


def pixels_are_bytes(case: Case) -> None:
    """`take` gives uint8 pixels of the size it says."""
    for part in ("train", "test"):
        images: Images = getattr(case.loaded[0], part)
        taken = images.take(torch.arange(min(2, len(images))))
        size = (len(taken), images.channels, images.resolution, images.resolution)
        if taken.dtype != torch.uint8 or tuple(taken.shape) != size:
            raise Problem(f"`{part}.take` gives {taken.dtype} {tuple(taken.shape)}, not {size}.")


def statistics_are_usable(case: Case) -> None:
    """Mean and std have a value a channel, of pixels in 0..1."""
    found = case.loaded[0]
    for what, low in (("mean", 0.0), ("std", 1e-6)):
        values = getattr(found, what)
        if len(values) != found.train.channels or not all(low <= v <= 1 for v in values):
            raise Problem(f"{what} is {values}; it needs {found.train.channels} values in 0..1.")


def loads_the_same(case: Case) -> None:
    """A second `load` gives the same images in the same order."""
    again = case.load()
    for part in ("train", "test"):
        if getattr(again, part).digest != getattr(case.loaded[0], part).digest:
            raise Problem(f"`{part}` differs from one `load` to the next.")


CHECKS = (
    loads,
    parts_agree,
    labels_are_classes,
    pixels_are_bytes,
    statistics_are_usable,
    loads_the_same,
)
