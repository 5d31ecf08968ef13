"""A walk over every stage and every declared input: what changes a key, and what does not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.core import code_digest, plugins
from benchmark.core.device import Compute
from benchmark.core.files import digest
from benchmark.data.images import ResidentImages
from benchmark.experiment import grid
from benchmark.experiment.dataset_and_teacher import Runtime
from benchmark.experiment.run_cell import Cells
from benchmark.experiment.stages import Experiment

SETTINGS = {
    "dataset": "digits",
    "images": ["random", "rded"],
    "ipc": [2],
    "methods": ["hard", "soft", "hello", "expert"],
    "students": ["convnet-d2-w8", "lenet"],
    "recipe": "quick",
    "teacher": "convnet-d2-w8",
    "seeds": 1,
    "controls": False,
    "set": {"teacher.epochs": 2},
}
ALL = frozenset(
    {
        "teacher",
        "snapshots",
        "tested",
        *(f"images {i}" for i in ("random", "rded")),
        *(f"similarity {i}" for i in ("random", "rded")),
        *(f"labels {m} {i}" for m in SETTINGS["methods"] for i in ("random", "rded")),
        *(
            f"record {m} {i} {s}"
            for m in SETTINGS["methods"]
            for i in ("random", "rded")
            for s in SETTINGS["students"]
        ),
    }
)
RECORDS = frozenset(name for name in ALL if name.startswith("record"))
COMPUTE = Compute(torch.device("cpu"), bf16=False)


def keys(work: Path, compute: Compute = COMPUTE, data: Any = None, **changes: Any) -> dict:
    """The digest of each stage's key, by a name for it."""
    values = {**SETTINGS, **changes}
    values["set"] = {**SETTINGS["set"], **changes.get("set", {})}
    asked = grid.make_grid(values)
    experiment = Experiment(asked, Runtime(work, compute, None))
    if data is not None:
        experiment.__dict__["dataset"] = data(experiment.dataset)
    cells = list(grid.cells(asked))
    runner = Cells(experiment)
    found = {
        "teacher": digest(experiment.teacher_key),
        "snapshots": digest(experiment.training_key),
        "tested": digest(experiment.tested_key),
    }
    for cell, labels in experiment.resolve(cells).labels.items():
        images, method = cell.images, cell.variant.method
        found[f"images {images}"] = digest(labels.images.key)
        found[f"similarity {images}"] = digest(
            experiment.image_stages.similarity_key(labels.images)
        )
        found[f"labels {method} {images}"] = labels.digest
        key = runner.resolve(cell, labels).key
        found[f"record {method} {images} {cell.student}"] = key
    return found


def about(*words: str) -> frozenset[str]:
    """The stages whose names hold one of these words."""
    return frozenset(name for name in ALL if any(word in name for word in words))


@pytest.fixture(scope="module")
def before(tmp_path_factory) -> dict[str, str]:
    found = keys(tmp_path_factory.mktemp("work"))
    assert found.keys() == ALL
    assert len(set(found.values())) == len(ALL) - 1  # a trained teacher is its own last snapshot
    return found


@contextmanager
def changed_module(name: str) -> Iterator[None]:
    """The code of one module of the project says something else."""
    file, parse = code_digest.locate(name), code_digest._parse
    assert file is not None, name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            code_digest,
            "_parse",
            lambda f: replace(parse(f), meaning="changed") if f == file else parse(f),
        )
        yield


def differ(before: dict[str, str], after: dict[str, str]) -> frozenset[str]:
    assert before.keys() == after.keys()
    return frozenset(name for name in before if before[name] != after[name])


# Of each module of the code: the stages that it makes, or that are made from what it makes.
USES = {
    # The methods, each its own; its helpers too.
    "methods.soft": about("labels soft", "record soft"),
    "methods.hello": about("labels hello", "record hello"),
    "methods.hello.lora": about("labels hello", "record hello"),
    "methods.expert": about("labels expert", "record expert"),
    "methods.hard": about("labels hard", "record hard"),
    "methods.lpqld": frozenset(),  # not asked for
    "labels.teacher_logits": about("labels soft", "record soft"),
    # The faults that were found: `teachers.load`, `Ledger.total`.
    "models.teachers": ALL - about("images random", "labels hard random") | RECORDS,
    "records.ledger": about("labels") | RECORDS,
    # Networks: only where one is built.
    "models.networks.lenet": about("lenet"),
    # What makes images.
    "datasets.distilled.rded": about("rded"),
    "datasets.distilled.sre2l": frozenset(),
    # What measures.
    "experiment.evaluate": RECORDS,
    "experiment.throughput": RECORDS,
    "experiment.similarity": about("similarity"),
    # What only reads, arranges and prints.
    "data.recipes": frozenset(),
    "experiment.grid": frozenset(),
    "cli.app": frozenset(),
    "experiment.run_cell": frozenset(),
    "experiment.run_grid": frozenset(),
    "experiment.stages": frozenset(),
    "report.leaderboard": frozenset(),
    "core.plugins": frozenset(),
    "report.verify": frozenset(),
}


