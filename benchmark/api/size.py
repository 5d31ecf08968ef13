"""`size`: what labels take, from sizes alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..core.bounded import shown
from ..core.command import listed
from ..core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from ..experiment.sizes import Size
    from ..labels.task import TaskShape


RANGES = {
    "classes": (2, 10**6),
    "ipc": (1, 10**6),
    "epochs": (1, 10**7),
    "batch_size": (1, 10**8),
    "resolution": (1, 2**14),
}


@dataclass(frozen=True)
class Sizes:
    """What labels of several methods take.

    Attributes:
        shape: of the task that they are for.
        rows: one a method and budget.
    """

    shape: "TaskShape"
    rows: "list[Size]"

    def to_pandas(self) -> "pd.DataFrame":
        """Bytes of labels, of all at most, and of the authors' files; NaN where not known."""
        import pandas as pd

        rows = [
            {
                "method": each.method,
                "labels": each.labels,
                "at_most": each.most,
                "ratio": self.shape.soft_bytes / each.labels if each.labels else None,
                "official_files": each.official.apparent if each.official else None,
                "official_on_disk": each.official.disk if each.official else None,
                "refused": each.refused,
            }
            for each in self.rows
        ]
        return pd.DataFrame(rows)

    def text(self) -> str:
        """For the terminal."""
        aligned = ["left", *["right"] * 5]
        return f"{self.task}\n\n" + self.frame().to_markdown(
            index=False, tablefmt="simple", colalign=aligned, disable_numparse=True
        )

    def frame(self) -> "pd.DataFrame":
        """As tables show it, all in words."""
        import pandas as pd

        rows = []
        for each in self.rows:
            ratio = f"{self.shape.soft_bytes / each.labels:.1f}x" if each.labels else "-"
            files = each.official
            unknown = f"at most {each.most:,}" if each.most else "not known before it is made"
            labels = unknown if each.labels is None else f"{each.labels:,}"
            rows.append(
                {
                    "method": each.method,
                    "labels (B)": each.refused or labels,
                    "ratio": ratio,
                    "official files (B)": f"{files.apparent:,}" if files else "-",
                    "official on disk (B)": f"{files.disk:,}" if files else "-",
                    "on disk (GiB)": f"{files.disk / 2**30:.3f}" if files else "-",
                }
            )
        return pd.DataFrame(rows)

    @property
    def task(self) -> str:
        """What the labels are for, in a line."""
        shape = self.shape
        return (
            f"{shape.images:,} images of {shape.classes:,} classes, {shape.epochs} epochs of "
            f"{shape.batches:,} batches; all labels as fp16 take {shape.soft_bytes:,} B"
        )

    def _repr_html_(self) -> str:
        """For notebooks."""
        table = self.to_pandas().to_html(index=False, border=0, na_rep="-")
        return f"<p>{self.task}</p>\n{table}"


def size(
    classes: int,
    ipc: int,
    methods: str | Sequence[str] = "soft,lpqld",
    budget: str | int | Sequence[str | int] = "",
    recipe: str = "imagenet1k",
    epochs: int | None = None,
    batch_size: int | None = None,
    resolution: int = 224,
) -> Sizes:
    """What labels take to ship, and what they would take in the authors' files.

    Nothing is made and no data is needed; a container of one or two KB is not counted.

    Args:
        classes, ipc: how many classes there are, and images of each.
        methods, budget: as `run` takes them.
        recipe: whose epochs and batches; `epochs` and `batch_size` stand in their place.
        resolution: pixels a side.

    Raises:
        UserError: a number is out of `RANGES`, or a method, an option, a budget or the recipe is
            wrong.
    """
    from ..experiment.grid import parse_variant
    from ..experiment.sizes import shape_of, sizes, with_budgets

    _check(classes=classes, ipc=ipc, epochs=epochs, batch_size=batch_size, resolution=resolution)
    if not listed(methods):
        raise UserError("size takes at least one method.")
    shape = shape_of(classes, ipc, resolution, recipe, epochs, batch_size)
    variants = [parse_variant(text, {}) for text in listed(methods)]
    return Sizes(shape, sizes(with_budgets(variants, listed(budget)), shape))


def _check(**numbers: int | None) -> None:
    """Refuse what is no whole number in its range; None leaves a number to the recipe."""
    for name, value in numbers.items():
        low, high = RANGES[name]
        if value is None and name in ("epochs", "batch_size"):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UserError(
                f"{name} must be a whole number from {low:,} to {high:,}, got {shown(value)}."
            )
