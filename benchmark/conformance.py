"""Conformance: the contract's checks on one method, on a tiny real task on the CPU.

Real digits, a small teacher trained on the spot, eight images a class. Problems are sentences
for the method's author: what was expected, what was found, which member to mend.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from . import registry, student
from .contract import LabelSource, LabelTask
from .datasets import digits  # type: ignore[import-not-found]
from .datasets.place import Place  # type: ignore[import-not-found]
from .device import choose
from .errors import ArtefactError
from .images import ResidentImages
from .recipe import Augmentation, Objective, Recipe
from .render import render
from .stages import Stages
from .teachers import Teacher, TeacherOptions, load, trained
from .views import ViewBatch, ViewPlan

NETWORK = "convnet-d3-w16"
# Without weight decay, so that weights move by their gradients alone.
RECIPE = Recipe("check", epochs=2, batch_size=30, rate=5e-3, weight_decay=0.0)


class Problem(Exception):
    """A broken rule, told to the method's author."""


@dataclass
class Case:
    """What the checks look at; each check may rely on those before it."""

    method: type[LabelSource]
    task: LabelTask
    folder: Path
    source: LabelSource | None = None

    def loaded(self, seed: int = 0) -> LabelSource:
        """The source as a student gets it."""
        return self.method.load(self.folder, _as_shipped(self.task, seed))


def check_method(name: str) -> Iterator[tuple[str, str | None]]:
    """Run all checks; yields each one's title with its problem, or None if it holds.

    Stops after the first broken check that later ones rely on.
    """
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        try:
            method = registry.method(name)
        except Exception as error:
            yield "the file defines one LabelSource", str(error)
            return
        case = Case(method, _tiny_task(root), root / "artefact")
        for check in CHECKS:
            title = (check.__doc__ or "").rstrip(".")
            try:
                check(case)
            except Problem as problem:
                yield title, str(problem)
            except Exception as error:
                yield title, f"It raised {type(error).__name__}: {error}"
            else:
                yield title, None
                continue
            if check in NEEDED:
                return


def defines_options(case: Case) -> None:
    """Options is a frozen dataclass, and every option has a default."""
    options = case.method.Options
    if not is_dataclass(options):
        raise Problem("`Options` must be a dataclass: decorate it with @dataclass(frozen=True).")
    try:
        value: Any = options()
    except TypeError as error:
        raise Problem(f"Every option needs a default: {error}.") from error
    if not options.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise Problem("`Options` must be frozen: decorate it with @dataclass(frozen=True).")
    case.method.settle(value, case.task.shape, None)


def fits(case: Case) -> None:
    """Fit returns a source."""
    options = case.method.settle(case.method.Options(), case.task.shape, None)
    before = case.task.images.pixels.clone()
    case.source = case.method.fit(case.task, options)
    if not isinstance(case.source, LabelSource):
        raise Problem(f"`fit` returned {type(case.source).__name__}, not a LabelSource.")
    if not torch.equal(before, case.task.images.pixels):
        raise Problem("`fit` changed the distilled images; they are shared by all methods.")


def saves(case: Case) -> None:
    """Save writes an artefact without code, whose ledger sums to its bytes on disk."""
    assert case.source is not None
    case.folder.mkdir()
    case.source.save(case.folder)
    files = [path for path in case.folder.rglob("*") if path.is_file()]
    foreign = [p.name for p in files if p.suffix not in (".json", ".safetensors")]
    if foreign:
        raise Problem(f"`save` wrote {foreign}: an artefact holds JSON and safetensors only.")
    ledger, size = case.source.storage(), sum(path.stat().st_size for path in files)
    if ledger.total != size:
        raise Problem(f"`storage` sums to {ledger.total} bytes, the files hold {size}.")


def loads(case: Case) -> None:
    """Load gives back a source with the same targets as the one that was saved."""
    assert case.source is not None
    if case.source.task.teacher is not None:
        case.source.task = _as_shipped(case.task, 0)
    views = _views(case.source)
    first, again = _targets(case.source, views), _targets(case.loaded(), views)
    for batch, (a, b) in enumerate(zip(first, again, strict=True)):
        if a.shape != b.shape or not torch.allclose(a, b, atol=_tolerance(a), rtol=0):
            gap = (a - b).abs().max().item() if a.shape == b.shape else float("nan")
            raise Problem(
                f"Targets of batch {batch} differ by {gap:.3g} between the saved and the loaded "
                "source: `blobs` and `restore` do not carry all that `targets` needs."
            )
    for a, b in zip(again, _targets(case.loaded(), views), strict=True):
        if not torch.equal(a, b):
            raise Problem("Two loads of one artefact give different targets.")


