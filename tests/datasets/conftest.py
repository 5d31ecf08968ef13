import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from benchmark.core.cache import Cache
from benchmark.data.place import Place


@pytest.fixture
def place(tmp_path) -> Place:
    """An empty data root, and stages that are not there yet."""
    (tmp_path / "root").mkdir()
    return Place(tmp_path / "root", Cache(tmp_path / "stages"))


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """A picture of one shade as an encoded file."""

    def encode(
        shade: int | tuple[int, int, int],
        side: int | tuple[int, int] = 4,
        mode: str = "RGB",
        kind: str = "PNG",
    ) -> bytes:
        size = (side, side) if isinstance(side, int) else side
        colour = (shade,) * 3 if mode == "RGB" and isinstance(shade, int) else shade
        buffer = io.BytesIO()
        Image.new(mode, size, colour).save(buffer, kind)
        return buffer.getvalue()

    return encode


@pytest.fixture(scope="session")
def write_table() -> Callable[..., None]:
    """A Parquet file in the Hugging Face image layout."""

    def write(
        file: Path, images: Sequence[bytes], labels: Sequence[int], names: Sequence[str] = ()
    ) -> None:
        rows = [{"bytes": image, "path": None} for image in images]
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = pa.table({"image": pa.array(rows, kind), "label": pa.array(labels, pa.int64())})
        if names:
            label = {"names": list(names), "_type": "ClassLabel"}
            features = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
            table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file)

    return write


@pytest.fixture
def write_set(place, encode, write_table) -> Callable[..., Path]:
    """A folder of tables by their names: the labels of each, or a whole table."""

    def write(
        tables: dict[str, Sequence[int] | pa.Table], names: Sequence[str] = ("cat", "dog")
    ) -> Path:
        folder = place.root / "set"
        shade = 0
        for name, told in tables.items():
            file = folder / name
            if isinstance(told, pa.Table):
                file.parent.mkdir(parents=True, exist_ok=True)
                pq.write_table(told, file)
                continue
            images = [encode(shade + i) for i in range(len(told))]
            write_table(file, images, told, names)
            shade += len(told)
        return folder

    return write
