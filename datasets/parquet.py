"""Tables of pictures as Hugging Face's tools write them, in any folder: `parquet:PATH`.

Parquet files `train-*` and `test-*`, or a split `validation` where no labelled test split is,
also in `data/`, in `train/`, or in the folder of one configuration; or what `save_to_disk`
wrote. A column `image` or `img` holds encoded pictures or uint8 arrays, a column `label`,
`labels`, `fine_label`, `target` or `class` whole numbers, text, or true and false. Class names
come from the schema's `huggingface` metadata.
"""

from pathlib import Path

import numpy as np
import torch

from benchmark.core.bounded import short
from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.core.facts import fact, file_digests
from benchmark.core.progress import say
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import (
    DECODER,
    Dataset,
    Images,
    Statistics,
    decode_all,
    decoded,
    shape_of,
)
from benchmark.data.place import Place
from benchmark.data.splits import check_classes, say_overlap
from benchmark.data.streamed import StreamedImages, sampled_statistics, too_large

from .streams.tables import table_pictures
from .tables.labels import Classes, are_hidden, classes_of, same_names, values_of
from .tables.labels import labels_of as labels_among
from .tables.layout import TEST, VALIDATION, held_out, splits_of
from .tables.pictures import files_beside, first_sources, paths_beside, sources_of
from .tables.table import IMAGE_COLUMNS, LABEL_COLUMNS, label_column, rows_of, schema_of

SAMPLED = 64  # pictures of each table that are looked at before all are decoded
GLANCED = 4  # pictures of one table that are looked at where nothing is to be decoded


class ParquetFolder(DatasetSource):
    """Any folder of Parquet files."""

    argument = "PATH"

    def load(self, place: Place, argument: str = "") -> Dataset:
        """The dataset in the folder `argument`.

        Relative paths start at the data root, if one is set.
        """
        folder = place.folder(argument)
        if folder is None:
            raise UserError(
                f"parquet:{argument} names no folder. Give parquet:PATH of Parquet files."
            )
        return read_folder(folder, place.cache, name=f"parquet:{folder.name}", mirror=False)


def read_folder(
    folder: Path, cache: Cache, name: str, mirror: bool, shape: tuple[int, int] | None = None
) -> Dataset:
    """Training and test images of a folder; decoded pixels are kept in `cache`.

    Args:
        shape: channels, and pixels a side; as the pictures have them if None.

    Raises:
        UserError: the folder is not whole, or could be read in two ways; says how.
    """
    train_files, test_files, classes = splits_and_classes(folder)
    glanced = shape or shape_of(first_sources(train_files[0], GLANCED))
    count = sum(map(rows_of, train_files))
    if too_large(cache, count, *glanced, repr(str(folder))):
        return _streamed(
            name, (train_files, test_files), folder, classes, glanced[1], mirror, cache
        )
    channels, side = shape or _shape_of(train_files, cache)
    train, statistics = read_images(train_files, cache, channels, side, classes)
    test, _ = read_images(test_files, cache, channels, side, classes)
    check_classes(train, test, repr(str(folder)))
    say_overlap(train, test, cache, repr(str(folder)))
    return Dataset(name, train, test, *statistics, mirror)


def splits_and_classes(folder: Path) -> tuple[list[Path], list[Path], Classes]:
    """The tables to train on and to test on, and the classes of the first.

    Raises:
        UserError: the folder is not whole, or could be read in two ways; says how.
    """
    splits = splits_of(folder)
    train_files, test_files = splits["train"], _test_files(splits, folder)
    for files in (train_files, test_files):
        _check_schemas(files)
    _say_choice(train_files[0])
    same_names([*train_files, *test_files])
    return train_files, test_files, classes_of(train_files)


def _streamed(
    name: str,
    splits: tuple[list[Path], list[Path]],
    folder: Path,
    classes: Classes,
    side: int,
    mirror: bool,
    cache: Cache,
) -> Dataset:
    """The dataset, decoded as it is read, to the side of its first pictures."""
    train, test = (
        StreamedImages(table_pictures(files, folder, classes, cache), classes.names, side)
        for files in splits
    )
    check_classes(train, test, repr(str(folder)))
    return Dataset(name, train, test, *sampled_statistics(train, cache), mirror)