def answers(case: Case) -> None:
    """Targets are finite float32 (B, C) on the device, and probabilities if they say so."""
    source = case.loaded()
    all_views = _views(source)
    for views, targets in zip(all_views, _targets(source, all_views), strict=True):
        shape = (len(views), case.task.classes)
        if tuple(targets.shape) != shape or targets.dtype != torch.float32:
            raise Problem(
                f"`targets` must be float32 {shape}, got {targets.dtype} {tuple(targets.shape)}."
            )
        if not torch.isfinite(targets).all():
            raise Problem("`targets` holds values that are not finite.")
        if targets.requires_grad:
            raise Problem("`targets` carries a graph: compute it under torch.no_grad().")
        sums = targets.sum(1)
        if source.space == "probabilities" and (
            targets.min() < 0 or not torch.allclose(sums, torch.ones_like(sums), atol=1e-3)
        ):
            raise Problem(
                "`space` says probabilities, but rows are negative or do not sum to 1 "
                f"(sums from {sums.min():.3f} to {sums.max():.3f}). For logits set "
                'space = "logits".'
            )


def replays(case: Case) -> None:
    """Views are the same for the same epoch and seed, and as many batches as the plan's."""
    source = case.loaded()
    first, again = _views(source), _views(case.loaded())
    if len(first) != case.task.plan.batches:
        raise Problem(
            f"`views` gave {len(first)} batches an epoch, the plan has "
            f"{case.task.plan.batches}: all methods take the same number of steps."
        )
    for a, b in zip(first, again, strict=True):
        if not torch.equal(a.index, b.index) or not torch.equal(a.crop, b.crop):
            raise Problem("`views` gives other views when asked again: seed what it draws.")
        if len(a) and int(a.index.max()) >= len(case.task.images):
            raise Problem("`views` names images that are not there.")


def refuses(case: Case) -> None:
    """An artefact is refused for other images, and when a byte of it is changed."""
    task = _as_shipped(case.task, 0)
    pixels = 255 - task.images.pixels
    other = ResidentImages(pixels, task.images.labels, task.images.class_names)
    _refused(lambda: case.method.load(case.folder, replace(task, images=other)), "other images")
    shards = sorted(case.folder.glob("*.safetensors"))
    if shards:
        whole = shards[-1].read_bytes()
        shards[-1].write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        _refused(lambda: case.method.load(case.folder, task), "a changed byte")
        shards[-1].write_bytes(whole)


def trains(case: Case) -> None:
    """A student trains on it, and its loss is finite."""
    source = case.loaded(seed=1)
    classifier = student.build(NETWORK, source, seed=1)
    before = [p.detach().clone() for p in classifier.parameters()]
    checkpoint = case.folder.with_name("student.pt")
    student.train(classifier, source, RECIPE, checkpoint, "student")
    if all(torch.equal(a, b) for a, b in zip(before, classifier.parameters(), strict=True)):
        raise Problem("The student's weights did not move: does `loss` depend on its logits?")
    changed = {n: type(t).__name__ for n, t in source.training_state.items()}
    if any(not isinstance(t, Tensor) for t in source.training_state.values()):
        raise Problem(f"`training_state` may hold tensors only, got {changed}.")


CHECKS: tuple[Callable[[Case], None], ...] = (
    defines_options,
    fits,
    saves,
    loads,
    answers,
    replays,
    refuses,
    trains,
)
NEEDED = (defines_options, fits, saves, loads)


def _tiny_task(root: Path) -> LabelTask:
    """Eight real digits a class, 20 a class as training set, a teacher of a few seconds."""
    compute = choose("cpu", "fp32")
    data = digits.load(Place(None, Stages(root / "stages")))

    def some(start: int, count: int) -> ResidentImages:
        members = [torch.nonzero(data.train.labels == c).squeeze(1) for c in range(10)]
        chosen = torch.cat([m[start : start + count] for m in members])
        labels = data.train.labels[chosen]
        return ResidentImages(data.train.take(chosen), labels, data.class_names)

    small = replace(data, train=some(8, 20))
    trained(NETWORK, small, TeacherOptions(epochs=4, batch_size=50), compute, root)
    teacher: Teacher = load(NETWORK, root / "teacher.safetensors", 10, 1, 8, compute.device)
    images = some(0, 8)
    augmentation = Augmentation(crop_scale=(0.6, 1.0), flip=0.0)
    plan = ViewPlan(0, len(images), 8, RECIPE.batch_size, RECIPE.epochs, augmentation)
    scratch = root / "scratch"
    scratch.mkdir()
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
        weak=lambda: [teacher],
        scratch=scratch,
    )


def _as_shipped(task: LabelTask, seed: int) -> LabelTask:
    return replace(task, teacher=None, train=None, weak=None, scratch=None, seed=seed)


def _views(source: LabelSource) -> list[ViewBatch]:
    return list(source.views(0))


def _targets(source: LabelSource, all_views: list[ViewBatch]) -> list[Tensor]:
    found = []
    for views in all_views:
        views = views.to(source.task.device)
        found.append(source.targets(views, render(source.task.images.pixels, views), 0))
    return found


def _tolerance(targets: Tensor) -> float:
    """Stored in fewer bits, targets may move; by no more than a twentieth of their range."""
    return 0.05 * max(1e-6, (targets.max() - targets.min()).item())


def _refused(load_it: Callable[[], object], what: str) -> None:
    try:
        load_it()
    except ArtefactError:
        return
    raise Problem(f"`load` accepted an artefact with {what}; keep the base class's checks.")
