"""Any folder of Parquet files in the Hugging Face image layout: `parquet:PATH`.

Files are named `train-*.parquet` and `test-*.parquet` (or `validation-*`), with a column
`image` (struct of `bytes` and `path`) and a column `label` (integers). Class names come from
the schema's `huggingface` metadata.
"""

import json
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from benchmark.errors import UserError
from benchmark.images import (
    Dataset,
    ResidentImages,
    Statistics,
    decode_all,
    decoded_images,
    decoded_statistics,
)
from benchmark.stages import Stages, file_digest

from .place import Place


def load(place: Place, path: str = "") -> Dataset:
    """The dataset in the folder `path`; relative paths start at the data root, if one is set."""
    folder = Path(path)
    if not folder.is_absolute() and place.root is not None and (place.root / folder).is_dir():
        folder = place.root / folder
    if not path or not folder.is_dir():
        raise UserError(f"parquet:{path} names no folder. Give parquet:PATH of Parquet files.")
    return read_folder(folder, place.stages, name=f"parquet:{folder.name}", mirror=False)


def read_folder(folder: Path, stages: Stages, name: str, mirror: bool) -> Dataset:
    """Training and test images of a folder; decoded pixels are kept in `stages`."""
    train_files = sorted(folder.glob("train-*.parquet"))
    test_files = sorted(folder.glob("test-*.parquet")) or sorted(folder.glob("validation-*"))
    channels, resolution, names = describe(train_files, folder)
    train, statistics = read_images(train_files, stages, channels, resolution, names)
    test, _ = read_images(
        test_files or [folder / "test-*.parquet"], stages, channels, resolution, names
    )
    return Dataset(name, train, test, *statistics, mirror)


def describe(files: list[Path], folder: Path) -> tuple[int, int, tuple[str, ...]]:
    """Channels (3 as soon as one sampled picture has colour), the commonest side, class names."""
    if not files:
        raise UserError(f"{str(folder)!r} holds no train-*.parquet files.")
    sides, colour = Counter(), False
    for file in files:
        sources = _column(file, "image").field("bytes")
        for i in range(0, len(sources), max(1, len(sources) // 64)):
            try:
                with Image.open(BytesIO(sources[i].as_py() or b"")) as picture:
                    sides[min(picture.size)] += 1
                    colour |= picture.mode not in ("1", "L", "I", "I;16", "LA")
            except OSError as error:
                raise UserError(f"Row {i} of {str(file)!r} holds no picture: {error}.") from error
    names = _class_names(pq.read_schema(files[0]))
    if names is None:
        highest = max(int(np.max(_column(file, "label").to_numpy())) for file in files)
        names = tuple(str(c) for c in range(highest + 1))
    return (3 if colour else 1), sides.most_common(1)[0][0], names


def read_images(
    files: list[Path], stages: Stages, channels: int, resolution: int, names: tuple[str, ...]
) -> tuple[ResidentImages, Statistics]:
    """The images of Parquet files in row order, and the statistics of their pixels."""
    labels = np.concatenate([_column(file, "label").to_numpy() for file in files])
    key = {
        "files": [file_digest(f) for f in files],
        "channels": channels,
        "resolution": resolution,
    }

    def build(target: Path) -> None:
        sources = [s for file in files for s in _column(file, "image").field("bytes").to_pylist()]
        decode_all(sources, channels, resolution, f"decode {files[0].name}")(target)

    decoded = stages.make("decoded", key, build)
    images = decoded_images(decoded, torch.tensor(labels, dtype=torch.int64), names)
    return images, decoded_statistics(decoded)


def _column(file: Path, name: str) -> pa.Array:
    try:
        return pq.read_table(file, columns=[name])[name].combine_chunks()
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UserError(f"Cannot read column {name!r} of {str(file)!r}: {error}") from error


def _class_names(schema: pa.Schema) -> tuple[str, ...] | None:
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = metadata.get("info", {}).get("features", {}).get("label", {})
    return tuple(feature["names"]) if feature.get("names") else None
