"""Labelled images: what real and distilled sets have in common.

Small sets are resident as one `uint8` tensor; sets too large for that are streamed (`streamed`).
Both answer `take`, `batches` and `order`, so the rest of the suite does not tell them apart.
"""

import hashlib
import io
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from ..core.bounded import short
from ..core.cache import Cache
from ..core.errors import UserError
from ..core.facts import fact
from ..core.files import hold
from ..core.progress import track
from .upright import DEEP, upright

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GREY = ("1", "L", "LA")
TINGE = 48  # channels may differ so much in a grey picture that was saved as a JPEG of three
SOURCE = "source.txt"
UNREAD = "unread"  # the digest of images whose pixels were never read on this machine
UNLABELLED = -1  # of images that show none of the classes
DECODER = 2  # counts in the keys of decoded stages: one more whenever pixels are decoded otherwise
MOST_PIXELS = 2**26  # of a picture; ImageNet's largest has 61 million
# Pillow knows many more, and runs other programs for some of them.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "PPM", "TIFF")
Statistics = tuple[tuple[float, ...], tuple[float, ...]]


class Images(ABC):
    """A labelled set of square pictures.

    Attributes:
        labels: class of each image, int64 (N,), on the CPU; all UNLABELLED in a set whose images
            show none of the classes.
        class_names: one name a class, in label order.
        digest: SHA-256 of the content; part of every key that depends on these images.
        channels, resolution: of every image; 1 or 3, and pixels a side.
    """

    labels: Tensor
    class_names: tuple[str, ...]
    digest: str
    channels: int
    resolution: int

    @abstractmethod
    def take(self, indices: Tensor) -> Tensor:
        """The images of `indices` (B,), as uint8 (B, channels, resolution, resolution)."""

    def batches(self, indices: Iterable[Tensor]) -> Iterator[Tensor]:
        """`take` of each, in turn; a set that decodes as it goes is at work on the next ones."""
        return map(self.take, indices)

    def order(self, seed: int, epoch: int) -> np.ndarray | None:
        """An order that shows every image once and is fast to read, int64 (N,).

        None where every order is as fast, so that the reader's own serves.
        """
        return None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def labelled(self) -> bool:
        """Whether the images show the classes, so that each has a label of its own."""
        return not len(self) or int(self.labels[0]) != UNLABELLED


class ResidentImages(Images):
    """Images held whole, as uint8 (N, C, R, R); `pixels` may be memory-mapped or on a device.

    Attributes:
        positions: where torchvision's `ImageFolder` lists each image, int64 (N,), by which labels
            of others count; None where that is their order here, and of images that lay in no
            folder.
    """

    def __init__(
        self,
        pixels: Tensor,
        labels: Tensor,
        class_names: Sequence[str],
        digest: str | None = None,
        positions: Tensor | None = None,
    ) -> None:
        if pixels.ndim != 4 or pixels.dtype != torch.uint8 or pixels.shape[2] != pixels.shape[3]:
            raise UserError(
                f"Images must be uint8 (N, C, R, R), got {pixels.dtype} {tuple(pixels.shape)}."
            )
        if len(pixels) != len(labels):
            raise UserError(f"{len(pixels)} images came with {len(labels)} labels.")
        unlabelled = bool((labels == UNLABELLED).all())
        if not unlabelled and not 0 <= labels.min() <= labels.max() < len(class_names):
            raise UserError(
                f"Labels run from {int(labels.min())} to {int(labels.max())}, "
                f"but there are {len(class_names)} class names."
            )
        self.pixels = pixels
        self.labels = labels.long()
        self.class_names = tuple(class_names)
        self.channels, self.resolution = pixels.shape[1], pixels.shape[2]
        if positions is not None and not torch.equal(
            positions.sort().values, torch.arange(len(labels))
        ):
            raise UserError(f"The positions of {len(labels)} images must be 0 to the last, once.")
        in_order = positions is None or torch.equal(positions, torch.arange(len(labels)))
        self.positions = None if in_order else positions
        self.digest = digest or images_digest(pixels, self.labels, self.positions)

    def take(self, indices: Tensor) -> Tensor:
        return self.pixels[indices.to(self.pixels.device, non_blocking=True)]

    def to(self, device: torch.device) -> "ResidentImages":
        """The same images with their pixels on `device`."""
        pixels = self.pixels.to(device)
        return ResidentImages(pixels, self.labels, self.class_names, self.digest, self.positions)


class Undecoded(Images):
    """Images of which only labels and sizes were read, for a run that only looks at what is there.

    Attributes:
        missing: bytes of pixels that would be decoded and kept; 0 where they are kept already.
    """

    def __init__(
        self,
        labels: Tensor,
        class_names: Sequence[str],
        digest: str,
        shape: tuple[int, int],
        missing: int = 0,
    ) -> None:
        self.labels = labels.long()
        self.class_names = tuple(class_names)
        self.digest = digest
        self.channels, self.resolution = shape
        self.missing = missing

    def take(self, indices: Tensor) -> Tensor:
        raise RuntimeError("pixels are asked for, and only labels and sizes were read")


