"""`size`: what labels take, from sizes alone."""

from typing import Annotated

import typer

from ..core.command import split_outside_brackets


def size(
    classes: Annotated[int, typer.Option(min=2, max=10**6, help="How many classes there are.")],
    ipc: Annotated[int, typer.Option(min=1, max=10**6, help="Images per class.")],
    methods: Annotated[
        str, typer.Option(help="Comma-separated; options in brackets: lpqld[k=50].")
    ] = "soft,lpqld",
    budget: Annotated[
        str, typer.Option(help="Byte budgets: 4096, 10kB, 2MiB, or 40x of the full labels.")
    ] = "",
    recipe: Annotated[str, typer.Option(help="Whose epochs and batches.")] = "imagenet1k",
    epochs: Annotated[
        int | None, typer.Option(min=1, max=10**7, help="In place of the recipe's.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, max=10**8, help="In place of the recipe's.")
    ] = None,
    resolution: Annotated[int, typer.Option(min=1, max=2**14, help="Pixels a side.")] = 224,
) -> None:
    """Say what labels take to ship, and what they would take in the authors' files.

    Nothing is made and no data is needed. A container of one or two KB is not counted. `official`
    columns are the same labels in the files of LPQLD, or of SRe2L where all logits are kept: the
    bytes of all files, and of the 4-KiB blocks that they take, which the papers publish.
    """
    import pandas as pd

    from ..experiment.grid import parse_variant
    from ..experiment.sizes import shape_of, sizes, with_budgets

    shape = shape_of(classes, ipc, resolution, recipe, epochs, batch_size)
    variants = [parse_variant(text, {}) for text in split_outside_brackets(methods)]
    rows = []
    for each in sizes(with_budgets(variants, split_outside_brackets(budget)), shape):
        ratio = f"{shape.soft_bytes / each.labels:.1f}x" if each.labels else "-"
        files = each.official
        labels = "not known before it is made" if each.labels is None else f"{each.labels:,}"
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
    typer.echo(
        f"{shape.images:,} images of {shape.classes:,} classes, {shape.epochs} epochs of "
        f"{shape.batches:,} batches; all labels as fp16 take {shape.soft_bytes:,} B\n"
    )
    aligned = ["left", *["right"] * 5]
    typer.echo(
        pd.DataFrame(rows).to_markdown(
            index=False, tablefmt="simple", colalign=aligned, disable_numparse=True
        )
    )
