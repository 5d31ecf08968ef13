"""What a method is checked on, and the half of its check that runs in the fitting process.

Real digits, a small teacher trained on the spot, eight images a class.
"""

from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from ...core import plugins
from ...core.cache import Cache
from ...core.device import choose
from ...data.dataset_source import dataset
from ...data.images import Dataset, ResidentImages
from ...data.place import Place
from ...data.recipe import Augmentation, Objective, Recipe
from ...data.rendering import render
from ...data.views import ViewBatch, ViewPlan
from ...labels.contract import LabelSource, method
from ...labels.task import LabelTask
from ...models.teachers import WEIGHTS, Teacher, TeacherOptions, load, trained
from ..failures import Failure, describe
from .checking import Problem

NETWORK = "convnet-d3-w16"
EPOCHS = 30  # of the plan: targets must be right in all of them
LARGEST = 64 * 2**20  # bytes of an artefact for these few images
TARGETS = "targets.pt"
# Without weight decay, so that weights move by their gradients alone.
RECIPE = Recipe("check", epochs=2, batch_size=30, lr=5e-3, weight_decay=0.0)


def fit_and_save(name: str, root: Path, folder: Path) -> Failure | None:
    """Fit a method on the tiny task, save its artefact, and keep an epoch's targets.

    In the process that fits; see `fitter`.
    """
    try:
        folder.mkdir()
        cls, task = method(name), tiny_task(root)
        options = cls.resolve_options(cls.Options(), task.shape, None)
        needs = cls.needs(options)
        given = replace(
            task,
            teacher=task.teacher if needs.teacher else None,
            snapshot_source=task.snapshot_source if needs.snapshots else None,
            scratch=folder / "scratch",
        )
        (folder / "scratch").mkdir()
        before = task.images.pixels.clone()
        source = cls.fit(given, options)
        if not isinstance(source, LabelSource):
            raise Problem(f"`fit` returned {type(source).__name__}, not a LabelSource.")
        if not torch.equal(before, task.images.pixels):
            raise Problem("`fit` changed the distilled images; they are shared by all methods.")
        shipped = 0
        for part in source.tensors():
            shipped += part.tensor.shape.numel() * part.tensor.dtype.itemsize
            if shipped > LARGEST:
                raise Problem(
                    f"`tensors` ship more than {LARGEST:,} bytes for {len(task.images)} images of "
                    f"8x8 pixels, whose labels take {task.shape.soft_bytes:,} in full."
                )
        (folder / "artefact").mkdir()
        source.save(folder / "artefact")
        source.task = as_shipped(task)
        torch.save(targets_of(source, views_of(source)), folder / TARGETS)
    except Problem as problem:
        return Failure(str(problem), "")
    except Exception as error:
        failed = describe(error, plugins.sources_of(plugins.METHODS, name))
        return replace(failed, message=f"It raised {failed.message}")
    return None


def tiny_task(root: Path) -> LabelTask:
    """Eight real digits a class, 20 a class as training set, a teacher of a few seconds."""
    compute = choose("cpu", "fp32")
    data = dataset("digits").load(Place(None, Cache(root / "stages")))

    def some(start: int, count: int) -> ResidentImages:
        members = [torch.nonzero(data.train.labels == c).squeeze(1) for c in range(10)]
        chosen = torch.cat([m[start : start + count] for m in members])
        labels = data.train.labels[chosen]
        return ResidentImages(data.train.take(chosen), labels, data.class_names)

    small = replace(data, train=some(8, 20))
    teacher = tiny_teacher(root, small)
    images = some(0, 8)
    augmentation = Augmentation(crop_scale=(0.6, 1.0), flip=0.0)
    plan = ViewPlan(0, len(images), 8, RECIPE.batch_size, EPOCHS, augmentation)
    return LabelTask(
        images=images,
        plan=plan,
        objective=Objective(),
        compute=compute,
        seed=0,
        mean=data.mean,
        std=data.std,
        teacher=teacher,
        train=small.train,
        snapshot_source=lambda: [teacher],
    )


def tiny_teacher(root: Path, data: Dataset, network: str = NETWORK) -> Teacher:
    """A teacher of a few seconds, trained once and kept in `root`."""
    compute = choose("cpu", "fp32")
    if not (root / WEIGHTS).is_file():
        trained(network, data, TeacherOptions(epochs=4, batch_size=50), compute, root)
    return load(network, root / WEIGHTS, 10, 1, 8, compute.device).teacher


def as_shipped(task: LabelTask) -> LabelTask:
    """The task as it is when a student trains: nothing that only fitting may use."""
    return replace(task, teacher=None, train=None, snapshot_source=None, scratch=None)


def views_of(source: LabelSource, epoch: int = 0) -> list[ViewBatch]:
    """The views of an epoch; of one without end, one more than there may be."""
    return list(islice(source.views(epoch), source.task.plan.batches + 1))


def targets_of(source: LabelSource, all_views: list[ViewBatch], epoch: int = 0) -> list[Tensor]:
    """The targets of these views in an epoch."""
    found = []
    for views in all_views:
        views = views.to(source.task.device)
        pixels = render(source.task.images.pixels, views)
        found.append(source.targets(views, pixels, epoch))
    return found