@dataclass(frozen=True)
class Dataset:
    """A real dataset: training and test images, and what a student must know of the pixels.

    Attributes:
        mean, std: per channel, of training pixels in 0..1.
        mirror: whether an image's mirror image keeps its class (not so for digits, letters).
    """

    name: str
    train: Images
    test: Images
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirror: bool

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes' names, by label."""
        return self.train.class_names


def of_classes(dataset: Dataset, labels: Sequence[int], name: str, cache: Cache) -> Dataset:
    """The part of a dataset that shows these classes, relabelled 0, 1, ... in their order.

    Mean and standard deviation stay those of the whole.

    Args:
        cache: keeps the digests of the parts.
    """
    new_label = torch.full((len(dataset.class_names),), -1)
    new_label[torch.tensor(labels)] = torch.arange(len(labels))
    names = [dataset.class_names[label] for label in labels]

    def part(images: Images) -> Images:
        """Those of one split."""
        shown = torch.nonzero(new_label[images.labels] >= 0).squeeze(1)

        def taken() -> ResidentImages:
            return ResidentImages(images.take(shown), new_label[images.labels[shown]], names)

        follows = [images.digest, list(labels), names]
        return derived(images, "part", follows, taken, new_label[images.labels[shown]], cache)

    train, test = part(dataset.train), part(dataset.test)
    return Dataset(name, train, test, dataset.mean, dataset.std, dataset.mirror)


def derived(
    images: Images,
    kind: str,
    follows: Any,
    make: Callable[[], ResidentImages],
    labels: Tensor,
    cache: Cache,
) -> Images:
    """What `make` makes of images, its digest kept, so that it is known where they are not decoded.

    Args:
        follows: JSON value that decides the digest.
        labels: of what is made, of the classes that `follows` ends with.
    """
    if not isinstance(images, Undecoded):
        made = make()
        fact(cache, kind, follows, lambda: made.digest)
        return made
    shape = images.channels, images.resolution
    known = fact(cache, kind, follows, lambda: "") or UNREAD
    return Undecoded(labels, follows[-1], known, shape, images.missing)


