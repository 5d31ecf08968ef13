import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import (  # type: ignore[import-not-found]
    GRID,
    NETWORK,
    listing,
    pictures,
    recipe_of,
    reloaded,
    run_main,
    run_tiny,
    tiny_task,
)
from torch import nn

from benchmark.data.views import ViewPlan
from benchmark.experiment import evaluate
from benchmark.experiment import pilot as pilots
from benchmark.experiment.pilot import SEED, run, validation_epochs
from benchmark.labels import student
from benchmark.methods.hard import Hard
from benchmark.models import networks, training

AUGMENTATION = recipe_of("ld").augmentation


def plan(images, steps):
    recipe = replace(recipe_of("ld"), steps=steps)
    return ViewPlan(0, images, 8, 50, recipe.epochs_of(images), AUGMENTATION)


def test_validation_is_at_whole_epochs_near_the_steps_and_at_the_last():
    assert validation_epochs(plan(50, 1000)) == [10, 25, 50, 75, *range(100, 1001, 50)]
    assert validation_epochs(plan(100, 1000)) == [5, 12, 25, 38, 50, *range(75, 501, 25)]
    assert validation_epochs(plan(500, 1000))[:5] == [1, 2, 5, 8, 10]
    assert validation_epochs(plan(10_000, 1000)) == [1, 2, 3, 4, 5]
    assert validation_epochs(plan(50, 7)) == [7]
    assert validation_epochs(plan(50, 120)) == [10, 25, 50, 75, 100, 120]


# The pilot.

RECIPE = replace(recipe_of("ld"), batch_size=10, steps=80)
AT = [5, 12, 25, 38, 40]


@pytest.fixture
def pilot(tmp_path):
    """Flies a pilot in a folder of this name, and gives what it wrote."""
    task = tiny_task(tmp_path / "scratch")
    task = replace(task, plan=ViewPlan(0, 20, 8, 10, 40, AUGMENTATION))
    source = reloaded(Hard.fit(task, Hard.Options()), tmp_path / "hard")

    def fly_it(name="pilot"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        learner = student.build(NETWORK, source, SEED)
        run(learner, source, RECIPE, pictures(40, seed=5), folder, "pilot")
        assert [path.name for path in folder.iterdir()] == [pilots.FILE]
        return json.loads((folder / pilots.FILE).read_text())

    return fly_it


def test_the_best_look_wins_and_the_fewest_of_equals(pilot, monkeypatch):
    shares = iter([3, 9, 4, 9, 8])

    def correct(classifier, images, compute):
        assert len(images) == 40
        return torch.arange(10) < next(shares)

    monkeypatch.setattr(pilots, "correct", correct)
    assert pilot() == {
        "chosen": 12,
        "epochs": AT,
        "accuracy": [0.3, 0.9, 0.4, 0.9, 0.8],
    }


@pytest.mark.parametrize("stop", [0, 11, 12, 13, 39])
def test_a_pilot_that_was_cut_short_goes_on(pilot, monkeypatch, stop):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1)
    whole = pilot("whole")
    losses_of = pilots.losses_of

    def cut(learner, source):
        losses = losses_of(learner, source)

        def until(epoch):
            if epoch == stop:
                raise KeyboardInterrupt
            yield from losses(epoch)

        return until

    monkeypatch.setattr(pilots, "losses_of", cut)
    with pytest.raises(KeyboardInterrupt):
        pilot("cut")
    monkeypatch.setattr(pilots, "losses_of", losses_of)
    assert pilot("cut") == whole
    assert whole["epochs"] == AT
    assert len(set(whole["accuracy"])) > 1


# Both recipes, end to end.

SHORT = ("--set", "recipe.epochs=0", "--set", "recipe.steps=120", "--methods", "hard,soft")


def found(work: Path) -> dict[str, dict]:
    records = [json.loads(file.read_text()) for file in (work / "records").glob("*.json")]
    return {f"{r['cell']['method']} {r['cell']['seed']}": r for r in records}


