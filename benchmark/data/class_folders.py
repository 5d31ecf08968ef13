"""Class folders: one folder of pictures a class, in the order that labels count them."""

from pathlib import Path

from ..core.errors import UserError

SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")


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
    """The pictures of one class folder, in name order."""
    files = (p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
    return sorted(files, key=lambda path: path.name)
