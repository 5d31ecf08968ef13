"""What labels take, from sizes alone: no data, no teacher, nothing is made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.errors import UserError
from ..core.options import build
from ..data import recipes
from ..data.recipe_source import RecipeSetting
from ..data.views import ViewPlan
from ..exchange.official.sizes import Files, full_files, lpqld_files
from ..labels.contract import method
from ..labels.task import StoredViewCount, Surround, TaskShape, task_shape
from .grid import Variant, budget_bytes


@dataclass(frozen=True)
class Size:
    """What one method's labels take.

    Attributes:
        labels: bytes of the labels themselves; None where they are not known beforehand.
        most: bytes of all that ships, which a budget sets; None without one.
        official: the same labels in LPQLD's files, or in SRe2L's where all logits are kept; None
            of labels that are not stored view by view.
        refused: why its budget cannot be met; empty otherwise.
    """

    method: str
    labels: int | None = None
    most: int | None = None
    official: Files | None = None
    refused: str = ""


def shape_of(
    classes: int, ipc: int, resolution: int, recipe: str, epochs: int | None, batch: int | None
) -> TaskShape:
    """The sizes of a task under a recipe, or under so many epochs and views a batch."""
    made = recipes.make(recipe, RecipeSetting(classes, ipc, resolution))
    images = classes * ipc
    plan = ViewPlan(
        0,
        images,
        resolution,
        batch or made.batch_size,
        epochs or made.epochs_of(images),
        made.augmentation,
    )
    return task_shape(classes, plan, Surround(plan, made.objective))


def sizes(variants: Sequence[Variant], shape: TaskShape) -> list[Size]:
    """The sizes of methods' labels of such a task.

    Raises:
        UserError: a method or an option is wrong.
    """
    found = []
    for variant in variants:
        cls = method(variant.method)
        options = build(cls.Options, dict(variant.options), variant.method)
        budget = budget_bytes(variant.budget, shape.soft_bytes) if variant.budget else None
        try:
            options = cls.resolve_options(options, shape, budget)
        except UserError as error:
            if budget is None:
                raise
            found.append(Size(variant.label, most=budget, refused=str(error)))
            continue
        kept = cls.stored_views(options, shape)
        official = in_official_files(kept, shape) if kept is not None else None
        found.append(Size(variant.label, cls.label_bytes(options, shape), budget, official))
    return found


def in_official_files(kept: StoredViewCount, shape: TaskShape) -> Files:
    """What stored labels of views would take in the authors' files, with a mix in each."""
    batch = -(-shape.images // shape.batches)
    if kept.logits == shape.classes:
        return full_files(kept.batches, batch, shape.classes, shape.images)
    return lpqld_files(kept.batches, batch, kept.logits, shape.images)


def with_budgets(variants: Sequence[Variant], budgets: Sequence[str]) -> list[Variant]:
    """Each variant once for each byte budget, if there are any."""
    return [replace(v, budget=b) for v in variants for b in budgets] if budgets else [*variants]
