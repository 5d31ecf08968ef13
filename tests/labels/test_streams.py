import copy
from dataclasses import replace

import pytest
import torch
from tiny import NETWORK, recipe_of, reloaded, tiny_task
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmark.core.errors import UserError
from benchmark.data.recipe import Recipe
from benchmark.labels import streams, student
from benchmark.labels.stack import Stack, StackedBatchNorm
from benchmark.labels.streams import Learner
from benchmark.methods.hard import Hard
from benchmark.methods.soft import Soft
from benchmark.models import training

RECIPE = Recipe("test", 4, 8, lr=0.01)
SEEDS = (0, 1, 5)


@pytest.fixture
def source(tmp_path):
    task = tiny_task(tmp_path / "scratch")
    task = replace(task, plan=replace(task.plan, epochs=4))
    return reloaded(Soft.fit(task, Soft.Options()), tmp_path / "soft")


def learners(source, folder, seeds=SEEDS, network=NETWORK, dropout=0.0):
    made = []
    for seed in seeds:
        learner = student.build(network, source, seed)
        if dropout:
            learner.network = nn.Sequential(nn.Dropout(dropout), learner.network)
        label = f"soft, seed {seed}"
        made.append(Learner(learner, source.for_student(seed), label, folder / f"{seed}.pt"))
    return made


def state(learner):
    return {name: value.clone() for name, value in learner.student.state_dict().items()}


def alone(source, folder, **how):
    """Curves and states of students that are trained one by one."""
    found = []
    for seed in SEEDS:
        (learner,) = learners(source, folder, (seed,), **how)
        found.append((streams.train([learner], RECIPE).curves[0], state(learner)))
    return found


def same(found, expected):
    return found.keys() == expected.keys() and all(v.equal(expected[n]) for n, v in found.items())


def test_in_turn_each_learns_to_the_bit_what_it_would_alone(source, tmp_path):
    """Dropout too: each student has its own random numbers."""
    expected = alone(source, tmp_path, dropout=0.2)
    some = learners(source, tmp_path, dropout=0.2)
    made = streams.train(some, RECIPE)
    assert not made.stacks
    for learner, curve, (its_curve, its_state) in zip(some, made.curves, expected, strict=True):
        assert curve == its_curve
        assert same(state(learner), its_state)


def test_the_stream_is_made_once_for_all(source, tmp_path, monkeypatch):
    asked = []
    of_soft = Soft.targets
    monkeypatch.setattr(Soft, "targets", lambda *a: asked.append(a[3]) or of_soft(*a))
    streams.train(learners(source, tmp_path), RECIPE)
    assert len(asked) == source.task.plan.steps


def test_students_of_other_networks_share_the_stream(source, tmp_path):
    expected = alone(source, tmp_path)
    others = learners(source, tmp_path, (7,), network="convnet-d2-w4")
    some = [*learners(source, tmp_path), *others]
    streams.train(some, RECIPE)
    for learner, (_, its_state) in zip(some, expected, strict=False):
        assert same(state(learner), its_state)


def test_one_that_diverges_is_told_and_the_others_go_on(source, tmp_path):
    expected = alone(source, tmp_path)
    some = learners(source, tmp_path)
    with torch.no_grad():
        next(some[1].student.parameters()).fill_(float("nan"))
    made = streams.train(some, RECIPE)
    assert isinstance(made.curves[1], UserError)
    assert str(made.curves[1]).startswith("soft, seed 1: the loss is nan in epoch 1. A lower lr")
    for number in (0, 2):
        assert made.curves[number] == expected[number][0]
        assert same(state(some[number]), expected[number][1])


def test_one_that_raises_is_told_and_the_others_go_on(source, tmp_path, monkeypatch):
    expected = alone(source, tmp_path)
    some = learners(source, tmp_path)

    def fail(*_):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(some[0].student, "batch", fail)
    made = streams.train(some, RECIPE)
    assert isinstance(made.curves[0], torch.OutOfMemoryError)
    assert made.curves[1:] == [curve for curve, _ in expected[1:]]


class Stop(Exception):
    pass


def test_going_on_from_checkpoints_changes_no_bit(source, tmp_path, monkeypatch):
    """Also where one student has come farther than the others."""
    expected = alone(source, tmp_path, dropout=0.2)
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1)

    def stop_in(epoch):
        of_source = type(source).views

        def views(self, number):
            if number == epoch:
                raise Stop
            return of_source(self, number)

        return views

    for numbers, epoch in ((slice(0, 1), 3), (slice(0, 3), 2)):
        with monkeypatch.context() as patch:
            patch.setattr(type(source), "views", stop_in(epoch))
            with pytest.raises(Stop):
                streams.train(learners(source, tmp_path, SEEDS[numbers], dropout=0.2), RECIPE)
    some = learners(source, tmp_path, dropout=0.2)
    made = streams.train(some, RECIPE)
    for learner, curve, (its_curve, its_state) in zip(some, made.curves, expected, strict=True):
        assert curve == its_curve
        assert same(state(learner), its_state)


