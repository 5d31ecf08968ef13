from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import NETWORK, pictures, recipe_of, reloaded, tiny_task  # type: ignore[import-not-found]

from benchmark.data.rendering import render
from benchmark.data.views import ViewPlan
from benchmark.experiment import ridge_student
from benchmark.labels import student
from benchmark.methods.hard import Hard
from benchmark.methods.soft import Soft
from benchmark.models import networks, ridge, training
from benchmark.models.classifier import correct
from benchmark.models.training import Optimisation

RECIPE = replace(recipe_of("ld-ridge"), batch_size=10, steps=0, epochs=30)


@pytest.fixture
def task(tmp_path):
    plan = ViewPlan(0, 20, 8, 10, 30, RECIPE.augmentation)
    return replace(tiny_task(tmp_path / "scratch"), plan=plan, objective=RECIPE.objective)


def batch(source):
    """The first views with their pixels and targets."""
    views = next(source.views(0))
    pixels = render(source.task.images.pixels, views)
    return pixels, source.targets(views, pixels, 0), views


def test_two_steps_are_those_of_the_paper_in_float64(task, tmp_path):
    source = reloaded(Soft.fit(task, Soft.Options()), tmp_path / "soft")
    learner = ridge_student.build("lenet", source, seed=3).train()
    pixels, targets, views = batch(source)
    assert source.space == "logits"
    labels = targets.double().softmax(1)  # at the recipe's temperature, 1

    torch.manual_seed(3)
    twin = networks.create("lenet", 10, 1, 8)
    width = networks.headless(twin, 10)
    twin = twin.double().train()
    average = torch.zeros(width + 1, 10, dtype=torch.float64)
    scale = torch.ones(1, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([{"params": twin.parameters()}, {"params": [scale], "lr": 1e-2}], 1e-3)
    optimiser, rates = student.optimisation(RECIPE, source).build(learner)
    for _ in range(2):
        features = F.pad(twin((pixels.double() - 0.4) / 0.3), (0, 1), value=1.0)
        gram = features @ features.T + torch.eye(len(pixels), dtype=torch.float64)
        solution = features.T @ torch.linalg.inv(gram) @ labels
        weights = 0.99 * average + 0.01 * solution
        expected = -(labels * (features @ (scale * weights)).log_softmax(1)).sum(1).mean()
        average = weights.detach()
        adam.zero_grad()
        expected.backward()

        loss = learner.batch(source, pixels, targets, views, 0).whole()
        optimiser.zero_grad()
        loss.backward()
        torch.testing.assert_close(loss.detach().double(), expected.detach())
        torch.testing.assert_close(learner.last.double(), average, rtol=1e-4, atol=1e-6)
        for found, there in zip(learner.network.parameters(), twin.parameters(), strict=True):
            assert found.grad is not None
            assert there.grad is not None
            largest = there.grad.abs().max().item()
            torch.testing.assert_close(
                found.grad.double(), there.grad, rtol=1e-3, atol=1e-4 * largest
            )
        adam.step()
        optimiser.step()
        rates.step()
        found = 1 + ridge_student.SCALE_SHARE * learner.scale_offset.detach()
        torch.testing.assert_close(found.double(), scale.detach())
    assert abs(scale.item() - 1) == pytest.approx(0.02, rel=0.05)

    learner.eval()
    twin.eval()
    seen = F.pad(twin((pixels.double() - 0.4) / 0.3), (0, 1), value=1.0) @ average
    torch.testing.assert_close(learner(pixels).double(), seen, rtol=1e-2, atol=1e-4)


def test_features_start_where_the_network_students_do(task):
    source = Hard.fit(task, Hard.Options())
    plain = dict(student.build(NETWORK, source, seed=4).named_parameters())
    ridge = dict(ridge_student.build(NETWORK, source, seed=4).named_parameters())
    assert ridge.pop("scale_offset").item() == 0
    assert ridge.keys() < plain.keys()
    assert all(value.equal(plain[name]) for name, value in ridge.items())


def brightness(count, seed):
    """Pictures of ten classes, each a brightness with noise."""
    images = pictures(count, seed)
    shade = 22 * images.labels.view(-1, 1, 1, 1).to(torch.uint8)
    images.pixels.copy_(images.pixels // 8 + shade)
    return images


def test_it_learns_what_can_be_told_apart(task, tmp_path):
    images = brightness(20, seed=1)
    plan = replace(task.plan, epochs=150)
    made = Hard.fit(replace(task, images=images, plan=plan), Hard.Options())
    source = reloaded(made, tmp_path / "hard")
    learner = ridge_student.build("lenet", source, seed=0)
    recipe = replace(RECIPE, epochs=150)
    curve = student.train(learner, source, recipe, tmp_path / "c.pt", "test")
    assert curve[-1] < 0.8 * curve[0]
    assert correct(learner, brightness(60, seed=9), task.compute).double().mean() > 0.6


@pytest.mark.parametrize("stop", [1, 7, 29])
def test_going_on_from_a_checkpoint_changes_no_bit(task, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1)
    source = reloaded(Hard.fit(task, Hard.Options()), tmp_path / "hard")

    def train(name, recipe):
        learner = ridge_student.build(NETWORK, source, seed=0)
        curve = student.train(learner, source, recipe, tmp_path / name, "test")
        return curve, learner.state_dict()

    curve, whole = train("whole.pt", RECIPE)
    train("cut.pt", replace(RECIPE, epochs=stop))  # the rate is constant: a first part
    again, resumed = train("cut.pt", RECIPE)
    assert again == curve
    assert {"last", "scale_offset"} < whole.keys() == resumed.keys()
    assert all(value.equal(resumed[name]) for name, value in whole.items())
    assert whole["last"].any()


def test_the_schedule_is_constant(task):
    found = student.optimisation(RECIPE, Hard.fit(task, Hard.Options()))
    assert found == Optimisation(30, 2, lr=1e-3, weight_decay=0.0, schedule="constant")


def test_a_ridge_beside_large_features_is_not_lost():
    torch.manual_seed(0)
    features = 1e4 * torch.rand(40, 20)  # 40 rows of rank 20: without the ridge, singular
    labels = torch.rand(40, 4).softmax(1)
    found, _ = ridge.solve(features, labels, 1.0)
    exact = features.double()
    inverse = torch.linalg.inv(exact.T @ exact + torch.eye(20, dtype=torch.float64))
    expected = inverse @ exact.T @ labels.double()  # the same in its other form
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-9)
