"""What a byte budget buys: how many batches, of how many logits a label."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmark.core.errors import UserError
from benchmark.exchange.official import OfficialLabels
from benchmark.labels.container import container_bytes, like, stand_in
from benchmark.labels.packing import packed_bytes, width_for
from benchmark.labels.stored_views import batch_bytes
from benchmark.labels.stored_views import stand_ins as view_stand_ins
from benchmark.labels.task import TaskShape

from .coding import Coding
from .options import Options

LONGEST = 0.0012345678901234567  # a share of as many digits as there are


def kept_logits(options: Options, classes: int, known: int) -> Sequence[int]:
    """Numbers of logits a label that the options allow, rising; one, where they leave none open.

    Args:
        known: logits there are of each label; fewer than the classes where others dropped some.

    Raises:
        UserError: the form needs logits that are not there, or `k` does not fit it.
    """
    form, most = options.quantise, known
    if known < classes and form in ("ms", "smoothing", "none"):
        raise UserError(
            f"lpqld.quantise={form} needs the logits of all {classes} classes, and the labels in "
            f"{options.path!r} keep {known}: take mr, adaptive or hard."
        )
    if form == "ms":
        most = classes - 1  # the rest needs a class to stand for
    ks = {"none": [classes], "hard": [1], "smoothing": [1], "adaptive": [0]}.get(form)
    valid = ks or range(1, most + 1)
    if options.k and options.k not in valid:
        raise UserError(
            f"lpqld.k is {options.k}; with quantise={form}, {known} of {classes} logits known, "
            f"valid: {valid[0]} to {valid[-1]}."
        )
    return [options.k] if options.k else ks or range(min(2, most), most + 1)


def within(
    budget: int,
    options: Options,
    shape: TaskShape,
    sizes: Sequence[int],
    size: int,
    ks: Sequence[int],
    theirs: OfficialLabels | None = None,
) -> tuple[int, int]:
    """Batches and logits a label that meet a budget of so many bytes.

    Args:
        sizes: numbers of batches that may be stored, rising.
        size: the one wished for, kept as long as `ks` reach.
        theirs: labels that others stored, with batches of a size of their own.

    Raises:
        UserError: no choice meets it, or the bytes are not known before the labels are.
    """
    if options.quantise == "adaptive":
        raise UserError(
            "lpqld.quantise=adaptive takes as many bytes as its labels need, which no budget can "
            "resolve_options: choose mr or ms."
        )
    coding = Coding(shape.classes, options.quantise, 0, options.values, options.mass, 1.0)
    batch = max(theirs.sizes) if theirs else shape.batch_size(0)
    numbers = width_for(shape.epochs * shape.batches)

    def bytes_of(batches: int, k: int) -> int:
        total = replace(coding, k=k).bytes(batches * batch)
        if theirs:
            cutout = 28 * batch if theirs.first.cutout is not None else 0
            return total + batches * (batch_bytes(shape.images, shape.resolution, batch) + cutout)
        return total + (packed_bytes(batches, numbers) if options.select != "first" else 0)

    longest = replace(coding, k=ks[-1])
    labels = longest.stand_ins(stand_in(budget) // max(1, longest.bytes(8) // 8))
    views = view_stand_ins(stand_in(budget)) if theirs else []
    if options.select != "first" and not theirs:
        views = [like("batches", "views", torch.uint8, packed_bytes(sizes[-1], numbers))]
    path = Path(options.path).name
    told = replace(options, batches=sizes[-1], keep=LONGEST, k=ks[-1], path=path)
    extra = {"batch_size": batch} if theirs else {}
    room = budget - container_bytes("lpqld", told, shape, [*labels, *views], budget, extra)
    least = bytes_of(sizes[0], ks[0])
    if least > room:
        raise UserError(
            f"lpqld cannot meet a budget of {budget:,} bytes: the least it can take is "
            f"{least + budget - room:,}, for {sizes[0] * batch} labels of {ks[0]} logits each and "
            "the container."
        )
    k = ks[max(0, bisect_right(ks, room, key=lambda k: bytes_of(size, k)) - 1)]
    if k in (ks[0], ks[-1]):
        size = sizes[bisect_right(sizes, room, key=lambda s: bytes_of(s, k)) - 1]
    return size, k
