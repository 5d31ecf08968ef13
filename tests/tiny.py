"""Tiny inputs: a task of random pixels made in milliseconds, and runs of a second or two."""

import io
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from unittest.mock import patch

import forked
import pytest
import torch

from benchmark.__main__ import main
from benchmark.core.device import Compute
from benchmark.data import recipes
from benchmark.data.dataset_source import dataset
from benchmark.data.images import ResidentImages
from benchmark.data.recipe import Augmentation, Objective, Recipe
from benchmark.data.recipe_source import RecipeSetting
from benchmark.data.views import ViewPlan
from benchmark.exchange import image_table
from benchmark.experiment import pace, throughput
from benchmark.labels.contract import LabelSource
from benchmark.labels.task import LabelTask
from benchmark.models import networks
from benchmark.models.image_source import ImageTask, image_source
from benchmark.models.teachers import Teacher

NETWORK = "convnet-d2-w8"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DESCRIBED = {  # the least that a manifest says, beside tensors
    "method": "m",
    "options": {},
    "images": "0" * 64,
    "classes": "1" * 64,
    "plan": asdict(ViewPlan(0, 20, 8, 8, 4, Augmentation())),
    "objective": asdict(Objective()),
    "mean": [0.4],
    "std": [0.3],
}
Source = TypeVar("Source", bound=LabelSource)

WORDS = [
    "--dataset",
    "digits",
    "--students",
    "convnet-d2-w8",
    "--teacher",
    "convnet-d2-w8",
    "--images",
    "random",
    "--ipc",
    "2",
    "--recipe",
    "quick",
    "--set",
    "recipe.epochs=2",
    "--set",
    "teacher.epochs=1",
    "--seeds",
    "1",
    "--no-controls",
    "--device",
    "cpu",
]
GRID = [*WORDS, "--jobs", "1"]


def recipe_of(name: str) -> Recipe:
    """A recipe as it is for CIFAR-10 at IPC 10 and ConvNet students."""
    return recipes.make(name, RecipeSetting(10, 10, 32, "convnet-d3"))


def dataset_of(name: str) -> Any:
    """The dataset called `name`."""
    return dataset(name)


def made_by(module: ModuleType, task: ImageTask, options: Any) -> ResidentImages:
    """The images of the source that a module defines."""
    return image_source(module.__name__.rpartition(".")[2])(options).make(task)


def pictures(count: int, seed: int = 1) -> ResidentImages:
    """Random 1 x 8 x 8 pictures, the ten classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, 1, 8, 8), generator=generator).to(torch.uint8)
    return ResidentImages(pixels, torch.arange(count) % 10, NAMES)


def tiny_task(scratch: Path, images: int = 20, batch_size: int = 8, epochs: int = 4) -> LabelTask:
    """A task for fitting, whose teacher has random weights but is sure of itself."""
    torch.manual_seed(0)
    network = networks.create(NETWORK, 10, 1, 8)
    teacher = Teacher(NETWORK, network, (0.4,), (0.3,)).eval().requires_grad_(False)
    network.get_submodule("classifier").weight.mul_(20)  # type: ignore[operator]
    scratch.mkdir(exist_ok=True)
    return LabelTask(
        images=pictures(images),
        plan=ViewPlan(0, images, 8, batch_size, epochs, Augmentation((0.6, 1.0))),
        objective=Objective(),
        compute=Compute(torch.device("cpu"), bf16=False),
        seed=0,
        mean=(0.4,),
        std=(0.3,),
        teacher=teacher,
        train=pictures(60, seed=2),
        scratch=scratch,
    )


def shipped(task: LabelTask, seed: int = 0) -> LabelTask:
    """The task as it is when a student trains: nothing that only fitting may use."""
    return replace(task, teacher=None, train=None, scratch=None, seed=seed)


def reloaded(source: Source, folder: Path, seed: int = 0) -> Source:
    """The source as a student gets it: saved, then loaded."""
    folder.mkdir()
    source.save(folder)
    return type(source).load(folder, shipped(source.task, seed))


def run_main(*arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    command = ["labelbench", *map(str, arguments)]
    with patch.object(sys, "argv", command), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue(), err.getvalue()


def run_tiny(work: Path | str, *arguments: object) -> str:
    """Run the tiny grid in the folder `work`; returns what it printed."""
    with quick_clock():
        code, out, err = run_main("run", *GRID, "--work", work, *arguments)
    assert code == 0, err
    return out


def interrupted(
    work: Path, arguments: Sequence[object], end: signal.Signals, again: bool = False
) -> list[str]:
    """The lines that a run in a process of its own says when it is ended on the way.

    It is ended as soon as labels are made; it must say so in a line, not by a traceback.

    Args:
        again: and again, until it has ended.
    """
    words = ["run", *arguments, "--work", work, "--set", "recipe.epochs=100000"]
    told, tell = os.pipe()
    with open(os.devnull, "wb") as nowhere, open(tell, "wb") as err:
        child = forked.start(forked.COMMAND, words, Path(), nowhere, err)
    patience = time.monotonic() + 120
    while not list(work.glob("stages/labels-*[0-9a-f]")):
        assert child.is_alive()
        assert time.monotonic() < patience
        time.sleep(0.1)
    assert child.pid is not None
    os.kill(child.pid, end)
    while again and child.is_alive():
        time.sleep(0.02)
        with suppress(ProcessLookupError):  # it may have ended just now
            os.kill(child.pid, end)
    with open(told, encoding="utf-8") as read:
        said = read.read()  # ends when all that write to it have ended
    child.join(60)
    assert child.exitcode == 130
    assert "Traceback" not in said
    return said.splitlines()


@contextmanager
def quick_clock() -> Iterator[None]:
    """Throughput and the pace of estimates measured in a thousandth of the usual time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(throughput, "LEAST_SECONDS", 5e-5)
        patched.setattr(pace, "LEAST", 5e-5)
        yield


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything in a folder, by relative path."""
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def shipped_folder(folder: Path, method: type[LabelSource[Any]], images: int = 20) -> Path:
    """A folder as `ship` makes it, of random pictures and a method's labels for them."""
    task = tiny_task(folder.parent / "scratch", images)
    for name in ("labels", "images"):
        (folder / name).mkdir(parents=True)
    method.fit(task, method.Options()).save(folder / "labels")
    image_table.write(folder / "images", task.images)
    (folder / "README.md").write_text("---\npretty_name: tiny\n---\n\n# Tiny\n", encoding="utf-8")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file of a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
