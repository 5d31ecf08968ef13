"""Distilled sets that others saved as tensors: `.pt`, `.pth` or `.npz`, read without running code.

    DC, DSA             `res_*.pt`: {"data": [[images, labels], ...]}, one pair an experiment
    MTT, DATM           `images_best.pt`, with `labels_best.pt` and `lr.pt` beside it
    FRePo, DD-Ranking   one mapping or `.npz` of images and labels

Images are (N, C, R, R) or (N, R, R, C): uint8, floats in 0..1, or floats that a mean and a standard
deviation normalised. Labels are classes (N,), or rows of probabilities or logits (N, classes).
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..core.bounded import short
from ..core.errors import UserError
from ..core.pickles import MOST_BYTES, read_pickled, refuse_bomb
from ..core.pickles import SUFFIXES as PICKLED

SUFFIXES = (".pt", ".pth", ".npz")
IMAGES = ("images", "image", "data", "x", "x_proto", "x_syn", "image_syn", "images_train")
LABELS = ("labels", "label", "targets", "y", "y_proto", "y_syn", "label_syn", "labels_train")
RATES = ("lr", "syn_lr", "learning_rate")
LARGEST = 2**14  # pixels a side


@dataclass(frozen=True)
class TensorsOfOthers:
    """What was found.

    Attributes:
        images: uint8 or float32 (N, C, R, R), as they were saved.
        labels: int64 (N,), or float32 (N, classes).
        rate: the students' learning rate that was learned with them; None where none was.
        norm: mean and standard deviation that the file tells, per channel; None where it does not.
    """

    images: Tensor
    labels: Tensor
    rate: float | None
    norm: tuple[Sequence[float], Sequence[float]] | None

    @property
    def classes(self) -> Tensor:
        """The class of each image, int64 (N,): of a row, its largest."""
        return self.labels if self.labels.ndim == 1 else self.labels.argmax(1)


def read_tensors(file: Path, experiment: int = 0) -> TensorsOfOthers:
    """The set in a file, with the labels and the rate that lie beside it.

    Args:
        experiment: which pair of several that a file of DC or DSA holds.

    Raises:
        UserError: it is damaged, carries code, or holds no images with labels.
    """
    with _understood(file):
        return _read(file, experiment)


def _read(file: Path, experiment: int) -> TensorsOfOthers:
    held: Any = _held(file)
    if isinstance(held, Mapping) and isinstance(held.get("data"), list | tuple):
        pairs = held["data"]
        if not 0 <= experiment < len(pairs) or len(pairs[experiment]) != 2:
            raise UserError(
                f"{str(file)!r} holds {len(pairs)} experiments; {experiment} is none of them."
            )
        held = dict(zip(("images", "labels"), pairs[experiment], strict=True))
    elif isinstance(held, Tensor):
        held = {"images": held, "labels": _beside(file, "labels"), "lr": _beside(file, "lr")}
    elif isinstance(held, list | tuple) and len(held) == 2:
        held = dict(zip(("images", "labels"), held, strict=True))
    if not isinstance(held, Mapping):
        raise UserError(f"{str(file)!r} holds {type(held).__name__}, and no images with labels.")
    images, labels = _of(held, IMAGES), _of(held, LABELS)
    if not isinstance(images, Tensor) or not isinstance(labels, Tensor):
        raise UserError(
            f"{str(file)!r} holds no images with labels: of {short(', '.join(map(str, held)))} "
            f"none is one of {', '.join(IMAGES)}, or of {', '.join(LABELS)}. Of a tensor of "
            "images alone, the labels stand beside it (labels_best.pt beside images_best.pt)."
        )
    rate = _of(held, RATES)
    norm = (held["mean"], held["std"]) if {"mean", "std"} <= held.keys() else None
    if rate is not None and not math.isfinite(rate := float(rate)):
        raise UserError(f"The learning rate in {str(file)!r} is {rate}.")
    return TensorsOfOthers(
        _images(images, file),
        _labels(labels, len(images), file),
        rate,
        None if norm is None else tuple(_row(part, file) for part in norm),  # type: ignore[arg-type]
    )


def read_soft_labels(file: Path, experiment: int = 0) -> Tensor:
    """The rows of a set's labels, float32 (N, classes), of its own file or the labels' alone.

    Raises:
        UserError: as `read_tensors`, or there are only classes.
    """
    held = _held(file)
    alone = isinstance(held, Tensor) and held.ndim == 2
    with _understood(file):
        rows = _labels(held, len(held), file) if alone else _read(file, experiment).labels
    if rows.ndim != 2:
        raise UserError(f"{str(file)!r} has one class an image and no soft labels: take hard.")
    return rows


@contextmanager
def _understood(file: Path) -> Iterator[None]:
    """Whatever else a file's parts may be, as a sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # others may put anything anywhere
        told = f"{type(error).__name__}: {short(str(error), 200)}"
        raise UserError(
            f"{str(file)!r} holds no images with labels that can be read ({told})."
        ) from error


