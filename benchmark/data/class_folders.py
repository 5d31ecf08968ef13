"""Class folders: one folder of pictures a class, in the order that labels count them."""

import os
from pathlib import Path

from ..core.errors import UserError

# Those of torchvision's ImageFolder.
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


def class_folders(folder: Path) -> list[str]:
    """The names of a folder's class folders, sorted.

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
