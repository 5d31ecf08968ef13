"""The parts of a grid."""

from benchmark.experiment.grid import cells, make_grid
from benchmark.experiment.shard import shards


def test_parts_of_a_grid_hold_every_cell_once_and_about_equal_work():
    grid = make_grid({"dataset": "digits", "ipc": [1, 10], "images": ["rded", "random"]})
    found = list(cells(grid))
    for count in (1, 2, 3, 7, len(found)):
        parts = shards(found, count)
        assert sorted(cell.label for part in parts for cell in part) == sorted(
            cell.label for cell in found
        )
        assert all(sorted(part, key=found.index) == part for part in parts)
        work = [sum(cell.ipc for cell in part) for part in parts]
        assert max(work) - min(work) <= 10 * grid.seeds  # no more than one artefact's students
        assert parts == shards(found, count)


def test_parts_share_no_labels_unless_there_are_more_parts_than_labels():
    found = list(cells(make_grid({"dataset": "digits", "seeds": 3})))
    labels = {(cell.images, cell.ipc, cell.variant) for cell in found}
    for count in (2, 3, len(labels)):
        held = [{(c.images, c.ipc, c.variant) for c in part} for part in shards(found, count)]
        assert sum(map(len, held)) == len(labels)
    assert [len(part) for part in shards(found, len(found))] == [1] * len(found)
    assert shards(found[:2], 3) == [[found[0]], [found[1]], []]
