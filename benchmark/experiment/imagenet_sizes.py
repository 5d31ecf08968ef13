"""The plans of ImageNet-1K and 21K: what every method's labels take, beside the papers' tables.

From sizes alone, under the papers' recipes. Published figures are those of `reference`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .grid import budget_bytes, parse_variant
from .reference import StorageCell, storage
from .sizes import shape_of, sizes

RESOLUTION = 224
# Classes, recipe, IPCs.
PLANS = {
    "ImageNet-1K": (1000, "imagenet1k", (10, 20, 50, 100, 200)),
    "ImageNet-21K": (10450, "imagenet21k", (10, 20)),
}
# Controls; LPLD; LPQLD as published; the others as they come, and under a budget what is as large
# as it is told to be.
METHODS = (
    "hard",
    "soft",
    "lpqld[keep=0.025,quantise=none]",
    "lpqld[keep=0.1,k=100]",
    "lpqld[keep=0.1,k=50]",
    "lpqld[keep=0.1,k=10]",
    "lpqld[keep=0.05,k=200]",
    "lpqld[keep=0.025,k=400]",
    "hald",
    "vqae",
    "score",
    "gift",
    "ladd",
    "expert",
    "infer",
    "ld",
    "ld_rr",
    "label_solve",
    "hello",
)
UNDER_BUDGET = {"transform": "400x", "label_function": "400x", "teacher[shrink=prune]": "400x"}


@dataclass(frozen=True)
class PlannedLabels:
    """One method's labels of one plan.

    Attributes:
        of: the set.
        most: whether `labels` are the most that they may take, as a budget says.
        labels: bytes; None where they are not known beforehand.
        soft: bytes of all labels as fp16.
        official: bytes on disk in the authors' files, where the labels are of stored views.
        cell: what was published of them, and ours as its paper counts.
        refused: why a budget cannot be met; empty otherwise.
    """

    of: str
    ipc: int
    method: str
    most: bool
    labels: int | None
    soft: int
    official: int | None
    cell: StorageCell | None
    refused: str


def planned() -> Iterator[PlannedLabels]:
    """All labels of all plans."""
    published = {
        (cell.claim.sizes.classes, cell.ipc, cell.claim.method): cell
        for cell in storage()
        if cell.claim.method
    }
    for name, (classes, recipe, ipcs) in PLANS.items():
        for ipc in ipcs:
            shape = shape_of(classes, ipc, RESOLUTION, recipe, None, None)
            bounded = [replace(parse_variant(t, {}), budget=b) for t, b in UNDER_BUDGET.items()]
            variants = [*(parse_variant(text, {}) for text in METHODS), *bounded]
            names = [*METHODS, *(variant.label for variant in bounded)]
            for text, variant, size in zip(names, variants, sizes(variants, shape), strict=True):
                bound = bool(variant.budget) and size.labels is None and not size.refused
                budget = budget_bytes(variant.budget or "", shape.soft_bytes) if bound else None
                yield PlannedLabels(
                    name,
                    ipc,
                    text,
                    bound,
                    budget if bound else size.labels,
                    shape.soft_bytes,
                    size.official.disk if size.official else None,
                    published.get((classes, ipc, text)),
                    size.refused,
                )
