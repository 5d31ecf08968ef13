"""Class folders whose pictures are decoded as they are read."""

from pathlib import Path

import numpy as np

from benchmark.core import bounded
from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.core.progress import track
from benchmark.data.class_folders import SUFFIXES, image_files
from benchmark.data.images import Encoded
from benchmark.data.picture_index import IndexWriter, index
from benchmark.data.streamed import Pictures, key_of

MOST_BYTES = 2**28  # of one picture


class FolderPictures(Pictures):
    """Pictures that are files of their own; a class folder is a shard."""

    def read(self, row: int) -> Encoded:
        shard, at = self.index.shard_of(row)
        file = self.index.path(shard) / self.index.name(row)
        try:
            return Encoded(bounded.read(file, MOST_BYTES), file, None)
        except (UserError, OSError) as error:
            raise UserError(
                f"Cannot read {str(file)!r}, picture {at} of its class folder: {error}."
            ) from error


def folder_pictures(folder: Path, classes: list[str], cache: Cache) -> FolderPictures:
    """The pictures of a split's class folders, in label order.

    The index is made anew where a class folder's time changes: where files come, go or are renamed
    in it. One that is rewritten in place, or lies in a folder within, is not noticed.

    Raises:
        UserError: a class folder holds no pictures.
    """

    def build(writer: IndexWriter) -> list[str]:
        for label, name in enumerate(track(classes, f"list {folder.name}")):
            files = image_files(folder / name)
            if not files:
                raise UserError(
                    f"Class folder {str(folder / name)!r} holds no images ({', '.join(SUFFIXES)})."
                )
            names = [file.relative_to(folder / name).as_posix() for file in files]
            told = [
                f"{name}/{inner} {file.stat().st_size}\n"
                for inner, file in zip(names, files, strict=True)
            ]
            places = np.array([writer.name(inner) for inner in names])
            identity = "".join(told).encode("utf-8", "surrogateescape")
            writer.add(name, [label] * len(files), places, identity)
        return classes

    times = [(str((folder / c).absolute()), 0, (folder / c).stat().st_mtime_ns) for c in classes]
    return FolderPictures(index(cache, key_of(times, kind="folders"), folder, build))
