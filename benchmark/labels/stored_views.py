"""Views that no seed gives back, packed small: those of labels that others made.

A number that falls on a whole pixel is kept as that pixel, an image as its index, each in as
few bits as can tell its values apart. Official mixes have one box and one weight a batch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import ArtefactError
from ..data.views import ViewBatch
from .artefact import StoredTensor
from .container import like
from .packing import packed_bytes, unpack, width_for
from .writer import PackedWriter, Stored, TensorWriter

PREFIX = "views."
MIX = ("partner", "mix_box", "mix_opacity")
WHOLE = ("index", "crop", "flip")  # always there, beside the sizes


def as_shares(pixels: Tensor, side: int) -> Tensor:
    """Whole pixels as shares of the side, float32, to the bit as `ViewPlan` computes them."""
    return (pixels.double() / side).float()


def as_pixels(shares: Tensor, side: int) -> Tensor:
    """The nearest whole pixels, int64, of shares of the side."""
    return (shares.double() * side).round().long()


def _outside(boxes: Tensor, side: int, least: int) -> bool:
    """Whether boxes in pixels, (B, 4), leave the image, or have a side below `least`."""
    return bool((boxes[:, 2:] < least).any() or (boxes[:, :2] + boxes[:, 2:] > side).any())


@dataclass(frozen=True)
class StoredViews:
    """Batches of views, read one at a time; batch n has the address epoch 0, batch n.

    Attributes:
        parts: packed tensors by name, on the CPU or on disk: `sizes` int32 (batches,), and as
            uint8 bytes `index`, `crop`, `flip`; where any view is mixed also `partner`,
            `mix_box` and the float32 `mix_opacity` (batches,); where any has Cutout also
            `cutout`, float32 (views, 7), box and colour.
        images, resolution, batch_size: as given to the `ViewWriter`; they set the widths.
        offsets: views before each batch, and in all.
    """

    parts: Mapping[str, Tensor | Stored]
    images: int
    resolution: int
    batch_size: int
    offsets: tuple[int, ...]

    @classmethod
    def restore(
        cls,
        tensors: Mapping[str, Tensor | Stored],
        images: int,
        resolution: int,
        batch_size: int,
    ) -> "StoredViews":
        """From an artefact's tensors; those of other names are left alone.

        Raises:
            ArtefactError: a part is missing, or has another length than the views need.
        """
        parts = {n.removeprefix(PREFIX): t for n, t in tensors.items() if n.startswith(PREFIX)}
        if missing := {"sizes", *WHOLE} - parts.keys():
            raise ArtefactError(f"The stored views lack {', '.join(sorted(missing))}.")
        if parts["sizes"].dtype != torch.int32 or len(parts["sizes"].shape) != 1:
            raise ArtefactError("The stored views' sizes are not a row of int32.")
        sizes = parts["sizes"][:].tolist()
        if not all(0 < size <= batch_size for size in sizes):
            raise ArtefactError(f"The stored views have batches that are not 1 to {batch_size}.")
        views = cls(parts, images, resolution, batch_size, tuple(accumulate(sizes, initial=0)))
        for name, length in views._lengths().items():
            part = parts.get(name, torch.empty(0))
            shape = (length, 7) if name == "cutout" else (length,)
            kind = {"sizes": torch.int32, "mix_opacity": torch.float32, "cutout": torch.float32}
            if part.dtype != kind.get(name, torch.uint8) or tuple(part.shape) != shape:
                raise ArtefactError(
                    f"The stored views' {name} is {part.dtype} {tuple(part.shape)} where "
                    f"{views.batches} batches need {kind.get(name, torch.uint8)} {shape}."
                )
        return views

    @property
    def batches(self) -> int:
        """How many batches."""
        return len(self.offsets) - 1

    def rows(self, number: int) -> slice:
        """Where the views of a batch stand among all, in order."""
        return slice(self.offsets[number], self.offsets[number + 1])

    def batch(self, number: int) -> ViewBatch:
        """The views of one batch.

        Raises:
            ArtefactError: they show an image, or are mixed with a view, that is not there.
        """
        rows = self.rows(number)
        count = rows.stop - rows.start
        index = self._read("index", rows.start, count)
        crop = self._read("crop", 4 * rows.start, 4 * count).view(count, 4)
        partner, box, opacity = self._mix(number, rows, count)
        filled = self.parts["cutout"][rows] if "cutout" in self.parts else torch.zeros(count, 7)
        outside = (
            _outside(crop, self.resolution, least=1)
            or _outside(box, self.resolution, least=0)
            or not ((filled >= 0) & (filled <= 1)).all()
            or not ((opacity >= 0) & (opacity <= 1)).all()
        )
        if outside or int(index.max()) >= self.images or int(partner.max()) >= count:
            raise ArtefactError(f"The stored views' batch {number} shows what is not there.")
        return ViewBatch(
            index=index,
            crop=as_shares(crop, self.resolution),
            flip=self._read("flip", rows.start, count).bool(),
            partner=partner,
            mix_box=as_shares(box, self.resolution),
            mix_opacity=opacity,
            cutout_box=filled[:, :4],
            cutout_colour=filled[:, 4:],
            epoch=0,
            batch=number,
            mixed="partner" in self.parts,
            filled="cutout" in self.parts,
        )

    def tensors(self) -> Iterator[StoredTensor]:
        """What an artefact keeps of them."""
        for name, tensor in self.parts.items():
            yield StoredTensor(PREFIX + name, "views", tensor)

    def _mix(self, number: int, rows: slice, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Partners (B,), boxes in pixels (B, 4) and opacities (B,)."""
        if "partner" not in self.parts:
            return torch.arange(count), torch.zeros(count, 4), torch.zeros(count)
        box = self._read("mix_box", 4 * number, 4)
        opacity = self.parts["mix_opacity"][number : number + 1]
        return (
            self._read("partner", rows.start, count),
            box.expand(count, 4),
            opacity.repeat(count),
        )

    def _read(self, name: str, start: int, count: int) -> Tensor:
        width = widths(self.images, self.resolution, self.batch_size)[name]
        return unpack(self.parts[name], width, start, count)

    def _lengths(self) -> dict[str, int]:
        """Rows that each part must have."""
        views, batches = self.offsets[-1], self.batches
        width = widths(self.images, self.resolution, self.batch_size)
        values = {"index": views, "crop": 4 * views, "flip": views}
        fixed = {"sizes": batches}
        if any(name in self.parts for name in MIX):
            values |= {"partner": views, "mix_box": 4 * batches}
            fixed["mix_opacity"] = batches
        if "cutout" in self.parts:
            fixed["cutout"] = views
        return fixed | {n: packed_bytes(count, width[n]) for n, count in values.items()}


