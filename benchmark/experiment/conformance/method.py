"""The checks of a method, on a tiny real task on the CPU.

Problems are sentences for the method's author: what was expected, what was found, which member to
mend. What is checked on, and what runs in the fitting process, is in `method_fit`.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core import plugins
from ...core.errors import ArtefactError
from ...data.images import ResidentImages
from ...labels import student
from ...labels.contract import LabelSource, method
from ...labels.task import LabelTask
from .. import fitter
from .checking import Problem, Told, run
from .fake_cuda import DeviceFault, one_epoch
from .method_fit import (
    NETWORK,
    RECIPE,
    TARGETS,
    as_shipped,
    fit_and_save,
    targets_of,
    tiny_task,
    views_of,
)


@dataclass
class Case:
    """What the checks look at; each check may rely on those before it.

    Attributes:
        task: as a student's: what `fit` is given lies in another process.
        root: folder of the teacher, and of what `fit` made.
    """

    name: str
    method: type[LabelSource]
    task: LabelTask
    root: Path

    @property
    def folder(self) -> Path:
        """The artefact."""
        return self.root / "first" / "artefact"

    def loaded(self, seed: int = 0) -> LabelSource:
        """The source as a student gets it."""
        return self.method.load(self.folder, replace(self.task, seed=seed))


def checks(name: str) -> Told:
    """Run all checks on the method called `name`."""
    try:
        found = method(name)
    except Exception as error:
        yield "the file defines one LabelSource", str(error)
        return
    if found.required:
        yield f"it is fitted to what `{found.required}` names, so only a run can check it", None
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        case = Case(name, found, as_shipped(tiny_task(root)), root)
        yield from run(plugins.METHODS, name, case, CHECKS, NEEDED)


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
    case.method.resolve_options(value, case.task.shape, None)


def fits(case: Case) -> None:
    """Fit and save work in a process of their own, twice alike."""
    for name in ("first", "second"):
        failed = fitter.call(fit_and_save, case.name, case.root, case.root / name)
        if failed is not None:
            raise Problem(failed.message)
    first, second = (case.root / name / "artefact" for name in ("first", "second"))
    for file in sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file()):
        if (first / file).read_bytes() != (second / file).read_bytes():
            raise Problem(
                f"Two fits of the same task differ in {str(file)!r}: draw everything random from "
                "the task's seed."
            )


def saves(case: Case) -> None:
    """Save writes an artefact without code, whose ledger sums to its bytes on disk."""
    files = [path for path in case.folder.rglob("*") if path.is_file()]
    foreign = [p.name for p in files if p.suffix not in (".json", ".safetensors", ".packed")]
    if foreign:
        raise Problem(f"`save` wrote {foreign}: an artefact holds a manifest and tensors only.")
    with _no_pickles():
        source = case.loaded()
    ledger, size = source.storage(), sum(path.stat().st_size for path in files)
    if ledger.total != size:
        raise Problem(f"`storage` sums to {ledger.total} bytes, the files hold {size}.")


def loads(case: Case) -> None:
    """Load gives back, in another process, a source with the same targets as the one saved."""
    views = views_of(case.loaded())
    first = torch.load(case.root / "first" / TARGETS, weights_only=True)
    again = targets_of(case.loaded(), views)
    for batch, (a, b) in enumerate(zip(first, again, strict=True)):
        if a.shape != b.shape or not torch.allclose(a, b, atol=_tolerance(a), rtol=0):
            gap = (a - b).abs().max().item() if a.shape == b.shape else float("nan")
            raise Problem(
                f"Targets of batch {batch} differ by {gap:.3g} between the saved and the loaded "
                "source: `tensors` and `restore` do not carry all that `targets` needs."
            )
    for a, b in zip(again, targets_of(case.loaded(), views), strict=True):
        if not torch.equal(a, b):
            raise Problem("Two loads of one artefact give different targets.")


def answers(case: Case) -> None:
    """Targets are finite float32 (B, C), and probabilities if they say so, in every epoch."""
    source = case.loaded()
    for epoch in range(case.task.plan.epochs):
        batches = views_of(source, epoch)
        # All of the first epoch; of the others one batch, as time is short.
        for views in batches if epoch == 0 else batches[:1]:
            (targets,) = targets_of(source, [views], epoch)
            _check_targets(source, targets, (len(views), case.task.classes), epoch)


def _check_targets(
    source: LabelSource, targets: Tensor, shape: tuple[int, int], epoch: int
) -> None:
    if tuple(targets.shape) != shape or targets.dtype != torch.float32:
        raise Problem(
            f"`targets` must be float32 {shape}, got {targets.dtype} {tuple(targets.shape)}."
        )
    if not torch.isfinite(targets).all():
        raise Problem(f"`targets` holds values that are not finite, in epoch {epoch}.")
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
    first, again = views_of(source), views_of(case.loaded())
    if len(first) != case.task.plan.batches:
        found = len(first) if len(first) < case.task.plan.batches else f"{len(first)} or more"
        raise Problem(
            f"`views` gave {found} batches an epoch, the plan has "
            f"{case.task.plan.batches}: all methods take the same number of steps."
        )
    for a, b in zip(first, again, strict=True):
        if not torch.equal(a.index, b.index) or not torch.equal(a.crop, b.crop):
            raise Problem("`views` gives other views when asked again: seed what it draws.")
        if len(a) and int(a.index.max()) >= len(case.task.images):
            raise Problem("`views` names images that are not there.")


def shares(case: Case) -> None:
    """Students of all seeds have the same views and targets, unless `seeded` says no."""
    source, other = case.loaded(), case.loaded(seed=1)
    if source.seeded:
        return
    for epoch in range(case.task.plan.epochs):
        first, second = views_of(source, epoch), views_of(other, epoch)
        for a, b in zip(first, second, strict=True):
            if not (torch.equal(a.index, b.index) and torch.equal(a.crop, b.crop)):
                raise Problem(
                    f"`views` depends on the student's seed, in epoch {epoch}: let `seeded` be "
                    "true, or students of several seeds would share them."
                )
        if not torch.equal(*(targets_of(s, first[:1], epoch)[0] for s in (source, other))):
            raise Problem(
                f"`targets` depends on the student's seed, in epoch {epoch}: let `seeded` be "
                "true, or students of several seeds would share them."
            )


def refuses(case: Case) -> None:
    """An artefact is refused for other images, and when a byte of it is changed."""
    task = case.task
    pixels = 255 - task.images.pixels
    other = ResidentImages(pixels, task.images.labels, task.images.class_names)
    _refused(lambda: case.method.load(case.folder, replace(task, images=other)), "other images")
    for file in sorted(path for path in case.folder.iterdir() if path.is_file()):
        whole = file.read_bytes()
        middle = len(whole) // 2
        file.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
        _refused(lambda: case.method.load(case.folder, task), "a changed byte")
        file.write_bytes(whole)


def trains(case: Case) -> None:
    """A student trains on it, and its loss is finite."""
    source = case.loaded(seed=1)
    classifier = student.build(NETWORK, source, seed=1)
    before = [p.detach().clone() for p in classifier.parameters()]
    checkpoint = case.root / "student.pt"
    student.train(classifier, source, RECIPE, checkpoint, "student")
    if all(torch.equal(a, b) for a, b in zip(before, classifier.parameters(), strict=True)):
        raise Problem("The student's weights did not move: does `loss` depend on its logits?")
    changed = {n: type(t).__name__ for n, t in source.training_state.items()}
    if any(not isinstance(t, Tensor) for t in source.training_state.values()):
        raise Problem(f"`training_state` may hold tensors only, got {changed}.")


def stays_on_the_device(case: Case) -> None:
    """An epoch on a GPU mixes no devices, and never waits for it (on a GPU that is not there)."""
    try:
        one_epoch(case.method, case.folder, case.task, NETWORK)
    except DeviceFault as fault:
        raise Problem(str(fault)) from fault


CHECKS: tuple[Callable[[Case], None], ...] = (
    defines_options,
    fits,
    saves,
    replays,
    loads,
    answers,
    shares,
    refuses,
    trains,
    stays_on_the_device,
)
NEEDED = (defines_options, fits, saves, replays, loads)


@contextmanager
def _no_pickles() -> Iterator[None]:
    """Raise a Problem if code is unpickled within; told by Python's own audit."""
    _watching.append(True)
    try:
        yield
    finally:
        _watching.clear()


_watching: list[bool] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watching and event == "pickle.find_class":
        module, name = arguments[:2]
        raise Problem(
            f"`restore` unpickles {module}.{name}: what is shipped must hold no code; ship "
            "tensors in `tensors` and plain values in `manifest`."
        )


def _tolerance(targets: Tensor) -> float:
    """Stored in fewer bits, targets may move; by no more than a twentieth of their range."""
    return 0.05 * max(1e-6, (targets.max() - targets.min()).item())


sys.addaudithook(_audit)


def _refused(load_it: Callable[[], object], what: str) -> None:
    try:
        load_it()
    except ArtefactError:
        return
    raise Problem(f"`load` accepted an artefact with {what}; keep the base class's checks.")
