"""The contract of datasets: where one real dataset comes from."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ..core import plugins
from .images import Dataset
from .place import Place


class DatasetSource(ABC):
    """Where one real dataset comes from.

    Class attributes:
        name: what users call it; its file's name, or its entry point's.
        paper: what to cite.
        argument: what a colon after the name takes, such as `PATH`; empty if nothing.
    """

    name: ClassVar[str]
    paper: ClassVar[str] = ""
    argument: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.name = cls.__module__.split(".")[-1]

    @abstractmethod
    def load(self, place: Place, argument: str = "") -> Dataset:
        """Its training and test images, with class names and the statistics of its pixels.

        Args:
            place: where data lies on this machine, and where decoded pixels are kept.
            argument: what stood after a colon.

        Raises:
            UserError: the data is not there, or damaged; says what to put where.
        """


def dataset(name: str) -> DatasetSource:
    """The dataset called `name`, which holds nothing after a colon.

    Raises:
        UserError: there is none, or it cannot be imported.
    """
    cls: type[Any] = plugins.load(plugins.DATASETS, name)
    return cls()
