"""`torchrun`: students trained by several processes together, each its rows of every batch.

The first process does all that a run does: it resolves cells, has stages made, writes records and
tables. The others load the same artefacts when it tells them which cells are next, and take their
part in training and timing. A teacher is trained together too; what methods fit is not.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..core import ranks
from ..core.device import choose
from ..core.errors import UserError
from ..core.progress import say
from .run_cell import Cells, ResolvedCell
from .stages import Experiment


def device_here(asked: str) -> str:
    """The device of this process: of what `--device` asks for, its own where there are several.

    Raises:
        UserError: a certain one is asked for, or there are fewer than processes on this machine.
    """
    if ":" in asked:
        raise UserError(
            f"torchrun gives each process a device of its own: take --device cuda, not {asked}."
        )
    if choose(asked, "fp32").device.type != "cuda":
        return asked
    number, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if number >= there:
        raise UserError(
            f"Process {number} of this machine has no GPU: there are {there}; start at most so "
            "many by --nproc-per-node, or take --device cpu."
        )
    return f"cuda:{number}"


def check(cells: Sequence[ResolvedCell]) -> None:
    """Refuse cells that several processes cannot train together, before anything is made.

    Raises:
        UserError: a recipe solves for the last layer or chooses its epochs by a pilot, or has
            batches with fewer views than there are processes.
    """
    for cell in cells:
        recipe, least = cell.labels.recipe, min(cell.labels.plan.sizes())
        where = f"{cell.cell.label}: {ranks.count()} processes cannot train this student together"
        if recipe.evaluator != "network":
            raise UserError(
                f"{where}: recipe {recipe.name} solves for its last layer on the features of a "
                "whole batch. Train it in one, without torchrun."
            )
        if recipe.stop == "held-out":
            raise UserError(
                f"{where}: recipe {recipe.name} chooses its epochs by a pilot. Train it in one, "
                "without torchrun."
            )
        if least < ranks.count():
            raise UserError(
                f"{where}: its smallest batch has {least} views. Start at most {least} processes."
            )


def make_teacher(experiment: Experiment) -> None:
    """Have the teacher trained by all processes together, where it is trained here and missing.

    Raises:
        UserError: it cannot be trained.
    """

    def begin(folder: Path) -> None:
        say(f"the teacher is trained by {ranks.count()} processes")
        ranks.told(folder)

    experiment.make_teacher_with(begin)


def follow(experiment: Experiment) -> Any:
    """Train what the first process trains, teacher or students, until it has no more.

    Returns:
        What it is dismissed with.

    Raises:
        SystemExit: the first process ended with an error of the user's, which it has shown.
    """
    torch.set_flush_denormal(True)  # as it does
    try:
        told: Any = None
        while isinstance(told := ranks.told(told), list | Path):
            if isinstance(told, Path):
                with contextlib.suppress(Exception):  # as below
                    experiment.train_teacher(told)
                continue
            with ranks.together():
                runner, labels = Cells(experiment), experiment.resolve(told).labels
                group = [runner.resolve(cell, labels[cell]) for cell in told]
            # What goes wrong does so in the first process too, which records it.
            with contextlib.suppress(Exception):
                runner.train(group)
    except KeyboardInterrupt as error:
        raise SystemExit(130) from error
    if told is None:
        raise SystemExit(2)
    return told


def dismiss(results: Any) -> None:
    """End the others, each with what this process came to; None where it failed."""
    ranks.told(results)
