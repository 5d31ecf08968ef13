"""Distilled images to give away: a folder of Parquet in the Hugging Face image layout.

Each row is an image as a PNG file, in grey or RGB, which holds 8-bit pixels without loss (students
are shown no other), and its label; where labels of others count the images in another order, also
its position there. The schema's metadata hold the class names as `datasets` reads them, and the
images' digest. Folders that were given away before hold `images.safetensors`.
"""

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from pydantic import Field, TypeAdapter
from torch import Tensor
from typing_extensions import TypedDict

from ..core import bounded
from ..core.errors import ArtefactError, UserError
from ..data import distilled
from ..data.images import Encoded, ResidentImages, opened
from ..data.picture_bytes import FORMS

SHARD_BYTES = 512 * 2**20  # of pixels, before they are packed
GROUP = 100  # rows that are read at once, as `datasets` has them for images
MOST_ROWS = 20_000_000
COLUMNS = {
    "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    "label": pa.int64(),
    "position": pa.int64(),  # of images that labels of others count in another order
}


class _Class(TypedDict):
    names: Annotated[list[Any], Field(max_length=1_000_000)]


class _Features(TypedDict):
    label: _Class


class _Info(TypedDict):
    features: _Features


class _Told(TypedDict):
    """What the schema's `huggingface` metadata say, as far as it is read here."""

    info: _Info


TOLD = TypeAdapter(_Told)


def tables(folder: Path) -> list[Path]:
    """The Parquet files of a folder, in order."""
    return sorted(folder.glob("*.parquet"))


def write(folder: Path, images: ResidentImages) -> None:
    """Write images into the existing `folder`, as `train-00000-of-0000N.parquet`."""
    features: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel", "names": list(images.class_names)},
    }
    if images.positions is not None:
        features["position"] = {"_type": "Value", "dtype": "int64"}
    metadata = {
        "huggingface": json.dumps({"info": {"features": features}}),
        "labelbench": json.dumps({"digest": images.digest}),
    }
    schema = pa.schema({name: COLUMNS[name] for name in features}, metadata)
    shards = -(-images.pixels.nbytes // SHARD_BYTES)
    for number, rows in enumerate(torch.arange(len(images)).tensor_split(shards)):
        file = folder / f"train-{number:05}-of-{shards:05}.parquet"
        # Statistics would repeat whole pictures.
        with (
            pq.ParquetWriter(file, schema, compression="zstd", write_statistics=False) as table,
            ThreadPoolExecutor() as pool,
        ):
            for part in rows.split(GROUP):
                pictures = list(pool.map(_png, images.take(part).cpu()))
                columns: dict[str, list[Any]] = {
                    "image": [
                        {"bytes": data, "path": f"{row:05}.png"}
                        for row, data in zip(part.tolist(), pictures, strict=True)
                    ],
                    "label": images.labels[part].tolist(),
                }
                if images.positions is not None:
                    columns["position"] = images.positions[part].tolist()
                table.write_table(pa.table(columns, schema))


def read(folder: Path, device: torch.device) -> ResidentImages:
    """The images of a folder that was given away, resident on `device`.

    Raises:
        ArtefactError: there are none, a file is damaged or missing, or its pixels were changed.
    """
    files = tables(folder)
    if not files:
        if not (folder / distilled.FILE).is_file():
            raise ArtefactError(
                f"{str(folder)!r} holds no distilled images: neither *.parquet nor "
                f"{distilled.FILE}."
            )
        return distilled.read(folder, device)
    try:
        schema = _schema(files)
        names, digest = _class_names(schema), _digest(schema)
        parts = {"image": [], "label": [], "position": []}
        with ThreadPoolExecutor() as pool:
            for rows in _rows(files, schema):
                parts["image"].append(_alike(np.stack, list(pool.map(_decoded, rows["image"]))))
                for name in rows.keys() & {"label", "position"}:
                    parts[name].append(torch.from_numpy(rows[name]))
        positions = torch.cat(parts["position"]) if parts["position"] else None
        pixels = torch.from_numpy(_alike(np.concatenate, parts["image"]))
        images = ResidentImages(pixels, torch.cat(parts["label"]), names, positions=positions)
    except Exception as error:  # damage may make Arrow's reader fail in any way
        told = bounded.short(str(error), 300).rstrip(".")
        raise ArtefactError(
            f"{str(folder)!r} holds no distilled images that can be read: {told}."
        ) from error
    if images.digest != digest:
        raise ArtefactError(f"The images in {str(folder)!r} were changed: copy them again.")
    return images.to(device)


def _png(pixels: Tensor) -> bytes:
    """One image, uint8 (C, R, R), as a file."""
    array = pixels.permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).save(file, **FORMS["png"])
    return file.getvalue()