def describe(files: list[Path], folder: Path) -> tuple[int, int, tuple[str, ...]]:
    """Channels (3 as soon as one sampled picture has colour), the commonest side, class names."""
    if not files:
        raise UserError(f"{str(folder)!r} holds no train-*.parquet files.")
    return *_shape(files), classes_of(files).names


def read_images(
    files: list[Path], cache: Cache, channels: int, resolution: int, classes: Classes
) -> tuple[Images, Statistics]:
    """The images of tables in row order, and the statistics of their pixels."""
    labels = np.concatenate([labels_among(file, classes) for file in files])
    digests = file_digests(cache, files)

    def named() -> list[list[str]]:
        return [paths_beside(file) for file in files]

    beside = fact(cache, "beside", digests, named) or []
    key = {
        "files": digests,
        "beside": [
            told for pair in zip(files, beside, strict=False) for told in files_beside(*pair)
        ],
        "channels": channels,
        "resolution": resolution,
        "decoder": DECODER,
    }

    def build(target: Path) -> None:
        sources = [source for file in files for source in sources_of(file)]
        decode_all(sources, channels, resolution, f"decode {files[0].name}")(target)

    shape = channels, resolution
    return decoded(cache, key, build, torch.from_numpy(labels), classes.names, shape)


def labels_of(file: Path, classes: int) -> np.ndarray:
    """The labels of a table that stands alone, int64 (rows,), all below `classes`.

    Raises:
        UserError: the file cannot be read, is empty, or has a row without such a label.
    """
    if values_of(file).dtype != object:
        return labels_among(file, Classes(("",) * classes, tuple(range(classes))))
    own = classes_of([file])
    if len(own.names) != classes:
        raise UserError(f"{str(file)!r} holds {len(own.names)} classes, not {classes}.")
    return labels_among(file, own)


def _shape_of(files: list[Path], cache: Cache) -> tuple[int, int]:
    """Channels and side, kept; where `cache` is only looked at, those of some first pictures."""
    found = fact(cache, "shape", file_digests(cache, files), lambda: list(_shape(files)))
    channels, side = found or shape_of(first_sources(files[0], GLANCED))
    return channels, side


def _shape(files: list[Path]) -> tuple[int, int]:
    return shape_of(source for file in files for source in sources_of(file, SAMPLED))


def _test_files(splits: dict[str, list[Path]], folder: Path) -> list[Path]:
    """The tables of the test split, or of the validation split where test labels are withheld."""
    for file in splits.get("train", [])[:1]:
        label_column(file)  # raises where nothing is known by such a name
    tested, validation = held_out(splits, TEST), held_out(splits, VALIDATION)
    if tested is not None and not are_hidden(splits[tested]):
        return splits[tested]
    where = repr(str(folder))
    if validation is not None and not are_hidden(splits[validation]):
        if tested is not None:
            say(f"{where}: the test split's labels are withheld; {validation} is tested on instead")
        return splits[validation]
    if tested is None and validation is None:
        raise UserError(
            f"{where} holds no test split: there is no file test-*.parquet, nor one of "
            f"{', '.join(VALIDATION)}."
        )
    raise UserError(
        f"{where}: the labels of split {tested or validation} are withheld (-1, null, or no label "
        f"column), and no labelled split ({', '.join(VALIDATION)}) is beside it."
    )


def _check_schemas(files: list[Path]) -> None:
    """Raise a UserError unless all tables have the same columns of pictures and labels."""
    first = _columns(files[0])
    for file in files[1:]:
        other = _columns(file)
        if other != first:
            raise UserError(
                f"{str(files[0])!r} has the columns {short(str(first), 200)} and {str(file)!r} "
                f"{short(str(other), 200)}; they must be the same."
            )


def _say_choice(file: Path) -> None:
    """Say which column is read where several could be."""
    names = schema_of(file).names
    for valid in (IMAGE_COLUMNS, LABEL_COLUMNS):
        there = [name for name in valid if name in names]
        if len(there) > 1:
            say(f"{str(file)!r}: of the columns {', '.join(there)}, {there[0]!r} is read")


def _columns(file: Path) -> dict[str, str]:
    wanted = {*IMAGE_COLUMNS, *LABEL_COLUMNS}
    return {field.name: str(field.type) for field in schema_of(file) if field.name in wanted}
