"""The tasks of a run: each waits for what it needs, and nothing that is there is done again."""

from collections import Counter

import pytest

from benchmark.api.measure import grid_of
from benchmark.core.device import choose
from benchmark.experiment import grid as grids
from benchmark.experiment.dataset_and_teacher import Runtime
from benchmark.experiment.failures import Failure
from benchmark.experiment.fitter import Given
from benchmark.experiment.run_cell import Cells
from benchmark.experiment.stages import Experiment
from benchmark.experiment.tasks import BASE_BYTES, STUDENTS, Task, Tasks
from benchmark.methods.hard import Hard

GRID = {
    "dataset": "digits",
    "teacher": "convnet-d2-w8",
    "students": ["convnet-d2-w8"],
    "images": ["random", "rded"],
    "ipc": [2],
    "methods": ["hard", "soft", "gift"],
    "seeds": 2,
    "controls": False,
    "recipe": "quick",
    "set": {"teacher.epochs": 1, "recipe.epochs": 2},
}


@pytest.fixture
def experiment(tmp_path, monkeypatch) -> Experiment:
    monkeypatch.setenv("LABELBENCH_SHARD_BYTES", "200")
    return Experiment(grid_of(GRID, None), Runtime(tmp_path, choose("cpu", "fp32"), None))


def tasks(experiment: Experiment, side_by_side: int = 1) -> list[Task]:
    cells = list(grids.cells(experiment.grid))
    runner, labels = Cells(experiment), experiment.resolve(cells).labels
    resolved = [runner.resolve(cell, labels[cell]) for cell in cells]
    return Tasks(experiment, resolved, side_by_side).all


def before(task: Task) -> set[str]:
    return {each.kind for each in (*task.after, *task.helps)}


def test_each_waits_for_what_it_needs(experiment):
    found = tasks(experiment)
    count = Counter(task.kind for task in found)
    assert count["teacher"] == count["teacher's test"] == 1
    assert count["images"] == count["similarity"] == 2
    assert count["images of classes"] == 4
    assert count["fit"] == count[STUDENTS] == 6
    for number, task in enumerate(found):
        assert {*task.after, *task.helps} <= {*found[:number]}
        assert task.bytes >= BASE_BYTES
    needs = {f"{task.kind} {task.about}": before(task) for task in found}
    assert needs["teacher convnet-d2-w8"] == set()
    assert needs["images of classes 0 to 4 of random IPC 2"] == set()
    assert needs["images of classes 5 to 9 of rded IPC 2"] == {"teacher"}
    assert needs["images rded IPC 2"] == {"teacher", "images of classes"}
    assert needs["fit soft on rded IPC 2"] == {"teacher", "images", "label shard"}
    assert needs["fit hard on rded IPC 2"] == {"images"}
    (students,) = [name for name in needs if name.startswith("students hard on random")]
    assert needs[students] == {"fit", "images", "similarity", "teacher's test"}


def test_fits_that_read_the_same_shards_share_their_tasks(experiment):
    found = tasks(experiment)
    shards = {
        task.about.partition(" on ")[0]: {*task.helps}
        for task in found
        if task.kind == "fit" and "rded" in task.about
    }
    assert len(shards["soft"]) > 1
    assert shards["gift"] <= shards["soft"]


def test_work_that_is_there_has_no_task(experiment):
    for task in tasks(experiment):
        if task.kind != STUDENTS:
            assert task.work(Given.of(experiment)) is None
    assert {task.kind for task in tasks(experiment)} == {STUDENTS}


def test_a_stage_that_fails_says_why(experiment, monkeypatch):
    (fit,) = [task for task in tasks(experiment) if task.about == "hard on random IPC 2"]
    monkeypatch.setattr(Hard, "fit", lambda *_: {}["x"])
    failure = fit.work(Given.of(experiment))
    assert isinstance(failure, Failure)
    assert failure.message.startswith("KeyError: 'x' (in ")


def test_students_are_spread_over_all_machines(experiment):
    assert Counter(task.kind for task in tasks(experiment, 9))[STUDENTS] == 9