def _schema(files: list[Path]) -> pa.Schema:
    """What all files of a table agree on; raises a UserError unless they are all of one."""
    wanted = [f"train-{number:05}-of-{len(files):05}.parquet" for number in range(len(files))]
    if [file.name for file in files] != wanted:
        raise UserError(f"it must hold {wanted[0]} to {wanted[-1]}, each part once")
    schemas, rows = [], 0
    for file in files:
        with pq.ParquetFile(file) as table:
            schemas.append(table.schema_arrow)
            rows += table.metadata.num_rows
    first = schemas[0]
    if any(not first.equals(other, check_metadata=True) for other in schemas):
        raise UserError("its files are parts of several tables")
    columns = dict(zip(first.names, first.types, strict=True))
    wanted = {name: kind for name, kind in COLUMNS.items() if name in (*columns, "image", "label")}
    if columns != wanted or len(first.names) != len(columns):
        raise UserError(f"its columns are {bounded.short(', '.join(map(str, columns)), 200)}")
    if not 0 < rows <= MOST_ROWS:
        raise UserError(f"it holds {rows:,} images; valid: 1 to {MOST_ROWS:,}")
    return first


def _class_names(schema: pa.Schema) -> list[str]:
    raw = (schema.metadata or {}).get(b"huggingface", b"")
    told = bounded.parse(TOLD, bounded.loads(raw), "huggingface")
    return bounded.parse(distilled.NAMES, told["info"]["features"]["label"]["names"])


def _digest(schema: pa.Schema) -> Any:
    told = bounded.loads((schema.metadata or {}).get(b"labelbench", b""))
    return told.get("digest") if isinstance(told, dict) else None


def _rows(files: list[Path], schema: pa.Schema) -> Iterator[dict[str, Any]]:
    """The rows of all files, some at a time: numbers as arrays, pictures as they are encoded."""
    for file in files:
        with pq.ParquetFile(file) as table:
            start = 0
            for batch in table.iter_batches(GROUP):
                columns = dict(zip(schema.names, batch.columns, strict=True))
                pictures = columns.pop("image").field("bytes")
                if pictures.null_count or any(c.null_count for c in columns.values()):
                    raise UserError(f"{file.name} lacks some pictures or labels")
                numbers = {name: c.to_numpy().astype(np.int64) for name, c in columns.items()}
                encoded = [
                    Encoded(data.as_py(), file, start + row) for row, data in enumerate(pictures)
                ]
                start += len(encoded)
                yield {"image": encoded, **numbers}


def _decoded(encoded: Encoded) -> np.ndarray:
    """The very pixels of one picture, uint8 (C, R, R)."""
    with opened(encoded) as picture:
        side = max(picture.size)
        if picture.format != "PNG" or picture.mode not in ("L", "RGB"):
            raise UserError("it is no PNG in grey or RGB")
        if side != min(picture.size) or side > distilled.MOST_SIDE:
            raise UserError(f"it has {picture.size[0]} x {picture.size[1]} pixels")
        array = np.asarray(picture)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def _alike(join: Callable[[list[np.ndarray]], np.ndarray], parts: list[np.ndarray]) -> np.ndarray:
    """Pictures, or batches of them, as one array; raises a UserError unless they are alike."""
    if len({part.shape[-3:] for part in parts}) > 1:
        raise UserError("its pictures are of several sizes, or some are grey and others are not")
    return join(parts)
