"""`--shard I/N`: the cells of a grid in parts, for a Slurm array or machines of one's own."""

from collections.abc import Sequence

from .grid import Cell, Variant


def shards(cells: Sequence[Cell], count: int) -> list[list[Cell]]:
    """The cells in so many parts of about equal work, always the same.

    Cells of the same labels stay together as far as there are enough labels for all parts, so that
    no two parts wait for one artefact; of parts with equally little work, the one that has the
    images already takes more of them. A student's work counts by its images per class.
    """
    labels: dict[tuple[str, int, Variant], list[Cell]] = {}
    for cell in cells:
        labels.setdefault((cell.images, cell.ipc, cell.variant), []).append(cell)
    groups = list(labels.values())
    while len(groups) < min(count, len(cells)):
        largest = max(groups, key=_work)
        half = -(-len(largest) // 2)
        if half == len(largest):  # one cell of a large IPC
            largest = max(groups, key=len)
            half = -(-len(largest) // 2)
        place = groups.index(largest)
        groups[place : place + 1] = [largest[:half], largest[half:]]
    parts: list[list[Cell]] = [[] for _ in range(count)]
    for group in sorted(groups, key=_work, reverse=True):  # which keeps the order of equals
        images = group[0].images, group[0].ipc

        def rank(part: list[Cell], images: tuple[str, int] = images) -> tuple[int, bool]:
            return _work(part), all((cell.images, cell.ipc) != images for cell in part)

        min(parts, key=rank).extend(group)
    order = {cell: number for number, cell in enumerate(cells)}
    return [sorted(part, key=order.__getitem__) for part in parts]


def _work(cells: Sequence[Cell]) -> int:
    return sum(cell.ipc for cell in cells)
