"""The image column of tables: encoded pictures, files beside the table, or plain pixels."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmark.core import bounded
from benchmark.core.bounded import short
from benchmark.core.errors import UserError
from benchmark.data.images import Encoded

from .table import column_of, image_column

MOST_BYTES = 2**28  # of one encoded picture
VALID = "encoded bytes, structs with `bytes` or `path`, or uint8 arrays (H, W), (H, W, 1 or 3)"


def sources_of(file: Path, most: int | None = None) -> list[Encoded]:
    """The encoded pictures of a table, in row order.

    Args:
        most: give about so many of them, evenly spaced; all if None.

    Raises:
        UserError: the file cannot be read, is empty, or has a row without a picture.
    """
    name = image_column(file)
    column = column_of(file, name)
    read = reader(column.type, file, name)
    step = max(1, len(column) // most) if most else 1
    return _encoded(column, range(0, len(column), step), read, file)


def first_sources(file: Path, count: int) -> list[Encoded]:
    """The first encoded pictures of a table; no more of it is read than holds them.

    Raises:
        UserError: the file cannot be read, is empty, or has a row without a picture.
    """
    name = image_column(file)
    column = column_of(file, name, count)
    read = reader(column.type, file, name)
    return _encoded(column, range(min(count, len(column))), read, file)


def _encoded(
    column: pa.ChunkedArray, rows: Sequence[int], read: Callable[[Any], bytes], file: Path
) -> list[Encoded]:
    found = []
    for row in rows:
        try:
            found.append(Encoded(read(column[row]), file, row))
        except UserError as error:
            raise UserError(f"Row {row} of {str(file)!r} holds {error}.") from error
    return found


def files_beside(file: Path, paths: Sequence[str]) -> list[tuple[str, int]]:
    """Paths and sizes of the pictures that `paths_beside` finds.

    Raises:
        UserError: one is not there.
    """
    return [(path, _beside(file, path).stat().st_size) for path in paths]


def paths_beside(file: Path) -> list[str]:
    """Paths of the pictures that a table names without holding them, in row order."""
    column = column_of(file, image_column(file))
    if not pa.types.is_struct(column.type) or column.type.get_field_index("path") < 0:
        return []
    held = column.type.get_field_index("bytes") >= 0
    found = []
    for chunk in column.chunks:
        inner = chunk.field("bytes").is_valid() if held else pa.array(np.zeros(len(chunk), bool))
        for row in np.flatnonzero(~inner.to_numpy(zero_copy_only=False)):
            told = chunk[int(row)].as_py()
            if told is not None and told["path"] is not None:
                found.append(told["path"])
    return found


def reader(kind: pa.DataType, file: Path, name: str) -> Callable[[Any], bytes]:
    """What makes an encoded picture of a value of this type."""
    if _is_binary(kind):
        return _bytes
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        data, path = fields.get("bytes"), fields.get("path")
        text = path is not None and (pa.types.is_string(path) or pa.types.is_large_string(path))
        absent = data is None or pa.types.is_null(data)
        if text if absent else _is_binary(data):
            return partial(_struct, file)
    tensor = isinstance(kind, pa.FixedShapeTensorType) and pa.types.is_uint8(kind.value_type)
    if tensor and (kind.permutation or [*range(len(kind.shape))]) == [*range(len(kind.shape))]:
        return partial(_tensor, tuple(kind.shape))
    depth, inner = 0, kind
    while _is_list(inner):
        depth, inner = depth + 1, inner.value_type
    if depth in (2, 3) and pa.types.is_uint8(inner):
        return _nested
    raise UserError(
        f"Column {name!r} of {str(file)!r} must hold {VALID}, not {short(str(kind), 200)}."
    )


def _bytes(value: Any) -> bytes:
    data = value.as_py()
    if data is None:
        raise UserError("no picture")
    return data


def _struct(file: Path, value: Any) -> bytes:
    told = value.as_py() or {}
    if told.get("bytes") is not None:
        return told["bytes"]
    if told.get("path") is None:
        raise UserError("no picture")
    path = _beside(file, told["path"])
    try:
        return bounded.read(path, MOST_BYTES)
    except (UserError, OSError) as error:
        raise UserError(f"{short(str(path), 200)!r}, which cannot be read ({error})") from error


def _beside(file: Path, told: str) -> Path:
    """The file that a table names, which must lie in the table's folder or below it."""
    folder = file.parent.resolve()
    try:
        path = (folder / told).resolve()
        inside = path.is_relative_to(folder) and path.is_file()
    except (OSError, ValueError):  # such as a null character
        inside, path = False, folder
    if not inside:
        raise UserError(
            f"the path {short(told, 200)!r} instead of a picture: no file of that name lies in "
            f"{str(file.parent)!r}, where the table is"
        )
    return path


def _tensor(shape: tuple[int, ...], value: Any) -> bytes:
    if not value.is_valid:
        raise UserError("no picture")
    return _as_pnm(np.asarray(value.value.values), shape)


def _nested(value: Any) -> bytes:
    """Lists of rows of pixels as an encoded picture."""
    if not value.is_valid:
        raise UserError("no picture")
    inner, shape = value.values, [len(value.values)]
    while _is_list(inner.type):
        lengths = inner.value_lengths() if not pa.types.is_fixed_size_list(inner.type) else None
        each = inner.type.list_size if lengths is None else (lengths[0].as_py() if shape[-1] else 0)
        count, flat = len(inner), inner.flatten()
        uneven = lengths is not None and (np.asarray(lengths) != each).any()
        if inner.null_count or uneven or len(flat) != count * (each or 0):
            raise UserError("rows of pixels of several lengths")
        shape.append(each)
        inner = flat
    if inner.null_count:
        raise UserError("a pixel without a value")
    return _as_pnm(inner.to_numpy(), tuple(shape))


def _as_pnm(pixels: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """Pixels as a PGM or PPM file: a header, and the pixels as they are."""
    height, width = (*shape, 0, 0)[:2]
    channels = shape[2] if len(shape) == 3 else 1
    if len(shape) not in (2, 3) or channels not in (1, 3) or not height or not width:
        raise UserError(
            f"an array of shape {shape}; valid: (H, W), (H, W, 1) and (H, W, 3), colours last"
        )
    kind = "P6" if channels == 3 else "P5"
    return f"{kind} {width} {height} 255\n".encode() + pixels.tobytes()


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_list(kind: pa.DataType) -> bool:
    lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_such(kind) for is_such in lists)
