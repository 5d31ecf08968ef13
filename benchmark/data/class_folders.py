"""Class folders: one folder of pictures a class, listed as torchvision's `ImageFolder` lists them.

There are two orders, and both are kept: images stand class by class in label order, and labels of
others count the pictures in the order of `ImageFolder`, whose class folders are sorted as text.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..core.bounded import short
from ..core.errors import UserError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NUMBERED = re.compile(r"(?:new)?(\d{1,9})")  # as RDED and SRe2L name class folders
WORDNET = re.compile(r"n\d{8}")


def class_folders(folder: Path) -> list[str]:
    """The names of a folder's class folders, sorted as text.

    Raises:
        UserError: there is no such folder, or no class folder in it.
    """
    found = folder.is_dir() and sorted(
        path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != "."
    )
    if not found:
        raise UserError(f"{str(folder)!r} holds no class folders; put one folder a class there.")
    return found


def image_files(folder: Path) -> list[Path]:
    """The pictures of one class folder and of folders within, in the order of ImageFolder.

    Folders are sorted by path, then files by name; what begins with a dot is left out.

    Raises:
        UserError: a link leads to a folder that is in it already.
    """
    walked: dict[str, list[str]] = {}
    places: set[str] = set()
    for root, _, names in os.walk(folder, followlinks=True):
        walked[root] = names
        place = os.path.realpath(root)
        if place in places:  # its pictures would count twice, or without end
            raise UserError(f"{root!r} links to a folder that is in {str(folder)!r} already.")
        places.add(place)
    found: list[Path] = []
    for root in sorted(walked):
        inner = Path(root)
        if not any(part[0] == "." for part in inner.relative_to(folder).parts):
            shown = (name for name in sorted(walked[root]) if name[0] != ".")
            found += [inner / name for name in shown if name.lower().endswith(SUFFIXES)]
    return found


def by_number(names: Sequence[str], folder: Path) -> list[str] | None:
    """Class folders by the number that each is called by (`00012`, `new00012`).

    Returns:
        Their names in the order of their numbers; None where none has one.

    Raises:
        UserError: some only are numbered, or not 0, 1, 2, ...
    """
    numbered = [match for name in names if (match := NUMBERED.fullmatch(name))]
    if not numbered:
        return None
    if len(numbered) < len(names):
        other = next(name for name in names if not NUMBERED.fullmatch(name))
        raise UserError(
            f"The class folders of {str(folder)!r} are numbered but for {short(other)!r}: number "
            "all of them, or none."
        )
    by_label = {int(match[1]): match[0] for match in numbered}
    if sorted(by_label) != list(range(len(names))):
        raise UserError(
            f"The class folders of {str(folder)!r} are numbered {min(by_label)} to "
            f"{max(by_label)}; they must be 0 to {len(names) - 1}, each once."
        )
    return [by_label[label] for label in range(len(names))]


def in_label_order(names: Sequence[str], class_names: Sequence[str], folder: Path) -> list[str]:
    """The class folders' names (sorted as text) in the order of a dataset's labels.

    By class name, where these are the dataset's; else by number; else as sorted, if they are
    WordNet ids.

    Raises:
        UserError: they are none of these, so that nothing says which class each one is.
    """
    if set(names) == set(class_names):
        return list(class_names)
    if numbered := by_number(names, folder):
        return numbered
    if all(WORDNET.fullmatch(name) for name in names):
        return list(names)
    alone = [short(name) for name in names if name not in set(class_names)]
    lacking = [short(name) for name in class_names if name not in set(names)]
    raise UserError(
        f"The class folders of {str(folder)!r} are not the dataset's classes. Only there: "
        f"{_some(alone)}; only in the dataset: {_some(lacking)}. Name folders by class, by number "
        "(0, 1, ...), or by WordNet id."
    )


def positions(folders: Sequence[str], counts: Sequence[int]) -> Tensor:
    """Where `ImageFolder` lists each picture, int64 (N,), of pictures in label order.

    Args:
        folders: the class folders' names in label order.
        counts: pictures in each.
    """
    as_listed = sorted(range(len(folders)), key=lambda label: folders[label])
    start, starts = 0, [0] * len(folders)
    for label in as_listed:
        starts[label], start = start, start + counts[label]
    return torch.cat(
        [torch.arange(first, first + count) for first, count in zip(starts, counts, strict=True)]
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:10])
    return f"{shown}{', ...' if len(names) > 10 else ''}" or "none"