STACKED = ["convnet-d2-w4-bn", "convnet-d2-w4", "convnet-d2-w4-gn", "lenet", "resnet20"]


@pytest.mark.parametrize("network", STACKED)
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_stack_learns_what_its_members_would(source, tmp_path, network, optimiser):
    """To rounding, which AdamW makes larger; weight decay goes by the members' own shapes."""
    recipe = replace(RECIPE, optimiser=optimiser, weight_decay=0.1, lr=0.003)
    schedule = student.optimisation(recipe, source)
    some, stacked = (learners(source, tmp_path, network=network) for _ in range(2))
    expected = streams.train(some, recipe).curves
    found = streams.train_stacked(stacked, source, schedule).curves
    assert torch.tensor(found).allclose(torch.tensor(expected), rtol=2e-3)
    for learner, other in zip(some, stacked, strict=True):
        one, two = (
            torch.cat([v.flatten().double() for v in each.student.state_dict().values()])
            for each in (learner, other)
        )
        # AdamW moves single weights by its rate however small the gradient, so by rounding.
        assert (one - two).norm() < 1e-2 * one.norm()
        if optimiser == "sgd":
            torch.testing.assert_close(one, two, rtol=2e-2, atol=2e-3)


def test_a_stack_learns_what_its_members_would_by_rdeds_recipe(source, tmp_path):
    """Running statistics too, to rounding."""
    recipe = replace(recipe_of("rded"), epochs=3)
    schedule = student.optimisation(recipe, source)
    some, stacked = (learners(source, tmp_path, network="convnet-d3-w8-bn") for _ in range(2))
    expected = streams.train(some, recipe).curves
    found = streams.train_stacked(stacked, source, schedule).curves
    assert torch.tensor(found).allclose(torch.tensor(expected), rtol=1e-4)
    for learner, other in zip(some, stacked, strict=True):
        mine, its = (dict(each.student.named_buffers()) for each in (learner, other))
        running = [name for name in mine if "running" in name or "tracked" in name]
        assert len(running) == 9
        for name in running:
            torch.testing.assert_close(its[name], mine[name], rtol=1e-3, atol=1e-4)


@pytest.mark.skipif(not torch.backends.cudnn.is_available(), reason="built without cuDNN")
@pytest.mark.parametrize("network", ["convnet-d2-w4-bn", "resnet20"])
def test_a_stack_asks_no_memory_format(source, tmp_path, network, monkeypatch):
    """A GPU's batch norm asks for it, on the way to cuDNN, and `vmap` does not answer."""
    some = [each.student for each in learners(source, tmp_path, network=network)]
    views, pixels, _ = next(student.stream(source, 0))
    stack = Stack(some, source)
    with FakeTensorMode(allow_non_fake_inputs=True):
        stack.to("cuda").train()
        some[0].to("cuda")
        pixels = pixels.to("cuda").to(memory_format=torch.channels_last)
        assert stack.seen(pixels, views, 0).shape == (3, len(pixels), 10)
        monkeypatch.setattr(StackedBatchNorm, "forward", nn.BatchNorm2d.forward)
        with pytest.raises(RuntimeError, match="querying is_contiguous inside of vmap"):
            stack.seen(pixels, views, 0)


def test_a_member_that_diverges_is_told_and_the_others_go_on(source, tmp_path):
    schedule, some = student.optimisation(RECIPE, source), learners(source, tmp_path)
    with torch.no_grad():
        next(some[1].student.parameters()).fill_(float("nan"))
    first, second, third = streams.train_stacked(some, source, schedule).curves
    assert str(second).startswith("soft, seed 1: the loss is nan in epoch 1. A lower lr")
    expected = alone(source, tmp_path)
    assert first == pytest.approx(expected[0][0], rel=2e-3)
    assert third == pytest.approx(expected[2][0], rel=2e-3)


def test_a_stack_augments_each_member_by_its_own_seed(source, tmp_path):
    plan = replace(
        source.task.plan, augmentation=replace(source.task.plan.augmentation, dsa=("crop",))
    )
    source = Hard.fit(replace(source.task, plan=plan), Hard.Options())
    some = [each.student for each in learners(source, tmp_path)]
    views, pixels, _ = next(student.stream(source, 0))
    found = Stack(some, source).train().seen(pixels, views, 0)
    for logits, member in zip(found, some, strict=True):
        torch.testing.assert_close(logits, member.train().seen(pixels, views, 0))


