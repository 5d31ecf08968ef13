"""The contract of image sources: where a set of distilled images comes from."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic

import torch
from torch import nn

from ..core import plugins
from ..core.device import Compute
from ..core.needs import Needs
from ..core.options import NoOptions, OptionsT, options_of
from ..core.work import Work
from ..data.images import Dataset, ResidentImages

if TYPE_CHECKING:
    from .teachers import Teacher


@dataclass(frozen=True)
class ImageTask:
    """All that an image source is given.

    Attributes:
        ipc: images to make of every class.
        seed: of everything random; the same task gives the same images.
        scratch: a folder for checkpoints and temporary files. After a kill the same source
            is given the same folder again.
        teacher: only for sources that need it.
        base: the images to start from, class by class in label order; only for sources that
            need images.
        others: other real datasets, by their names as for `--dataset`; those that `needs` names.
        part: the classes to make images of, where not all; only for sources that are `by_class`.
    """

    dataset: Dataset
    ipc: int
    seed: int
    compute: Compute
    scratch: Path
    teacher: "Teacher | None" = None
    base: ResidentImages | None = None
    others: Mapping[str, Dataset] = field(default_factory=dict)
    part: range | None = None

    @property
    def classes(self) -> range:
        """The classes to make images of."""
        return range(len(self.dataset.class_names)) if self.part is None else self.part

    @property
    def device(self) -> torch.device:
        """Where images are made."""
        return self.compute.device

    def taught(self) -> "Teacher":
        """The teacher, which is there for sources that need it.

        It maps float pixels in 0..1, (B, C, R, R) on the device, to logits (B, classes); it
        normalises them itself, and is in evaluation mode.
        """
        if self.teacher is None:
            raise RuntimeError("the source must declare in `needs` that it needs a teacher")
        return self.teacher

    def based(self) -> ResidentImages:
        """The images to start from, which are there for sources that need images."""
        if self.base is None:
            raise RuntimeError("the source must declare in `needs` which images it starts from")
        return self.base


class ImageSource(ABC, Generic[OptionsT]):
    """Where a set of distilled images comes from.

    A source is written for the dataclass of its options, `ImageSource[Options]`, or for
    `NoOptions`. It is a pure function of options and task: the same seed gives the same images.

    Class attributes:
        name: what users call it; its file's name, or its entry point's.
        paper: what to cite.
        argument: the option that also stands after a colon, as in `path:PATH`; empty if none.
        draws: the option whose values are draws of the same kind, so that they are repeats of
            one another; empty if none.
        baseline: whether these are real images, which distilled ones must beat.
        labelled: whether its images show the dataset's classes.
        by_class: whether the images of a class owe nothing to those of other classes, so that
            machines side by side make a range of classes each: `make` then gives the images of
            `task.classes` alone.
        brought: whether images and classes are others' work, so that the teacher is asked
            whether they fit.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    argument: ClassVar[str] = ""
    draws: ClassVar[str] = ""
    baseline: ClassVar[bool] = False
    labelled: ClassVar[bool] = True
    by_class: ClassVar[bool] = False
    brought: ClassVar[bool] = False
    Options: ClassVar[type] = NoOptions

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.__module__.split(".")[-1]
        cls.Options = options_of(cls)

    def __init__(self, options: OptionsT) -> None:
        self.options = options

    def needs(self, ipc: int) -> Needs:
        """What `make` is given beside the real dataset, and what the images' key depends on.

        By default nothing. A teacher, images of another source to start from, other datasets,
        files and priors are there, and count by their content, only if they are named here.
        """
        return Needs()

    def work(self, dataset: Dataset, ipc: int) -> Work | None:
        """What `make` takes; None if that is not known. From it a run says how long it will take.

        Args:
            dataset: whose pixels must not be asked for.
        """
        return None

    def validate(self, dataset: Dataset, ipc: int, network: nn.Module) -> None:
        """Refuse what `make` would, as far as that shows before anything is made.

        Args:
            network: of the teacher's kind, its weights unset.

        Raises:
            UserError: says what is wrong and what would be valid.
        """

    @abstractmethod
    def make(self, task: ImageTask) -> ResidentImages:
        """The images: exactly `task.ipc` of every class, class by class in label order.

        They are on the CPU, at the dataset's resolution. Of sources that are `by_class`, those of
        `task.classes`.
        """


def image_source(name: str) -> type[ImageSource[Any]]:
    """The image source called `name`.

    Raises:
        UserError: there is none, or it cannot be imported.
    """
    return plugins.load(plugins.IMAGES, name)