def images_digest(pixels: Tensor, labels: Tensor, positions: Tensor | None = None) -> str:
    """SHA-256 over shape, pixels, labels, and positions where there are any."""
    sha = hashlib.sha256(repr(tuple(pixels.shape)).encode())
    for start in range(0, len(pixels), 4096):
        sha.update(pixels[start : start + 4096].cpu().contiguous().numpy().data)
    for numbers in (labels,) if positions is None else (labels, positions):
        sha.update(numbers.cpu().contiguous().numpy().data)
    return sha.hexdigest()


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded picture that lies in a row of a table or tar; row and file are for errors."""

    data: bytes
    file: Path
    row: int | None  # None of a file of its own


Source = Path | Encoded


@contextmanager
def opened(source: Source) -> Iterator[Image.Image]:
    """A picture of a bounded size, of which only the header is read yet.

    Raises:
        UserError: it is none, or what is done with it fails, with its name.
    """
    table = isinstance(source, Encoded)
    name = repr(str(source.file if table else source))
    if table and source.row is not None:
        name = f"row {source.row} of {name}"
    if not table and not source.is_file():  # a pipe would never end
        raise UserError(f"Cannot decode {name}: it is no plain file.")
    try:
        with Image.open(io.BytesIO(source.data) if table else source, formats=FORMATS) as picture:
            refuse_large(picture.size)
            yield picture
    except UserError as error:
        raise UserError(f"Cannot decode {name}: {error}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UserError(
            f"Cannot decode {name}: it has more than {MOST_PIXELS:,} pixels."
        ) from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(FORMATS)
        raise UserError(f"Cannot decode {name}: it is no picture ({kinds}).") from error
    except Exception as error:  # damage may make the reader fail in any way
        raise UserError(f"Cannot decode {name}: {short(str(error), 200)}.") from error


def refuse_large(size: Sequence[int]) -> None:
    """Raise a UserError for a picture of more pixels than any needs."""
    if size[0] * size[1] > MOST_PIXELS:
        raise UserError(
            f"it has, or would be scaled to, {size[0]} x {size[1]} pixels; "
            f"{MOST_PIXELS:,} are the most."
        )


def shape_of(sources: Iterable[Source]) -> tuple[int, int]:
    """Channels (3 as soon as one picture has colour), and the commonest short side, in pixels."""
    sides, colour = Counter(), False
    for source in sources:
        with opened(source) as picture:
            sides[min(picture.size)] += 1
            colour |= picture.mode not in (*GREY, *DEEP)
    return (3 if colour else 1), sides.most_common(1)[0][0]


def decode(source: Source, channels: int, resolution: int) -> np.ndarray:
    """One encoded picture as uint8 (C, R, R): grey or RGB, short side resized, centre cropped.

    It is turned as its EXIF orientation says; more than 8 bits are scaled, not clipped.

    Raises:
        UserError: it cannot be read, or has colours where grey is asked for.
    """
    with opened(source) as picture:
        picture = upright(picture)
        if channels == 1:
            _refuse_colours(picture)
        picture = picture.convert("L" if channels == 1 else "RGB")
        if picture.size != (resolution, resolution):
            scale = resolution / min(picture.size)
            size = [max(resolution, round(side * scale)) for side in picture.size]
            refuse_large(size)
            left, top = ((side - resolution) // 2 for side in size)
            picture = picture.resize(size, Image.Resampling.BICUBIC)
            picture = picture.crop((left, top, left + resolution, top + resolution))
        array = np.asarray(picture)
    return array[None] if channels == 1 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _refuse_colours(picture: Image.Image) -> None:
    """A set is grey where the pictures looked at are; another one would lose its colours."""
    if picture.mode in GREY:
        return
    colours = np.asarray(picture.convert("RGB")).astype(np.int16)
    if len(colours) and int(np.ptp(colours, axis=2).max()) > TINGE:
        raise UserError("it has colours, and the set it is for is grey")


def decode_all(
    sources: Sequence[Source], channels: int, resolution: int, label: str
) -> Callable[[Path], None]:
    """A stage builder: decode `sources` a block at a time.

    Writes `pixels.npy`, uint8 (N, C, R, R), `statistics.npy`, the mean and standard deviation of
    each channel in 0..1, float64 (2, C), and `source.txt`, the folder of the first picture.
    """

    def build(folder: Path) -> None:
        """Write the stage into `folder`."""
        shape = (len(sources), channels, resolution, resolution)
        pixels = np.lib.format.open_memmap(folder / "pixels.npy", "w+", np.uint8, shape)
        hold(folder / "pixels.npy")
        block = 512
        with ThreadPoolExecutor() as pool:
            for start in track(range(0, len(sources), block), label):
                part = list(
                    pool.map(
                        lambda s: decode(s, channels, resolution), sources[start : start + block]
                    )
                )
                pixels[start : start + len(part)] = part
        pixels.flush()
        first = sources[0]
        came = (first.file if isinstance(first, Encoded) else first).absolute().parent
        (folder / SOURCE).write_text(str(came), encoding="utf-8")
        np.save(folder / "statistics.npy", pixel_statistics(torch.from_numpy(pixels)))

    return build


def source_of(stage: Path) -> Path | None:
    """The folder that the pixels of a `decode_all` stage came from; None where it is not told."""
    told = stage / SOURCE
    return Path(told.read_text(encoding="utf-8")) if told.is_file() else None


def decoded(
    cache: Cache,
    key: Mapping[str, Any],
    build: Callable[[Path], None],
    labels: Tensor,
    class_names: Sequence[str],
    shape: tuple[int, int],
) -> tuple[Images, Statistics]:
    """The images that a stage of `decode_all` holds, and their mean and standard deviation in 0..1.

    Pixels stay in a private (copy-on-write) memory map. Where `cache` is only looked at they are
    not read; statistics that are not known then are no numbers.

    Args:
        key: of the stage.
        build: what `decode_all` gives.
        shape: channels, and pixels a side.
    """
    folder, (channels, side) = cache.folder("decoded", key), shape
    sha = hashlib.sha256(folder.name.encode())
    sha.update(labels.numpy().data)
    if cache.look_only:
        size = len(labels) * channels * side * side
        missing = 0 if cache.done("decoded", key) else size
        images: Images = Undecoded(labels, class_names, sha.hexdigest(), shape, missing)
        mean, std = fact(cache, "statistics", dict(key), list) or [[math.nan] * channels] * 2
        return images, (tuple(mean), tuple(std))
    folder = cache.make("decoded", key, build)
    pixels = torch.from_numpy(np.load(folder / "pixels.npy", mmap_mode="c"))
    mean, std = np.load(folder / "statistics.npy").tolist()
    fact(cache, "statistics", dict(key), lambda: [mean, std])
    return ResidentImages(pixels, labels, class_names, sha.hexdigest()), (tuple(mean), tuple(std))


def pixel_statistics(pixels: Tensor) -> np.ndarray:
    """Mean and standard deviation of each channel of uint8 (N, C, R, R), as (2, C) in 0..1."""
    counts = torch.zeros(pixels.shape[1], 256, dtype=torch.float64)
    for block in pixels.split(4096):
        for channel in range(pixels.shape[1]):
            counts[channel] += torch.bincount(block[:, channel].flatten().int(), minlength=256)
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ values
    std = (share @ values.square() - mean.square()).sqrt()
    return torch.stack([mean, std]).round(decimals=6).numpy()
