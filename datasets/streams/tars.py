"""WebDataset tars, read where they are by an index of their members.

A picture's class is what `KEY.cls` beside it says, else the folder that it lies in, else the tar's
own name, if that is a WordNet id (as ImageNet's own tar of a class is called).
"""

import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from benchmark.core.bounded import short
from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.core.progress import track
from benchmark.data.class_folders import SUFFIXES, WORDNET
from benchmark.data.images import Encoded
from benchmark.data.picture_index import IndexWriter, index
from benchmark.data.streamed import NEIGHBOURS, Pictures, key_of

MOST_BYTES = 2**28  # of one picture
LONGEST = 64  # bytes of a class's name in `.cls`


class TarPictures(Pictures):
    """Pictures that are members of tars."""

    run = NEIGHBOURS

    def read(self, row: int) -> Encoded:
        shard, at = self.index.shard_of(row)
        file, (start, size) = self.index.path(shard), self.index.places[row].tolist()
        try:
            with file.open("rb", buffering=0) as tar:
                tar.seek(start)
                data = tar.read(size)
        except OSError as error:
            raise UserError(f"Cannot read picture {at} of {str(file)!r}: {error}.") from error
        if len(data) < size:
            raise UserError(f"Cannot read picture {at} of {str(file)!r}: the file ends within it.")
        return Encoded(data, file, at)


def tars_of(folder: Path, splits: Iterable[str]) -> list[Path]:
    """The tars of the first of `splits` that has any: `SPLIT/*.tar`, or `*SPLIT*.tar`."""
    for split in splits:
        inner = sorted((folder / split).glob("*.tar")) if (folder / split).is_dir() else []
        if found := inner or sorted(folder.glob(f"*{split}*.tar")):
            return found
    return []


def tar_pictures(files: list[Path], folder: Path, cache: Cache) -> TarPictures:
    """The pictures of tars, in order; labels count the index's `classes`.

    Raises:
        UserError: a tar is no plain tar, is cut off, holds no pictures, or one without a class.
    """

    def build(writer: IndexWriter) -> list[str]:
        classes: dict[str, int] = {}
        for file in track(files, "list tars"):
            found = list(_samples(file))
            if not found:
                raise UserError(f"{str(file)!r} holds no pictures ({', '.join(SUFFIXES)}).")
            labels = [classes.setdefault(each.label, len(classes)) for each in found]
            places = np.array([(each.start, each.size) for each in found])
            told = "".join(f"{each.name} {each.size} {each.label}\n" for each in found)
            writer.add(
                file.relative_to(folder).as_posix(),
                labels,
                places,
                told.encode("utf-8", "surrogateescape"),
            )
        return list(classes)

    def state(file: Path) -> tuple[str, int, int]:
        status = file.stat()
        return str(file.absolute()), status.st_size, status.st_mtime_ns

    return TarPictures(index(cache, key_of(map(state, files), kind="tars"), folder, build))


@dataclass(slots=True)
class _Sample:
    name: str
    start: int = 0
    size: int = -1
    label: str = ""


def _samples(file: Path) -> Iterator[_Sample]:
    """The pictures of a tar in their order, each with its class.

    Members of a sample stand one after another, so no more than one sample is held.
    """
    whole, current = file.stat().st_size, None
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                tar.members = []  # pyright: ignore[reportAttributeAccessIssue]  # it would keep them all
                if not member.isreg():
                    continue
                if member.offset_data + member.size > whole:
                    raise UserError(f"{str(file)!r} is cut off within {short(member.name, 200)!r}.")
                path = PurePosixPath(member.name)
                stem, _, suffix = path.name.partition(".")
                name = (path.parent / stem).as_posix()
                if current is None or current.name != name:
                    if current is not None and current.size >= 0:
                        yield _labelled(current, file)
                    current = _Sample(name)
                if f".{suffix.lower()}" in SUFFIXES:
                    if not member.size <= MOST_BYTES:
                        raise UserError(
                            f"{short(member.name, 200)!r} in {str(file)!r} is too large."
                        )
                    current.start, current.size = member.offset_data, member.size
                elif suffix.lower() == "cls":
                    current.label = _told(tar, member, file)
            if current is not None and current.size >= 0:
                yield _labelled(current, file)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise UserError(
            f"{str(file)!r} is no plain tar that can be read ({short(str(error), 200)}); those of "
            "WebDataset are not compressed."
        ) from error


def _told(tar: tarfile.TarFile, member: tarfile.TarInfo, file: Path) -> str:
    """The class that a `.cls` member holds."""
    handle = tar.extractfile(member)
    raw = handle.read(LONGEST + 1) if handle is not None else b""
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(raw) > LONGEST:
        raise UserError(
            f"{short(member.name, 200)!r} in {str(file)!r} names no class: {raw[:20]!r}."
        )
    return text


def _labelled(sample: _Sample, file: Path) -> _Sample:
    """The sample with the class that its place tells, where no `.cls` does."""
    if not sample.label:
        inner = PurePosixPath(sample.name).parent.name
        sample.label = inner or (file.stem if WORDNET.fullmatch(file.stem) else "")
    if not sample.label:
        raise UserError(
            f"{short(sample.name, 200)!r} in {str(file)!r} has no class: it needs a .cls beside "
            "it, a folder of the class's name, or a tar called by a WordNet id."
        )
    return sample
