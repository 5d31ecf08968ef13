"""Which cells are measured at once: those whose students share a stream of views and labels."""

from collections.abc import Sequence

from ..core.files import digest
from .run_cell import ResolvedCell

Group = list[ResolvedCell]


def grouped(cells: Sequence[ResolvedCell], share: bool, least: int = 1) -> list[Group]:
    """The cells in groups that share labels, in the order of their first ones.

    Args:
        share: whether students share streams; if not, each cell is a group.
        least: groups to make if there are as many cells, so that all jobs have work.
    """
    if not share:
        return [[cell] for cell in cells]
    made: dict[str, Group] = {}
    for cell in cells:
        made.setdefault(stream(cell), []).append(cell)
    groups = list(made.values())
    while len(groups) < min(least, len(cells)):
        largest = max(range(len(groups)), key=lambda number: len(groups[number]))
        group = groups[largest]
        half = -(-len(group) // 2)
        groups[largest : largest + 1] = [group[:half], group[half:]]
    return groups


def stream(cell: ResolvedCell) -> str:
    """What students on one stream have in common."""
    recipe = cell.labels.recipe
    alone = recipe.stop == "held-out" or recipe.evaluator != "network"
    return digest([cell.labels.digest, cell.cell.student if alone else None])
