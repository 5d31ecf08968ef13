"""What a method or an image source depends on beside its task, its options and its code."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Needs:
    """Declared by `needs(options)`: given to `fit` or `make`, and part of the key of the result.

    What is not declared is not given, so that nothing can count without being in the key.

    Attributes:
        teacher: the classifier whose soft labels are compressed.
        snapshots: weak teachers along one training of the teacher's network.
        files: files and folders, by their content.
        priors: public models by name, by the content of their weights.
        networks: that are built and trained on the way, by name.
        datasets: other real datasets, named as for `--dataset`.
        images: the images to start from: an image source as cells name it, and its IPC. Only
            for image sources.
    """

    teacher: bool = False
    snapshots: bool = False
    files: tuple[Path, ...] = ()
    priors: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    images: tuple[str, int] | None = None
