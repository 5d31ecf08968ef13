"""Profiles: where the time of a student's step goes, for each method and student of a grid."""

from dataclasses import asdict

import torch
from torch import nn

from ..labels import student
from ..labels.contract import method
from ..records import speed
from ..records.environment import environment
from ..records.record import as_json
from ..records.speed import MemoryFormat, ProfileRecord
from . import step_parts
from .grid import Cell
from .measure_each import SEED, names
from .run_cell import EVALUATORS, Cells
from .stages import ResolvedLabels


def profile(runner: Cells, cell: Cell, labels: ResolvedLabels) -> ProfileRecord:
    """Time the parts of a step of one student with one method's labels, which are made."""
    experiment, recipe = runner.experiment, labels.recipe
    folder, fit = experiment.finished(labels)
    source = method(cell.variant.method).load(folder / "artefact", experiment.task(labels, SEED))
    learner = EVALUATORS[recipe.evaluator](cell.student, source, SEED)
    optimisation = student.optimisation(recipe, source)
    parts = step_parts.measure(learner, source, optimisation, experiment.dataset.test)
    batch = source.task.plan.sizes()[0]
    return ProfileRecord(
        schema=speed.SCHEMA,
        kind="profile",
        cell=names(runner, cell),
        precision=source.task.compute.precision,
        memory_format=_memory_format(learner),
        compiled=any(hasattr(part, "_orig_mod") for part in learner.modules()),
        batch=batch,
        options=as_json(asdict(source.options)),
        seconds=parts.seconds,
        seconds_fit=fit.seconds,
        evaluation=parts.evaluation,
        labels=step_parts.label_bytes(source, batch),
        copies=parts.copies,
        memory=parts.memory,
        world=runner.world,
        environment=environment(),
    )


def _memory_format(network: nn.Module) -> MemoryFormat:
    """In which order the weights of convolutions lie."""
    last = torch.channels_last
    weights = [p for p in network.parameters() if p.ndim == 4 and not p.is_contiguous()]
    laid = weights and all(p.is_contiguous(memory_format=last) for p in weights)
    return "channels last" if laid else "contiguous"