def widths(images: int, resolution: int, batch_size: int) -> dict[str, int]:
    """Bits of a number of each packed part."""
    pixel = width_for(resolution + 1)
    return {
        "index": width_for(images),
        "crop": pixel,
        "flip": 1,
        "partner": width_for(batch_size),
        "mix_box": pixel,
    }


def batch_bytes(images: int, resolution: int, batch_size: int) -> int:
    """The most bytes that a batch of views without Cutout takes."""
    bits = widths(images, resolution, batch_size)
    a_view = bits["index"] + 4 * bits["crop"] + bits["flip"] + bits["partner"]
    # The size and the mix weight take four bytes each.
    return packed_bytes(batch_size * a_view + 4 * bits["mix_box"], 1) + 8


def stand_ins(numbers: int) -> list[StoredTensor]:
    """Tensors as stored views are shipped as, of so many numbers and without values."""
    names = ("sizes", *WHOLE, *MIX, "cutout")
    return [like(PREFIX + name, "views", torch.uint8, numbers) for name in names]


class ViewWriter:
    """Packs views as they come, batch by batch, into files of `scratch`.

    Args:
        scratch: an existing folder; the files stay there.
        images: how many images the views may show.
        resolution: pixels a side.
        batch_size: the largest batch.
    """

    def __init__(self, scratch: Path, images: int, resolution: int, batch_size: int) -> None:
        self._images, self._resolution, self._batch_size = images, resolution, batch_size
        self._sizes: list[int] = []
        self._mixed = self._filled = False
        self._packed = {
            name: PackedWriter(scratch / f"{PREFIX}{name}", width)
            for name, width in widths(images, resolution, batch_size).items()
        }
        self._opacity = TensorWriter(scratch / f"{PREFIX}mix_opacity", torch.float32)
        self._cutout = TensorWriter(scratch / f"{PREFIX}cutout", torch.float32, (7,))

    def add(self, views: ViewBatch) -> None:
        """Append one batch.

        Raises:
            ArtefactError: crops or mix boxes are not whole pixels, the batch has several mix
                boxes or weights, or it is larger than `batch_size`.
        """
        number, count = len(self._sizes), len(views)
        if not 0 < count <= self._batch_size:
            raise ArtefactError(
                f"Batch {number} has {count} views; valid: 1 to {self._batch_size}."
            )
        box, opacity = views.mix_box[:1], views.mix_opacity[:1]
        if not (views.mix_box == box).all() or not (views.mix_opacity == opacity).all():
            raise ArtefactError(f"Batch {number} has several mix boxes or weights; store one.")
        crop = self._pixels(views.crop, f"The crops of batch {number}")
        self._packed["mix_box"].add(self._pixels(box, f"The mix box of batch {number}"))
        self._packed["index"].add(views.index)
        self._packed["crop"].add(crop)
        self._packed["flip"].add(views.flip)
        self._packed["partner"].add(views.partner)
        self._opacity.add(opacity)
        self._cutout.add(torch.cat([views.cutout_box, views.cutout_colour], dim=1))
        own = bool((views.partner.cpu() == torch.arange(count)).all())
        self._mixed |= not own or bool(box.any()) or bool(opacity.any())
        self._filled |= bool(views.cutout_box.any())
        self._sizes.append(count)

    def stored(self) -> StoredViews:
        """All batches; nothing can be added afterwards."""
        parts: dict[str, Tensor | Stored] = {"sizes": torch.tensor(self._sizes, dtype=torch.int32)}
        parts |= {name: writer.stored() for name, writer in self._packed.items()}
        parts |= {"mix_opacity": self._opacity.stored(), "cutout": self._cutout.stored()}
        absent = (() if self._mixed else MIX) + (() if self._filled else ("cutout",))
        tensors = {PREFIX + name: t for name, t in parts.items() if name not in absent}
        return StoredViews.restore(tensors, self._images, self._resolution, self._batch_size)

    def _pixels(self, shares: Tensor, what: str) -> Tensor:
        """Shares of the side as pixels that give back exactly these shares."""
        pixels = as_pixels(shares, self._resolution)
        if not torch.equal(as_shares(pixels, self._resolution), shares):
            raise ArtefactError(f"{what} must fall on whole pixels of {self._resolution}.")
        return pixels
