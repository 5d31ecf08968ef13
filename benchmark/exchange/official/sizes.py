"""How many bytes labels take in the files of SRe2L, LPLD and LPQLD, from sizes alone.

Papers give disk usage: every batch is a file, which takes whole blocks, and a list of the batches'
images stands beside them. `file` describes the forms; what a file takes beside its numbers was
measured on files that the authors' generators wrote.
"""

from dataclasses import dataclass

BLOCK = 4096  # bytes of a file system's block
MIXED, PLAIN, CUTOUT = 3273, 2893, 2081  # a file of LPQLD's with a mix, without, or with Cutout
FULL_MIXED, FULL_PLAIN = 2333, 1953  # a file of LPLD's and SRe2L's
COORDINATES, FLIP, PARTNER, BOX = 8, 1, 1, 28  # bytes of a view
FULL_COORDINATES, FULL_PARTNER = 16, 8


@dataclass(frozen=True)
class Files:
    """What a set of labels takes in an official form.

    Attributes:
        batches: files of labels.
        logits: bytes of all logits and class indices, the payload that papers call `logits only`.
        apparent: bytes of all files.
        disk: of the blocks that they take.
    """

    batches: int
    logits: int
    apparent: int
    disk: int


def lpqld_files(
    batches: int, batch_size: int, kept: int, images: int, mix: bool = True, cutout: bool = False
) -> Files:
    """LPQLD's: `kept` logits of a label in fp16, and their classes in 16 bits.

    Args:
        mix: whether views are mixed (not for Tiny-ImageNet and ImageNet-21K).
        cutout: whether they have a box cut out, and are not flipped (ImageNet-21K).
    """
    view = COORDINATES + (PARTNER if mix else 0) + (BOX if cutout else FLIP)
    beside = CUTOUT if cutout else MIXED if mix else PLAIN
    return _files(batches, batch_size, 4 * kept, view, beside, _index(batches, batch_size, images))


def full_files(
    batches: int,
    batch_size: int,
    classes: int,
    images: int,
    mix: bool = True,
    cutout: bool = False,
) -> Files:
    """LPLD's and SRe2L's: all logits of a label in fp16; LPLD's list of images is left out.

    Args:
        batches: the first of all epochs', each of which ends in a smaller batch.
        mix, cutout: as for `lpqld_files`.
    """
    view = FULL_COORDINATES + (BOX if cutout else FLIP) + (FULL_PARTNER if mix else 0)
    beside = FULL_MIXED if mix else FULL_PLAIN
    each = -(-images // batch_size)
    last = images - (each - 1) * batch_size
    smaller = batches // each
    of_all = _files(batches - smaller, batch_size, 2 * classes, view, beside, 0)
    of_last = _files(smaller, last, 2 * classes, view, beside, 0)
    return Files(
        batches,
        of_all.logits + of_last.logits,
        of_all.apparent + of_last.apparent,
        of_all.disk + of_last.disk,
    )


def lpqld_batches(images: int, epochs: int, batch_size: int, pruned: float) -> int:
    """How many batches LPQLD's generator stores where a share `pruned` of all was to be dropped.

    It drops the last, smaller batch of an epoch and counts down its goal by one after each
    epoch, so it stores a few too few, or, where that lets it step over its goal, up to an epoch
    too many.
    """
    each = images // batch_size
    goal, stored = int(epochs * each * (1 - pruned)), 0
    for _ in range(goal // each + 1):
        stored = goal if stored < goal <= stored + each else stored + each
        goal -= 1
    return stored


def _files(batches: int, batch_size: int, label: int, view: int, beside: int, index: int) -> Files:
    file = batch_size * (label + view) + beside
    blocks = -(-file // BLOCK) * batches + -(-index // BLOCK)
    return Files(batches, batches * batch_size * label, batches * file + index, blocks * BLOCK)


def _index(batches: int, batch_size: int, images: int) -> int:
    """Bytes of the list of each batch's images, in JSON: `"n": [i, j, ...], `."""
    digits = _digits(images) / images  # of an image's number, on average
    numbers = batches * batch_size * (digits + 2)
    return round(numbers + _digits(batches) + batches * len('"": [], ') - 2 * batches)


def _digits(count: int) -> int:
    """Of all numbers 0 ... count - 1 together."""
    total, power, digits = 0, 1, 1
    while power < count:
        total += digits * (min(count, 10 * power) - (power if power > 1 else 0))
        power, digits = 10 * power, digits + 1
    return max(total, 1)