def files_of(file: Path) -> tuple[Path, ...]:
    """The file, and those beside it that `read_tensors` may read too."""
    beside = [place for what in ("labels", "lr") for place in _places(file, what)]
    return (file, *(place for place in dict.fromkeys(beside) if place.is_file()))


def _held(file: Path) -> Any:
    if file.suffix in PICKLED:
        return read_pickled(file)
    try:
        refuse_bomb(file, MOST_BYTES)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    except Exception as error:  # damage may make the reader fail in any way
        why = short(str(error), 200).rstrip(".")
        raise UserError(f"Cannot read {str(file)!r} as numbers: {why}.") from error


def _beside(file: Path, what: str) -> Any:
    """What MTT and DATM save beside `images_best.pt`: `labels_best.pt`, `lr_best.pt` or `lr.pt`."""
    return next((read_pickled(place) for place in _places(file, what) if place.is_file()), None)


def _places(file: Path, what: str) -> list[Path]:
    name = re.sub("^images?", what, file.name)
    places = [file.with_name(name), file.with_name(f"{what}{file.suffix}")]
    return [place for place in places if place != file]


def _of(held: Mapping[Any, Any], names: Sequence[str]) -> Any:
    """The first entry of these names, whatever the case of its letters."""
    lower = {str(name).lower(): value for name, value in held.items()}
    return next((lower[name] for name in names if lower.get(name) is not None), None)


def _images(images: Tensor, file: Path) -> Tensor:
    """As (N, C, R, R)."""
    shape = tuple(images.shape)
    if images.layout != torch.strided:
        raise UserError(f"The images of {str(file)!r} are stored as {images.layout}.")
    if images.ndim == 4 and shape[1] not in (1, 3) and shape[3] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if images.ndim == 3:
        images = images[:, None]
    side = images.shape[-1] if shape else 0
    fits = images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[2] == side
    if not fits or not len(images) or not 0 < side <= LARGEST:
        raise UserError(
            f"The images of {str(file)!r} are {shape}; they must be (N, channels, side, side)."
        )
    if images.dtype == torch.uint8:
        return images.contiguous()
    if not images.is_floating_point():
        raise UserError(
            f"The images of {str(file)!r} are {images.dtype}; they must be uint8 or floats."
        )
    if not images.isfinite().all():
        raise UserError(f"A number of the images in {str(file)!r} is not finite.")
    return images.detach().float().contiguous()


def _labels(labels: Tensor, count: int, file: Path) -> Tensor:
    labels = labels.detach()
    if labels.is_complex() or not labels.isfinite().all():
        raise UserError(f"A label of {str(file)!r} is not finite, or complex.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2) or len(labels) != count:
        raise UserError(f"{str(file)!r} holds {count} images and labels {tuple(labels.shape)}.")
    if labels.ndim == 2:
        return labels.float()
    if labels.is_floating_point() and not torch.equal(labels, labels.round()):
        raise UserError(f"A label of {str(file)!r} is no whole number.")
    return labels.long()


def _row(part: Any, file: Path) -> list[float]:
    values = torch.as_tensor(part).flatten().double()
    if values.numel() not in (1, 3) or not values.isfinite().all():
        raise UserError(f"The mean or standard deviation in {str(file)!r} is {short(str(part))}.")
    return values.tolist()