@pytest.mark.parametrize("module", USES)
def test_changed_code_remeasures_exactly_what_uses_it(before, tmp_path, module):
    with changed_module(f"benchmark.{module}"):
        assert differ(before, keys(tmp_path)) == USES[module]


def other_pixels(dataset, part):
    images = getattr(dataset, part)
    changed = ResidentImages(255 - images.pixels, images.labels, images.class_names)
    return replace(dataset, **{part: changed})


def renamed(dataset):
    names = ("nought", *dataset.class_names[1:])
    train = ResidentImages(dataset.train.pixels, dataset.train.labels, names)
    return replace(dataset, train=train)


BF16 = Compute(torch.device("cpu"), bf16=True)
INPUTS: dict[str, tuple[Callable[[Path], dict], frozenset[str]]] = {
    "precision": (lambda w: keys(w, BF16), ALL),
    "device": (partial(keys, compute=Compute(torch.device("meta"), bf16=False)), ALL),
    "training images": (partial(keys, data=lambda d: other_pixels(d, "train")), ALL),
    "test images": (
        partial(keys, data=lambda d: other_pixels(d, "test")),
        RECORDS | {"tested"},
    ),
    "class names": (partial(keys, data=renamed), ALL),
    "mean": (partial(keys, data=lambda d: replace(d, mean=(0.5,))), ALL),
    "std": (partial(keys, data=lambda d: replace(d, std=(0.5,))), ALL),
    "mirror": (partial(keys, data=lambda d: replace(d, mirror=True)), ALL),
    "a method's option": (
        partial(keys, set={"hello.rank": 2}),
        about("labels hello", "record hello"),
    ),
    "an image source's option": (partial(keys, set={"rded.candidates": 20}), about("rded")),
    "a teacher's option": (
        partial(keys, set={"teacher.lr": 0.01}),
        ALL - about("images random", "labels hard random") | RECORDS,
    ),
    "epochs": (partial(keys, set={"recipe.epochs": 3}), about("labels", "record")),
    "crops": (
        partial(keys, set={"recipe.augmentation.crop_scale": "0.5,1.0"}),
        about("labels", "record"),
    ),
    "temperature": (
        partial(keys, set={"recipe.objective.temperature": 3}),
        about("labels", "record"),
    ),
    "lr": (partial(keys, set={"recipe.lr": 0.01}), RECORDS),
    "recipe": (partial(keys, recipe="rded"), about("labels", "record")),
    "an option not used": (partial(keys, set={"lpqld.k": 3, "sre2l.iterations": 5}), frozenset()),
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_changed_input_remeasures_exactly_what_depends_on_it(before, tmp_path, name):
    again, expected = INPUTS[name]
    assert differ(before, again(tmp_path)) == expected


def test_minor_versions_of_the_libraries_in_use_count(before, tmp_path, monkeypatch):
    version = code_digest.version
    monkeypatch.setattr(code_digest, "version", lambda n: "99.1.0" if n == "peft" else version(n))
    assert differ(before, keys(tmp_path)) == about("labels hello", "record hello")
    monkeypatch.setattr(code_digest, "version", lambda n: version(n) + ".post1")
    assert differ(before, keys(tmp_path)) == frozenset()


def test_a_new_file_remeasures_nothing(before, tmp_path, monkeypatch):
    """A plugin file beside; what is in the package's folders is found by its presence alike."""
    file = tmp_path / "another.py"
    file.write_text('"""Another."""\nfrom benchmark.methods.hard import Hard\n\nclass A(Hard): ...')
    monkeypatch.setattr(plugins, "_added", {})
    plugins.add(file)
    assert "another" in plugins.found(plugins.METHODS)
    assert differ(before, keys(tmp_path / "work")) == frozenset()


def test_keys_are_the_same_every_time_and_in_every_folder(before, tmp_path):
    assert keys(tmp_path / "elsewhere") == before