@pytest.mark.parametrize("recipe", ["ld", "ld-ridge"])
def test_a_run_by_the_recipe(tmp_path, recipe, monkeypatch):
    seen = []
    right = pilots.correct

    def correct(classifier, images, compute):
        seen.append(images)
        return right(classifier, images, compute)

    monkeypatch.setattr(pilots, "correct", correct)
    out = run_tiny(tmp_path, "--recipe", recipe, *SHORT)
    assert re.search(rf"^ACCURACY \| .* recipe {recipe} \(changed\), ", out, re.MULTILINE)
    one = found(tmp_path)
    assert one.keys() == {"hard 0", "soft 0"}
    for record in one.values():
        told, result = record["inputs"], record["result"]
        pilot = dict(zip(told["pilot"]["epochs"], told["pilot"]["accuracy"], strict=True))
        assert list(pilot) == [10, 25, 50, 75, 100, 120]
        assert told["epochs"] == max(pilot, key=lambda epochs: pilot[epochs])
        assert len(result["train_loss"]) == told["epochs"]
        assert record["recipe"]["steps"] == 120
        assert record["recipe"]["evaluator"] == ("ridge" if recipe == "ld-ridge" else "network")
        assert result["accuracy"] > 0.2
    assert max(one["hard 0"]["result"]["train_loss"]) < 10
    # Training images kept apart: a tenth of 1,433, less those that are distilled.
    assert {len(images) for images in seen} <= set(range(120, 144))

    # Another seed flies no pilot; its student trains as long.
    before = listing(tmp_path / "stages")
    monkeypatch.setattr(pilots, "run", lambda *_: pytest.fail("another pilot"))
    run_tiny(tmp_path, "--recipe", recipe, *SHORT, "--seeds", 2)
    assert listing(tmp_path / "stages") == before
    two = found(tmp_path)
    for method in ("hard", "soft"):
        first, second = two[f"{method} 0"], two[f"{method} 1"]
        assert first == one[f"{method} 0"]
        assert second["inputs"] == first["inputs"]
        assert len(second["result"]["train_loss"]) == first["inputs"]["epochs"]
        assert second["result"]["correct"] != first["result"]["correct"]


def test_test_data_has_no_part_in_the_choice(tmp_path, monkeypatch):
    """Whatever the looks say is done, and what the test says comes after and is only written."""
    looked = iter([0.1, 0.2, 0.9, 0.3, 0.2, 0.1])
    monkeypatch.setattr(pilots, "correct", lambda *_: torch.tensor([next(looked)]))
    monkeypatch.setattr(evaluate, "correct", lambda *_: torch.arange(364) < 91)
    run_tiny(tmp_path, "--recipe", "ld", *SHORT[:-1], "hard")
    record = found(tmp_path)["hard 0"]
    assert record["inputs"]["epochs"] == len(record["result"]["train_loss"]) == 50
    assert record["result"]["accuracy"] == 0.25


def test_recipes_of_a_fixed_length_fly_no_pilot(tmp_path, monkeypatch):
    monkeypatch.setattr(pilots, "run", lambda *_: pytest.fail("a pilot"))
    run_tiny(tmp_path, "--methods", "hard")
    (record,) = found(tmp_path).values()
    assert "pilot" not in record["inputs"]
    assert "epochs" not in record["inputs"]


def test_students_without_a_last_linear_layer_are_refused_before_anything_is_made(
    tmp_path, monkeypatch
):
    create = networks.create

    def other(name, *size):
        conv = nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())
        return conv if name == "lenet" else create(name, *size)

    monkeypatch.setattr(networks, "create", other)
    options = [*SHORT, "--recipe", "ld-ridge", "--students", f"{NETWORK},lenet"]
    code, _, err = run_main("run", *GRID, *options, "--work", tmp_path / "work")
    assert code == 2
    assert "does not end in a linear layer of 10 classes" in err.splitlines()[-1]
    assert not (tmp_path / "work" / "records").exists()
