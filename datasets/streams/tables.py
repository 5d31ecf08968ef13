"""Parquet files whose pictures are decoded as they are read, a group of rows at a time."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.core.bounded import short
from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.core.progress import track
from benchmark.data.images import Encoded
from benchmark.data.picture_index import IndexWriter, PictureIndex, index
from benchmark.data.streamed import WINDOW, Pictures, key_of

from ..tables.labels import Classes, labels_of
from ..tables.pictures import reader
from ..tables.table import image_column


class TablePictures(Pictures):
    """Pictures in groups of rows; those of about one window are held encoded."""

    def __init__(self, found: PictureIndex) -> None:
        super().__init__(found)
        self._held: OrderedDict[int, tuple[Any, Callable[[Any], bytes]]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, row: int) -> Encoded:
        assert self.index.groups is not None
        shard, at = self.index.shard_of(row)
        number = int(np.searchsorted(self.index.groups, row, side="right")) - 1
        file, (group, within) = self.index.path(shard), self.index.places[row].tolist()
        column, read = self._group(number, file, group, at)
        try:
            return Encoded(read(column[within]), file, at)
        except UserError as error:
            raise UserError(f"Row {at} of {str(file)!r} holds {error}.") from error

    def _group(
        self, number: int, file: Path, group: int, row: int
    ) -> tuple[Any, Callable[[Any], bytes]]:
        with self._lock:
            if number in self._held:
                self._held.move_to_end(number)
                return self._held[number]
            name = image_column(file)
            try:
                with pq.ParquetFile(file) as table:
                    column = table.read_row_group(group, columns=[name])[name]
            except (pa.ArrowException, OSError, IndexError) as error:
                raise UserError(
                    f"Cannot read the rows of {str(file)!r} about row {row}: "
                    f"{short(str(error).rstrip('.'), 200)}."
                ) from error
            self._held[number] = column, reader(column.type, file, name)
            held = sum(len(each) for each, _ in self._held.values())
            while held > WINDOW and len(self._held) > 2:
                held -= len(self._held.popitem(last=False)[1][0])
            return self._held[number]


def table_pictures(
    files: list[Path], folder: Path, classes: Classes, cache: Cache
) -> TablePictures:
    """The pictures of tables in row order.

    Raises:
        UserError: a file is no Parquet, cannot be read, or has a row without a label of `classes`.
    """

    def build(writer: IndexWriter) -> list[str]:
        for file in track(files, "list tables"):
            labels = labels_of(file, classes)
            with pq.ParquetFile(file) as table:
                told = table.metadata
                groups = [told.row_group(i).num_rows for i in range(told.num_row_groups)]
                sizes = [told.row_group(i).total_byte_size for i in range(told.num_row_groups)]
            rows = np.concatenate([np.arange(count) for count in groups])
            places = np.stack([np.repeat(np.arange(len(groups)), groups), rows], 1)
            name = file.relative_to(folder).as_posix()
            identity = f"{name} {file.stat().st_size} {groups} {sizes}\n".encode()
            writer.add(name, labels, places, identity, groups)
        return list(classes.names)

    def state(file: Path) -> tuple[str, int, int]:
        if file.suffix != ".parquet":
            raise UserError(
                f"{str(file)!r} is too large a set to be read from Arrow files: save it as Parquet."
            )
        status = file.stat()
        return str(file.absolute()), status.st_size, status.st_mtime_ns

    key = key_of(map(state, files), kind="tables", values=list(map(str, classes.values)))
    return TablePictures(index(cache, key, folder, build))
