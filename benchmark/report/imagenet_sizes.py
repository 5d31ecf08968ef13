"""The table of the plans of ImageNet-1K and 21K: every method's bytes, and the papers'."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..experiment.imagenet_sizes import PlannedLabels

NOTE = (
    "Bytes of the labels alone in this suite's container, how many times less than all labels as "
    "fp16, and what the same labels take on disk in the authors' files (GiB in blocks of 4 KiB). "
    "`published` is as the paper writes it, `as it counts` the same reckoned by its convention. "
    "`hard` takes nothing: labels are the images' classes."
)


def plans_markdown() -> str:
    """The table, and how to read it."""
    import pandas as pd

    from ..experiment.imagenet_sizes import planned  # takes torch's seconds to import

    rows = [_row(each) for each in planned()]
    table = pd.DataFrame(rows).to_markdown(index=False, tablefmt="pipe", disable_numparse=True)
    return f"### Plans\n\n{table}\n\n{NOTE}\n"


def _row(each: "PlannedLabels") -> dict[str, str]:
    cell = each.cell
    labels = "not known before it is made" if each.labels is None else f"{each.labels:,}"
    if each.most:
        labels = f"at most {labels}"
    return {
        "set": each.of,
        "IPC": str(each.ipc),
        "labels": each.method,
        "bytes": each.refused or labels,
        "of all": f"{each.soft / each.labels:,.1f}x" if each.labels else "-",
        "authors' files": f"{each.official / 2**30:.3f} GiB" if each.official else "-",
        "published": f"{cell.published:g} {cell.claim.unit}" if cell else "-",
        "as it counts": f"{cell.ours:.3f} {cell.claim.unit}" if cell else "-",
        "difference": f"{cell.ours / cell.published - 1:+.1%}" if cell else "-",
    }
