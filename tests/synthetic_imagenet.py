"""A set like ImageNet in all that costs: many classes, JPEG files of its sizes, its three layouts.

As a program it writes one: `python tests/synthetic_imagenet.py FOLDER --classes 1000 --train 12
--test 1 --layout folders` (or `tars`, `tables`); then `--data-root` is the folder above.
"""

import argparse
import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIZE = (500, 375)  # of most of ImageNet-1K
NOISE, QUALITY = 16.0, 92  # give the 110 kB of its mean
LAYOUTS = ("folders", "tars", "tables")
GROUP = 100  # rows that Hugging Face's tools write together


def wnid(label: int) -> str:
    """The WordNet id that stands for a class."""
    return f"n{1000000 + 37 * label:08d}"


@cache
def noise(number: int, size: tuple[int, int]) -> np.ndarray:
    """Grey noise, int16 (H, W, 1)."""
    made = np.random.default_rng(number).normal(0, NOISE, (size[1], size[0], 1))
    return made.astype(np.int16)


def picture(label: int, number: int, size: tuple[int, int] = SIZE) -> bytes:
    """A JPEG of a texture and colour that are its class's, with noise: the mean size of ImageNet's.

    Those of one class are the same texture, turned round.
    """
    random = np.random.default_rng(label)
    base = random.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    texture = np.asarray(Image.fromarray(base).resize(size, Image.Resampling.BICUBIC))
    turned = np.roll(texture, (11 * number, 17 * number), (0, 1)) + noise(number % 7, size)
    buffer = io.BytesIO()
    Image.fromarray(turned.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def pictures(
    classes: int, each: int, first: int, size: tuple[int, int]
) -> Iterator[tuple[int, int, bytes]]:
    """Label, number and JPEG of every picture, class by class."""
    asked = [(label, first + i) for label in range(classes) for i in range(each)]
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(asked), 64):
            block = asked[start : start + 64]
            made = pool.map(lambda one: picture(one[0], one[1], size), block)
            yield from ((*one, data) for one, data in zip(block, made, strict=True))


def write(
    folder: Path,
    classes: int,
    train: int,
    test: int,
    layout: str = "folders",
    size: tuple[int, int] = SIZE,
    shard: int = 500,
) -> None:
    """A whole set: `train` and `test` pictures of each class.

    Args:
        shard: pictures of a tar or table, which hold the classes in turn, as published ones do.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    for split, each, first in (("train", train, 0), ("val", test, train)):
        found = pictures(classes, each, first, size)
        if layout == "folders":
            _folders(folder / split, found)
            continue
        mixed = sorted(found, key=lambda one: (one[1], one[0]))
        parts = [mixed[start : start + shard] for start in range(0, len(mixed), shard)]
        for number, part in enumerate(parts):
            stem = f"{split}-{number:05d}-of-{len(parts):05d}"
            if layout == "tars":
                _tar(folder / split / f"{stem}.tar", part)
            else:
                name = stem.replace("val-", "validation-")
                _table(folder / "data" / f"{name}.parquet", part, classes)


def _folders(split: Path, found: Iterator[tuple[int, int, bytes]]) -> None:
    for label, number, data in found:
        file = split / wnid(label) / f"{wnid(label)}_{number}.JPEG"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def _tar(file: Path, part: list[tuple[int, int, bytes]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for label, number, data in part:
            for suffix, content in (("jpg", data), ("cls", str(label).encode())):
                member = tarfile.TarInfo(f"{wnid(label)}_{number}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _table(file: Path, part: list[tuple[int, int, bytes]], classes: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    rows = [{"bytes": data, "path": None} for _, _, data in part]
    label = {"names": [wnid(i) for i in range(classes)], "_type": "ClassLabel"}
    told = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    columns = {"image": pa.array(rows, kind), "label": pa.array([one[0] for one in part])}
    table = pa.table(columns).replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(table, file, row_group_size=GROUP)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    for name, default in (("classes", 1000), ("train", 12), ("test", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--layout", choices=LAYOUTS, default="folders")
    asked = parser.parse_args()
    write(asked.folder, asked.classes, asked.train, asked.test, asked.layout)
