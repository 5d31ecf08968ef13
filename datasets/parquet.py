"""Any folder of Parquet files in the Hugging Face image layout: `parquet:PATH`.

Files are named `train-*.parquet` and `test-*.parquet` (or `validation-*`), with a column
`image` (struct of `bytes` and `path`) and a column `label` (integers). Class names come from
the schema's `huggingface` metadata.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from benchmark.core import bounded
from benchmark.core.bounded import short
from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.core.files import file_digest
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import (
    Dataset,
    Encoded,
    ResidentImages,
    Statistics,
    decode_all,
    decoded_images,
    decoded_statistics,
    opened,
)
from benchmark.data.place import Place

MOST_CLASSES = 100_000
MOST_ROWS = 20_000_000  # ImageNet-21K has 14 million


class _Label(TypedDict, total=False):
    names: Annotated[
        list[Annotated[str, Field(strict=True, max_length=4096)]], Field(max_length=MOST_CLASSES)
    ]


class _Features(TypedDict, total=False):
    label: _Label


class _Info(TypedDict, total=False):
    features: _Features


class _Told(TypedDict, total=False):
    """What the `datasets` library writes of its columns, as far as it is read here."""

    info: _Info


FEATURES = TypeAdapter(_Told)


class ParquetFolder(DatasetSource):
    """Any folder of Parquet files."""

    argument = "PATH"

    def load(self, place: Place, argument: str = "") -> Dataset:
        """The dataset in the folder `argument`.

        Relative paths start at the data root, if one is set.
        """
        folder = Path(argument)
        if not folder.is_absolute() and place.root is not None and (place.root / folder).is_dir():
            folder = place.root / folder
        if not argument or not folder.is_dir():
            raise UserError(
                f"parquet:{argument} names no folder. Give parquet:PATH of Parquet files."
            )
        return read_folder(folder, place.cache, name=f"parquet:{folder.name}", mirror=False)


def read_folder(folder: Path, cache: Cache, name: str, mirror: bool) -> Dataset:
    """Training and test images of a folder; decoded pixels are kept in `cache`."""
    train_files = sorted(folder.glob("train-*.parquet"))
    test_files = sorted(folder.glob("test-*.parquet")) or sorted(folder.glob("validation-*"))
    channels, resolution, names = describe(train_files, folder)
    train, statistics = read_images(train_files, cache, channels, resolution, names)
    test, _ = read_images(
        test_files or [folder / "test-*.parquet"], cache, channels, resolution, names
    )
    return Dataset(name, train, test, *statistics, mirror)


def describe(files: list[Path], folder: Path) -> tuple[int, int, tuple[str, ...]]:
    """Channels (3 as soon as one sampled picture has colour), the commonest side, class names."""
    if not files:
        raise UserError(f"{str(folder)!r} holds no train-*.parquet files.")
    sides, colour = Counter(), False
    for file in files:
        sources = sources_of(file)
        for i in range(0, len(sources), max(1, len(sources) // 64)):
            with opened(sources[i]) as picture:
                sides[min(picture.size)] += 1
                colour |= picture.mode not in ("1", "L", "I", "I;16", "LA")
    names = _class_names(files[0])
    if names is None:
        highest = max(int(labels_of(file, MOST_CLASSES).max()) for file in files)
        names = tuple(str(c) for c in range(highest + 1))
    return (3 if colour else 1), sides.most_common(1)[0][0], names


def read_images(
    files: list[Path], cache: Cache, channels: int, resolution: int, names: tuple[str, ...]
) -> tuple[ResidentImages, Statistics]:
    """The images of Parquet files in row order, and the statistics of their pixels."""
    labels = np.concatenate([labels_of(file, len(names)) for file in files])
    key = {
        "files": [file_digest(f) for f in files],
        "channels": channels,
        "resolution": resolution,
    }

    def build(target: Path) -> None:
        sources = [source for file in files for source in sources_of(file)]
        decode_all(sources, channels, resolution, f"decode {files[0].name}")(target)

    decoded = cache.make("decoded", key, build)
    images = decoded_images(decoded, torch.from_numpy(labels), names)
    return images, decoded_statistics(decoded)


def sources_of(file: Path) -> list[Encoded]:
    """The encoded pictures of a table, in row order.

    Raises:
        UserError: the file cannot be read, is empty, or has a row without a picture.
    """
    column = _column(file, "image")
    kind = column.type
    at = kind.get_field_index("bytes") if pa.types.is_struct(kind) else -1
    if at < 0 or not (pa.types.is_binary(kind[at].type) or pa.types.is_large_binary(kind[at].type)):
        raise UserError(
            f"Column 'image' of {str(file)!r} must hold structs with `bytes`, not "
            f"{short(str(kind), 200)}."
        )
    found = []
    for row, told in enumerate(column.to_pylist()):
        if told is None or told["bytes"] is None:
            raise UserError(f"Row {row} of {str(file)!r} holds no picture.")
        found.append(Encoded(told["bytes"], file, row))
    return found


def labels_of(file: Path, classes: int) -> np.ndarray:
    """The labels of a table, int64 (rows,), all below `classes`.

    Raises:
        UserError: the file cannot be read, is empty, or has a row without such a label.
    """
    column = _column(file, "label")
    if not pa.types.is_integer(column.type):
        raise UserError(
            f"Column 'label' of {str(file)!r} must hold whole numbers, not "
            f"{short(str(column.type), 200)}."
        )
    absent = column.is_null().to_numpy()
    if absent.any():
        raise UserError(f"Row {int(absent.argmax())} of {str(file)!r} has no label.")
    labels = column.to_numpy()
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        row = int(wrong.argmax())
        raise UserError(
            f"Row {row} of {str(file)!r} has the label {labels[row]}; valid: 0 to {classes - 1}."
        )
    return labels.astype(np.int64)


def _column(file: Path, name: str) -> pa.ChunkedArray:
    if not file.is_file():
        raise UserError(f"There is no file {str(file)!r}.")
    try:
        with pq.ParquetFile(file) as table:
            rows = table.metadata.num_rows
            if not 0 < rows <= MOST_ROWS:
                raise UserError(f"{str(file)!r} has {rows:,} rows; valid: 1 to {MOST_ROWS:,}.")
            return table.read(columns=[name])[name]
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"Cannot read column {name!r} of {str(file)!r}: {short(str(error), 200)}."
        ) from error


def _class_names(file: Path) -> tuple[str, ...] | None:
    """The names that a table's `huggingface` metadata gives its labels, if any."""
    raw = (pq.read_schema(file).metadata or {}).get(b"huggingface", b"{}")
    try:
        told = bounded.parse(FEATURES, bounded.loads(raw))
    except UserError as error:
        raise UserError(f"The `huggingface` metadata of {str(file)!r}: {error}.") from error
    label = told.get("info", {}).get("features", {}).get("label", {})
    return tuple(label.get("names", ())) or None