def test_a_stack_goes_on_from_its_checkpoint(source, tmp_path, monkeypatch):
    schedule = student.optimisation(RECIPE, source)
    expected = streams.train_stacked(learners(source, tmp_path), source, schedule).curves
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1)
    of_stack = Stack.losses

    def stopped(self, epoch):
        if epoch == 2:
            raise Stop
        return of_stack(self, epoch)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "losses", stopped)
        with pytest.raises(Stop):
            streams.train_stacked(learners(source, tmp_path), source, schedule)
    assert len(list(tmp_path.glob("stack-*.pt"))) == 1
    found = streams.train_stacked(learners(source, tmp_path), source, schedule).curves
    assert found == expected
    assert not list(tmp_path.glob("stack-*.pt"))


def test_what_can_be_stacked(source, tmp_path):
    same_network = [each.student for each in learners(source, tmp_path)]
    assert Stack.possible(same_network, source)
    assert not Stack.possible(same_network[:1], source)
    other = learners(source, tmp_path, (0,), network="convnet-d2-w4")[0].student
    assert not Stack.possible([*same_network, other], source)


def test_a_trial_leaves_the_students_as_they_are(source, tmp_path):
    some = [each.student for each in learners(source, tmp_path)]
    before = copy.deepcopy([member.state_dict() for member in some])
    seconds, stacks = streams.trial(some, source, student.optimisation(RECIPE, source))
    assert {name: len(repeats) for name, repeats in seconds.items()} == {"in turn": 5, "stacked": 5}
    assert stacks == 1
    assert all(same(m.state_dict(), b) for m, b in zip(some, before, strict=True))


def test_a_network_that_cannot_be_stacked_is_trained_in_turn(source, tmp_path, capsys):
    class Asks(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x  # vmap cannot take both ways

    some = [each.student for each in learners(source, tmp_path)]
    for member in some:
        member.network = nn.Sequential(member.network, Asks())
    seconds, _ = streams.trial(some, source, student.optimisation(RECIPE, source))
    assert seconds.keys() == {"in turn"}
    assert (
        "the students are trained in turn: no stack of them can be had" in capsys.readouterr().err
    )


class Narrow(nn.Module):
    """Memory for so many views at once."""

    def __init__(self, most):
        super().__init__()
        self.most = most

    def forward(self, x):
        if len(x) > self.most:
            raise torch.OutOfMemoryError(f"{len(x)} views")
        return x


def test_a_student_that_memory_does_not_hold_sees_its_batches_in_parts(source, tmp_path):
    """The others see them whole; all learn what they would with more memory."""
    expected = streams.train(learners(source, tmp_path), RECIPE)
    some = learners(source, tmp_path)
    some[1].student.network = nn.Sequential(Narrow(3), some[1].student.network)
    made = streams.train(some, RECIPE)
    assert made.parts == [1, 4, 1]
    assert expected.parts == [1, 1, 1]
    for curve, its in zip(made.curves, expected.curves, strict=True):
        assert curve == pytest.approx(its, abs=1e-5)


def no_stack_above(monkeypatch, most):
    """Memory for stacks of so many members."""
    of_stack = Stack.loss

    def loss(self, *arguments):
        if len(self._students) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return of_stack(self, *arguments)

    monkeypatch.setattr(Stack, "loss", loss)


def test_a_stack_that_memory_does_not_hold_is_trained_as_smaller_ones(
    source, tmp_path, monkeypatch, capsys
):
    schedule, seeds = student.optimisation(RECIPE, source), (0, 1, 2, 3, 4)
    expected = streams.train_stacked(learners(source, tmp_path, seeds), source, schedule)
    no_stack_above(monkeypatch, 2)
    found = streams.train_stacked(learners(source, tmp_path, seeds), source, schedule)
    assert (expected.stacks, found.stacks) == (1, 3)  # of two, one and two
    assert torch.tensor(found.curves).allclose(torch.tensor(expected.curves), rtol=2e-3)
    assert found.parts == [1] * 5
    assert "memory holds no stack of 5 students" in capsys.readouterr().err
    assert not list(tmp_path.glob("stack-*.pt"))


def test_a_trial_finds_the_largest_stacks_that_memory_holds(source, tmp_path, monkeypatch):
    no_stack_above(monkeypatch, 2)
    some = [each.student for each in learners(source, tmp_path, (0, 1, 2, 3))]
    seconds, stacks = streams.trial(some, source, student.optimisation(RECIPE, source))
    assert (set(seconds), stacks) == ({"in turn", "stacked"}, 2)
    no_stack_above(monkeypatch, 0)
    seconds, _ = streams.trial(some, source, student.optimisation(RECIPE, source))
    assert set(seconds) == {"in turn"}
