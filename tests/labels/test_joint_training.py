"""Two processes that train a student together come to what one does alone."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import NETWORK, reloaded, shipped, tiny_task
from torch.multiprocessing.spawn import start_processes

from benchmark.core import ranks
from benchmark.core.errors import UserError
from benchmark.data.recipe import Recipe
from benchmark.labels import streams, student
from benchmark.labels.streams import Learner
from benchmark.methods.hard import Hard
from benchmark.methods.lpqld import LPQLD
from benchmark.methods.soft import Soft
from benchmark.methods.teacher import ShippedTeacher
from benchmark.models import whole_batch_norm

RECIPE = Recipe("test", 7, 8, optimiser="sgd", lr=0.05, momentum=0.9, weight_decay=1e-3)
EPOCHS = 7  # of three uneven batches, 22 = 8 + 7 + 7: 21 steps
METHODS = {"soft": Soft, "hard": Hard, "lpqld": LPQLD, "teacher": ShippedTeacher}
CASES = {
    "instance norm": ("soft", NETWORK),
    "batch norm": ("soft", "convnet-d2-w4-bn"),
    "a loss of the whole batch": ("lpqld", NETWORK),
    "an online source": ("teacher", NETWORK),
    "augmented and mixed": ("hard", NETWORK),
    "adamw": ("soft", NETWORK),
}


def task_of(case: str, folder: Path):
    """22 images, so that no batch falls into two halves alike."""
    task = tiny_task(folder, images=22, epochs=EPOCHS)
    augmentation = replace(task.plan.augmentation, mix="cutmix")
    if case == "augmented and mixed":
        augmentation = replace(augmentation, dsa=("color", "crop", "scale"))
    objective = replace(task.objective, ce_weight=0.5, temperature=4.0)
    plan = replace(task.plan, augmentation=augmentation)
    return replace(task, plan=plan, objective=objective)


def trained(case: str, folder: Path):
    """Curve, weights and parts of a student of labels that were saved in `folder`."""
    method, network = CASES[case]
    name = case.replace(" ", "-")
    task = shipped(task_of(case, folder / f"scratch-{name}-{ranks.rank()}-{ranks.count()}"))
    source = METHODS[method].load(folder / name, task)
    recipe = replace(RECIPE, optimiser="adamw", lr=1e-3) if case == "adamw" else RECIPE
    learner = student.build(network, source, 0)
    file = folder / f"{name}-{ranks.count()}.pt"
    made = streams.train([Learner(learner, source, case, file)], recipe)
    kinds = {type(part) for part in whole_batch_norm.layers(learner)}
    return made.curves[0], learner.state_dict(), [kind.__name__ for kind in kinds]


def together(rank: int, count: int, port: int, folder: Path) -> None:
    """What each process does; the first one leaves what came of it."""
    told = {"RANK": rank, "WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()})
    torch.set_num_threads(1)
    ranks.join(torch.device("cpu"))
    cases = {case: trained(case, folder) for case in CASES}
    torch.save({**cases, "failure": failure(rank)}, folder / f"rank{rank}.pt")


def failure(rank: int) -> str:
    """What each process hears where the second one fails."""
    try:
        with ranks.together():
            if rank == 1:
                raise ValueError("no such luck")
    except (UserError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What one process and each of two came to."""
    folder = tmp_path_factory.mktemp("joint")
    for case, (method, _) in CASES.items():
        task = task_of(case, folder / f"fit-{case.replace(' ', '-')}")
        cls = METHODS[method]
        options = cls.resolve_options(cls.Options(), task.shape, None)
        reloaded(cls.fit(task, options), folder / case.replace(" ", "-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(together, (2, port, folder), nprocs=2, start_method="forkserver")
    alone = {case: trained(case, folder) for case in CASES}
    both = [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2)]
    return alone, *both


@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(found, case):
    """Over 21 steps of batches that do not fall into halves alike; running statistics too."""
    alone, first, second = (each[case] for each in found)
    assert first[0] == pytest.approx(alone[0], abs=1e-5)
    assert first[0] == second[0]
    for name, expected in alone[1].items():
        # AdamW moves biases before a norm, which have no gradient, by its rounding.
        if case != "adamw" or expected.ndim > 1:
            torch.testing.assert_close(first[1][name], expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(second[1][name], first[1][name], rtol=0, atol=0)
    assert first[2] == alone[2]


def test_where_one_process_fails_all_do(found):
    _, first, second = found
    assert first["failure"] == "UserError: Process 1 of 2 failed: ValueError: no such luck"
    assert second["failure"] == "ValueError: no such luck"
