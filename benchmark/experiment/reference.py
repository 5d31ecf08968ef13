"""Published figures to hold ours against: `reference.toml`, and what sizes alone give of it."""

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from ..exchange.official.sizes import Files, full_files, lpqld_batches, lpqld_files

FILE = Path(__file__).parent / "reference.toml"
UNITS = {"GiB": 2**30, "MiB": 2**20, "MB": 10**6, "B": 1, "x": 1, "%": 0.01}
NEAR = 0.03  # ratios that differ by so little are the same; `digits` -1
_whole = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_whole)
class AccuracyCell:
    """A published accuracy.

    Attributes:
        published, interval: in %, and half of its interval where one is given.
        width: points from it that count as the same.
        record: names of the cells that are ours.
        run: options of `run` that measure them.
        minutes: of one CPU core that this takes; 0 wants a GPU.
        cause: of a difference, where one was found.
    """

    name: str
    published: float
    width: float
    source: str
    protocol: str
    record: dict[str, str | int]
    run: list[str]
    interval: float | None = None
    minutes: float = 0
    cause: str = ""

    @property
    def command(self) -> str:
        """What measures it."""
        words = [f'"{word}"' if set("[]*") & {*word} else word for word in self.run]
        return "python -m benchmark run " + " ".join(words)


@dataclass(frozen=True, config=_whole)
class Sizes:
    """What a storage claim is about; as the files of `exchange.official.sizes` are."""

    classes: int
    epochs: int = 1
    batch: int = 1
    pruned: float = 0.0
    kept: int = 0
    mix: bool = True
    cutout: bool = False
    drop_last: bool = False
    full_batch: int = 1
    parameters: int = 0
    images_gb: list[float] = Field(default_factory=list)


Form = Literal["lpqld", "full", "lpqld-ratio", "images-ratio", "hello", "logits", "one-label"]


@dataclass(frozen=True, config=_whole)
class StorageClaim:
    """A published size, one figure an IPC.

    Attributes:
        digits: behind the point, to which ours must be equal; -1: within 3 %.
        form: what is computed: files of `lpqld`, `full` files, one over the other, full files
            over the images, `hello`'s parameters over bytes of logits, those bytes, or one fp16
            label an image.
        method: whose labels here these are, for `imagenet_sizes`; empty where none are.
    """

    name: str
    form: Form
    ipc: list[int]
    published: list[float]
    unit: Annotated[str, Field(pattern="^(GiB|MiB|MB|B|x|%)$")]
    digits: int
    source: str
    sizes: Sizes
    method: str = ""
    cause: str = ""


@dataclass(frozen=True)
class StorageCell:
    """A claim at one IPC, and ours, both in its unit."""

    claim: StorageClaim
    ipc: int
    published: float
    ours: float

    @property
    def met(self) -> bool:
        """Whether ours is the published figure, as it is written."""
        if self.claim.digits < 0:
            return abs(self.ours / self.published - 1) <= NEAR
        return round(self.ours, self.claim.digits) == self.published


@cache
def _read() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def accuracies() -> list[AccuracyCell]:
    """The published accuracies, in the order in which they are to be measured."""
    return TypeAdapter(list[AccuracyCell]).validate_python(_read()["accuracy"])


def storage() -> Iterator[StorageCell]:
    """The published sizes, with ours."""
    for claim in TypeAdapter(list[StorageClaim]).validate_python(_read()["storage"]):
        for number, (ipc, published) in enumerate(zip(claim.ipc, claim.published, strict=True)):
            value = _computed(claim.form, claim.sizes, ipc, number, claim.unit)
            yield StorageCell(claim, ipc, published, value / UNITS[claim.unit])


def _computed(form: Form, of: Sizes, ipc: int, number: int, unit: str) -> float:
    """Bytes, or a ratio. LPLD gives sizes in MB of files, others in GiB of blocks."""
    images = of.classes * ipc
    logits = of.epochs * images * of.classes * 2
    if form == "one-label":
        return images * of.classes * 2
    if form == "logits":
        return logits
    if form == "hello":
        return of.parameters / logits
    if form == "lpqld":
        return _lpqld(of, images)
    if form == "lpqld-ratio":
        return _full(of, images, of.full_batch, 0.0).disk / _lpqld(of, images)
    full = _full(of, images, of.batch, of.pruned)
    if form == "images-ratio":
        return full.disk / (of.images_gb[number] * 2**30)
    return full.apparent if unit == "MB" else full.disk


def _lpqld(of: Sizes, images: int) -> int:
    batches = lpqld_batches(images, of.epochs, of.batch, of.pruned)
    return lpqld_files(batches, of.batch, of.kept, images, of.mix, of.cutout).disk


def _full(of: Sizes, images: int, batch: int, pruned: float) -> Files:
    each = images // batch if of.drop_last else -(-images // batch)
    shown = each * batch if of.drop_last else images
    batches = round(of.epochs * each * (1 - pruned))
    return full_files(batches, batch, of.classes, shown, of.mix, of.cutout)
