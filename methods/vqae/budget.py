"""What a byte budget buys: the size of the network, codes a label, labels."""

from dataclasses import replace

import torch

from benchmark.core.errors import UserError
from benchmark.labels.container import container_bytes, like, stand_in
from benchmark.labels.label_pool import batches_holding, labels_of
from benchmark.labels.packing import packed_bytes, width_for
from benchmark.labels.task import TaskShape
from benchmark.labels.weights import encoded_bytes, stand_ins

from .autoencoder import shapes
from .options import Options

LEAST_HIDDEN, LEAST_ENTRIES = 8, 16
SHARE = 0.5  # of what there is, that the network takes at most


def network_bytes(options: Options, classes: int) -> int:
    """Of codebook and decoder."""
    return encoded_bytes(shapes(options, classes), options.values)


def index_bytes(options: Options, labels: int) -> int:
    """Of the codes of so many labels."""
    return packed_bytes(labels * options.codes, width_for(options.entries))


def within(budget: int, wished: Options, shape: TaskShape) -> Options:
    """What meets a budget: more codes for all the labels wished for, or fewer batches of labels.

    Raises:
        UserError: not even one batch fits, with the smallest network.
    """
    longest = replace(wished, codes=max(wished.codes, shape.classes))
    parts = stand_ins(shapes(longest, shape.classes), longest.values)
    indices = like("indices", "indices", torch.uint8, stand_in(budget))
    container = container_bytes("vqae", longest, shape, [indices, *parts], budget)
    room, batch = budget - container, shape.batch_size(0)
    found = _smaller(wished, shape.classes, min(SHARE * room, room - index_bytes(wished, batch)))

    def fits(options: Options) -> bool:
        taken = network_bytes(options, shape.classes)
        return taken + index_bytes(options, labels_of(shape, options.batches)) <= room

    if fits(found):
        while found.codes < shape.classes and fits(replace(found, codes=found.codes + 1)):
            found = replace(found, codes=found.codes + 1)
        return found
    bits = 8 * (room - network_bytes(found, shape.classes))
    labels = bits // (found.codes * width_for(found.entries))
    if labels < batch:
        least = container + network_bytes(found, shape.classes) + index_bytes(found, batch)
        raise UserError(
            f"vqae cannot meet a budget of {budget:,} bytes: the least it can take is {least:,}, "
            f"for one batch of {batch} labels, codebook, decoder and the container."
        )
    return replace(found, batches=batches_holding(shape, labels))


def _smaller(options: Options, classes: int, most: float) -> Options:
    """The same with a network of so many bytes, or as near to it as halving gets."""
    while network_bytes(options, classes) > most:
        halves = []
        if options.hidden // 2 >= LEAST_HIDDEN:
            halves.append(replace(options, hidden=options.hidden // 2))
        if options.entries // 2 >= LEAST_ENTRIES:
            halves.append(replace(options, entries=options.entries // 2))
        if not halves:
            break
        options = min(halves, key=lambda half: network_bytes(half, classes))
    return options
