"""What a look at a grid works out: once what many cells share, and nothing that is not shown."""

from collections import Counter

import pytest
import torch
from tiny import GRID, run_main

from benchmark.core.device import Compute
from benchmark.experiment import dataset_and_teacher, grid, memory
from benchmark.experiment.dataset_and_teacher import Runtime
from benchmark.experiment.stages import Experiment
from benchmark.labels.contract import method
from benchmark.labels.task import TaskShape
from benchmark.methods import hello, score

DRAWS = "random[draw=0],random[draw=1],random[draw=2]"


@pytest.fixture
def resolved(monkeypatch):
    """How often each method has resolved its options, by the budget."""
    counts: Counter[tuple[str, int | None]] = Counter()
    for name in ("score", "hard"):
        cls = method(name)

        def counted(options, shape, budget, name=name, whole=cls.resolve_options):
            counts[name, budget] += 1
            return whole(options, shape, budget)

        monkeypatch.setattr(cls, "resolve_options", counted)
    return counts


def test_options_are_resolved_once_for_all_draws_and_seeds(tmp_path, resolved):
    values = {"dataset": "digits", "images": DRAWS.split(","), "ipc": [2], "methods": ["score"]}
    values |= {"students": ["convnet-d2-w8"], "recipe": "quick", "teacher": "convnet-d2-w8"}
    asked = grid.make_grid({**values, "seeds": 2, "budgets": ["4000", "9000"], "controls": True})
    cells = list(grid.cells(asked))
    runtime = Runtime(tmp_path, Compute(torch.device("cpu"), bf16=False), None, look_only=True)
    found = Experiment(asked, runtime).resolve(cells, fetch=False)
    assert len(found.labels) == len(cells) > 12
    assert resolved == {("score", 4000): 1, ("score", 9000): 1, ("hard", None): 1}


def test_a_dry_run_resolves_them_no_more_often(tmp_path, resolved, monkeypatch):
    monkeypatch.setattr(memory, "at_once", lambda device: 20)
    words = ["--images", DRAWS, "--methods", "hard,score", "--budget", "4000"]
    code, _, err = run_main("run", *GRID, *words, "--work", tmp_path / "none", "--dry-run")
    assert code == 0, err
    assert set(resolved.values()) == {1}


def test_where_nothing_was_made_a_look_reads_no_code_and_says_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "at_once", lambda device: 20)
    (tmp_path / "empty").mkdir()
    words = ["--images", DRAWS, "--methods", "hard,soft,lpqld", "--seeds", "2", "--dry-run"]
    said = {}
    for name in ("empty", "none"):
        if name == "none":
            monkeypatch.setattr(dataset_and_teacher, "code_of", None)
        code, out, err = run_main("run", *GRID, *words, "--work", tmp_path / name, "--verbose")
        assert code == 0, err
        said[name] = out
    assert said["none"] == said["empty"]
    assert said["none"].count("\nmissing  ") == 18
    assert not (tmp_path / "none").exists()


def test_score_foretells_few_containers(monkeypatch):
    counts, whole = Counter(), score.container_bytes

    def counted(*arguments):
        counts["container"] += 1
        return whole(*arguments)

    monkeypatch.setattr(score, "container_bytes", counted)
    shape = TaskShape(classes=10, images=100, batches=1, epochs=300, resolution=32)
    for budget in (8_000, 60_000, 200_000):
        counts.clear()
        score.Score.resolve_options(score.Options(), shape, budget)
        assert counts["container"] <= 20


def test_hello_builds_a_tower_once_for_all_that_is_shipped_of_it(monkeypatch):
    built, whole = Counter(), hello.bare_tower

    def counted(prior):
        built[prior] += 1
        return whole(prior)

    monkeypatch.setattr(hello, "bare_tower", counted)
    hello._trained.cache_clear()
    shape = TaskShape(classes=10, images=20, batches=1, epochs=2, resolution=8)
    sizes = [
        hello.HeLlO.label_bytes(hello.Options(weights=weights, epochs=epochs), shape)
        for weights in ("fp16", "int8")
        for epochs in (1, 2)
    ]
    assert sizes[0] == sizes[1] > sizes[2] == sizes[3]
    assert built == {"embedded": 1}
