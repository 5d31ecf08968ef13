"""Datasets of the Hugging Face hub, through its `datasets` library: `hf:NAME` or `hf:NAME:CONFIG`.

Columns, labels and splits are read as those of `parquet:PATH`. The library fetches what it has
not fetched yet; `hf://NAME` is the same.
"""

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmark.core.bounded import short
from benchmark.core.errors import UserError
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import Dataset
from benchmark.data.place import Place

from .parquet import read_folder
from .tables.layout import SPLITS
from .tables.table import IMAGE_COLUMNS

NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Hub(DatasetSource):
    """Any labelled images of the Hugging Face hub."""

    argument = "NAME"

    def load(self, place: Place, argument: str = "") -> Dataset:
        """The dataset NAME, or NAME:CONFIG; its tables are kept in the cache.

        Raises:
            UserError: the library is not installed, cannot load the dataset, or loads none that
                could be read in one way only.
        """
        name, _, config = argument.removeprefix("//").partition(":")
        if not NAME.fullmatch(name):
            raise UserError(
                f"hf:{argument} names no dataset of the hub. Give hf:NAME or hf:NAME:CONFIG, such "
                "as hf:uoft-cs/cifar10."
            )
        splits = _fetched(name, config)
        wanted = {split: splits[split] for split in SPLITS if split in splits}
        if "train" not in wanted:
            raise UserError(
                f"hf:{name} has no split train; it has: {short(', '.join(splits), 200) or 'none'}."
            )
        told = {split: str(table._fingerprint) for split, table in wanted.items()}

        def build(folder: Path) -> None:
            for split, table in wanted.items():
                pq.write_table(_whole(table), folder / f"{split}.parquet")

        key = {"hub": name, "config": config, "fingerprints": told}
        tables = place.cache.make("tables", key, build)
        title = f"hf:{name}:{config}" if config else f"hf:{name}"
        return read_folder(tables, place.cache, title, mirror=False)


def _fetched(name: str, config: str) -> Mapping[str, Any]:
    """All splits of a dataset, by name."""
    library = _library(name)
    if Path(name).exists():  # which the library would take instead
        raise UserError(
            f"hf:{name} names a dataset of the hub, but {name!r} is also here, in the current "
            f"folder: give parquet:{name} or folder:{name}, or start elsewhere."
        )
    try:
        splits = library.load_dataset(name, config or None)
    except Exception as error:  # of the network, of the hub, of a script, of a configuration
        raise UserError(
            f"The `datasets` library cannot load {name!r} ({type(error).__name__}: "
            f"{short(str(error), 300)}). Where the hub cannot be reached, fetch its Parquet files "
            "elsewhere and give parquet:PATH."
        ) from error
    if not isinstance(splits, Mapping):
        raise UserError(f"hf:{name} is no dataset of splits, but a {type(splits).__name__}.")
    return splits


def _library(name: str) -> ModuleType:
    """The `datasets` library, which this project's folder of that name would hide."""
    own, paths = Path(__file__).resolve().parent, sys.path
    sys.path = [path for path in paths if (Path(path) / "datasets").resolve() != own]
    try:
        library = importlib.import_module("datasets")
        if not hasattr(library, "load_dataset"):
            raise ImportError("another package has its name")
    except Exception as error:  # absent, or not whole
        raise UserError(
            f"hf:{name} needs the `datasets` library ({short(str(error), 200)}): run `pip install "
            "datasets`, or fetch the dataset's Parquet files and give parquet:PATH."
        ) from error
    finally:
        sys.path = paths
    return library


def _whole(split: Any) -> pa.Table:
    """The table of a split, with the pictures that it only names."""
    if getattr(split, "_indices", None) is not None:  # rows that were chosen or shuffled
        split = split.flatten_indices()
    table = split.data.table
    for at, field in enumerate(table.schema):
        kind = field.type
        told = pa.types.is_struct(kind) and {inner.name for inner in kind} >= {"bytes", "path"}
        if told and field.name in IMAGE_COLUMNS:
            chunks = [_embedded(chunk) for chunk in table.column(at).chunks]
            table = table.set_column(at, field, pa.chunked_array(chunks, kind))
    return table


def _embedded(chunk: pa.StructArray) -> pa.Array:
    if not chunk.field("bytes").null_count:
        return chunk
    rows = chunk.to_pylist()
    for row in rows:
        if row is not None and row["bytes"] is None and row["path"] is not None:
            try:
                row["bytes"] = Path(row["path"]).read_bytes()
            except OSError as error:
                raise UserError(f"Cannot read {row['path']!r}: {error}.") from error
    return pa.array(rows, chunk.type)
