from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import NETWORK, reloaded, tiny_task

from benchmark.core.options import NoOptions
from benchmark.data.recipe import Augmentation, Recipe
from benchmark.data.siamese import Siamese
from benchmark.data.views import ViewPlan
from benchmark.data.whitening import Whitening
from benchmark.labels import student
from benchmark.methods.hard import Hard
from benchmark.methods.hello import HeLlO
from benchmark.methods.soft import Soft


@pytest.fixture
def task(tmp_path):
    return tiny_task(tmp_path / "scratch")


def flat(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_initial_weights_depend_on_the_seed_alone(task, tmp_path):
    """So that the students of all methods are paired, even of one that draws while loading."""
    small = replace(task, train=task.images)
    hello = HeLlO.fit(small, HeLlO.Options(epochs=1, batch_size=20, rank=1))
    sources = [
        reloaded(Hard.fit(task, Hard.Options()), tmp_path / "hard"),
        reloaded(hello, tmp_path / "hello"),
    ]
    first, again = (flat(student.build(NETWORK, source, seed=3)) for source in sources)
    assert first.equal(again)
    assert not first.equal(flat(student.build(NETWORK, sources[0], seed=4)))


def test_a_student_learns_what_the_teacher_says(task, tmp_path):
    epochs = 30
    plan = replace(
        task.plan, epochs=epochs, augmentation=replace(task.plan.augmentation, mix="none")
    )
    source = reloaded(Soft.fit(replace(task, plan=plan), Soft.Options()), tmp_path / "soft")
    recipe = Recipe("test", epochs, task.plan.batch_size, lr=0.02)
    classifier = student.build(NETWORK, source, seed=0)
    curve = student.train(classifier, source, recipe, tmp_path / "c.pt", "test")
    assert len(curve) == epochs
    assert sum(curve[-5:]) < 0.5 * sum(curve[:5])


def test_the_schedule_is_the_recipes_over_the_plans_steps(task):
    recipe = Recipe("test", 4, 8, "sgd", 0.5, 0.1, 0.8, 0.2)
    found = student.optimisation(recipe, Hard.fit(task, Hard.Options()))
    assert (found.epochs, found.steps_per_epoch) == (4, 3)
    assert (found.optimiser, found.lr, found.weight_decay) == ("sgd", 0.5, 0.1)
    assert (found.momentum, found.warmup) == (0.8, 0.2)


def test_siamese_augmentation_is_the_trainings_alone(task):
    """Normalised pixels are augmented while a student trains, and not while it is tested."""
    plan = replace(task.plan, augmentation=replace(task.plan.augmentation, dsa=("flip",)))
    source = Hard.fit(replace(task, plan=plan), NoOptions())
    learner = student.build(NETWORK, source, 0)
    views = plan.batch(0, 0)
    pixels = torch.rand(len(views), 1, 8, 8)
    normalised = (pixels - 0.4) / 0.3
    augmented = Siamese(("flip",), 0)(normalised, 0, views.batch)
    assert not torch.equal(augmented, normalised)
    torch.testing.assert_close(learner.seen(pixels, views, 0), learner.network(augmented))
    torch.testing.assert_close(learner(pixels), learner.network(normalised))


def test_whitened_pixels_are_what_the_network_is_shown(task):
    whitening = Whitening(torch.full((64,), 0.5), 2 * torch.eye(64))
    source = Hard.fit(replace(task, whitening=whitening), NoOptions())
    learner = student.build(NETWORK, source, 0)
    pixels = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(learner(pixels), learner.network(2 * (pixels - 0.5)))


@pytest.mark.parametrize("method", [Soft, Hard])
def test_batches_rendered_together_are_those_rendered_alone(method, task, tmp_path, monkeypatch):
    source = reloaded(method.fit(task, method.Options()), tmp_path / "labels")
    alone = list(student.stream(source, 1))
    rendered, told = [], []
    monkeypatch.setattr(student, "at_once", lambda task: 2)
    monkeypatch.setattr(method, "expect", lambda self, views: told.append(views.batch))
    of_views = student.rendered
    monkeypatch.setattr(
        student,
        "rendered",
        lambda source, views: rendered.append(len(views)) or of_views(source, views),
    )
    together = student.stream(source, 1)
    assert len(alone) > 2
    for number, (views, pixels, targets) in enumerate(alone):
        here, shown, given = next(together)
        assert here.partner.equal(views.partner)
        assert here.batch == views.batch == number
        assert shown.equal(pixels)
        assert given.equal(targets)
        assert told == list(range(min(number + 2, len(alone))))  # one batch ahead, and no more
    sizes = source.task.plan.sizes()
    assert rendered == [sum(sizes[n : n + 2]) for n in range(0, len(sizes), 2)]


@pytest.mark.parametrize(
    ("device", "resolution", "expected"),
    [("cpu", 32, 1), ("cuda", 32, 2**23 // (100 * 3 * 32 * 32)), ("cuda", 224, 1)],
)
def test_a_gpu_renders_as_many_batches_as_little_memory_holds(device, resolution, expected):
    plan = ViewPlan(0, 300, resolution, 100, 1, Augmentation())
    images = SimpleNamespace(channels=3, resolution=resolution)
    task: Any = SimpleNamespace(device=torch.device(device), plan=plan, images=images)
    assert student.at_once(task) == expected
