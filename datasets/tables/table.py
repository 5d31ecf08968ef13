"""One table on disk, a Parquet file or an Arrow stream: its schema and its columns."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.core.bounded import short
from benchmark.core.errors import UserError

MOST_ROWS = 20_000_000  # ImageNet-21K has 14 million
IMAGE_COLUMNS = ("image", "img")
# CIFAR-100 has `fine_label` and `coarse_label`; its classes are the fine ones.
LABEL_COLUMNS = ("label", "labels", "fine_label", "target", "class")


def schema_of(file: Path) -> pa.Schema:
    """The names and types of a table's columns.

    Raises:
        UserError: the file is absent, or no such table.
    """
    return _read(file, None)[0]


def column_of(file: Path, name: str, most: int | None = None) -> pa.ChunkedArray:
    """A column by its name; dictionaries are looked up, and others' types are what they store.

    Args:
        most: read about so many rows from the start; all if None.

    Raises:
        UserError: the file cannot be read, or has no rows or too many.
    """
    column = _read(file, name, most)[1]
    assert column is not None  # as a name was given
    kind = column.type
    if isinstance(kind, pa.ExtensionType):  # such as Array3D, once `datasets` is imported
        return pa.chunked_array([chunk.storage for chunk in column.chunks], kind.storage_type)
    return column.cast(kind.value_type) if pa.types.is_dictionary(kind) else column


def rows_of(file: Path) -> int:
    """How many rows a table has; of Parquet by its footer alone.

    Raises:
        UserError: the file cannot be read, or has no rows or too many.
    """
    if file.suffix == ".arrow":
        return len(column_of(file, label_column(file)))
    try:
        with pq.ParquetFile(file) as table:
            rows = table.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"Cannot read {str(file)!r}: {short(str(error), 200)}.") from error
    _check_rows(file, rows)
    return rows


def image_column(file: Path) -> str:
    """The name of the column that holds a table's pictures.

    Raises:
        UserError: there is none.
    """
    return _named(file, "image", IMAGE_COLUMNS)


def label_column(file: Path) -> str:
    """The name of the column that holds a table's labels.

    Raises:
        UserError: there is none.
    """
    return _named(file, "label", LABEL_COLUMNS)


def has_labels(file: Path) -> bool:
    """Whether there is a column of labels at all."""
    return any(name in LABEL_COLUMNS for name in schema_of(file).names)


def _named(file: Path, what: str, valid: tuple[str, ...]) -> str:
    names = schema_of(file).names
    for name in valid:
        if name in names:
            if names.count(name) > 1:
                raise UserError(f"{str(file)!r} has {names.count(name)} columns {name!r}.")
            return name
    told = short(", ".join(map(str, names)), 200)
    raise UserError(
        f"{str(file)!r} has no {what} column ({', '.join(valid)}); it has: {told or 'none'}."
    )


def _read(
    file: Path, name: str | None, most: int | None = None
) -> tuple[pa.Schema, pa.ChunkedArray | None]:
    if not file.is_file():
        raise UserError(f"There is no file {str(file)!r}.")
    try:
        if file.suffix == ".arrow":
            with pa.memory_map(str(file)) as source, pa.ipc.open_stream(source) as stream:
                whole = stream.read_all() if name else None
                schema = stream.schema
            if whole is None:
                return schema, None
            _check_rows(file, whole.num_rows)
            return schema, whole[name]
        with pq.ParquetFile(file) as table:
            if name is None:
                return table.schema_arrow, None
            _check_rows(file, table.metadata.num_rows)
            if most is None:
                return table.schema_arrow, table.read(columns=[name])[name]
            first = next(table.iter_batches(most, row_groups=[0], columns=[name]))
            return table.schema_arrow, pa.chunked_array([first.column(0)])
    except UserError:
        raise
    # By the damage: ArrowException, OSError, KeyError, UnicodeDecodeError and others.
    except Exception as error:
        column = f"column {name!r} of " if name else ""
        raise UserError(f"Cannot read {column}{str(file)!r}: {short(str(error), 200)}.") from error


def _check_rows(file: Path, rows: int) -> None:
    if not 0 < rows <= MOST_ROWS:
        raise UserError(f"{str(file)!r} has {rows:,} rows; valid: 1 to {MOST_ROWS:,}.")
