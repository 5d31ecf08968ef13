from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from tiny import NETWORK  # type: ignore[import-not-found]
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmark.core.errors import UserError
from benchmark.labels.label_learning.batched_network import BatchedNetwork
from benchmark.labels.label_learning.learner import soft_cross_entropy
from benchmark.labels.label_learning.resets import Resets, steps_worth
from benchmark.labels.label_learning.ridge import SCALE_RATE, SHARE, Ridge
from benchmark.labels.label_learning.second_order import (
    SecondOrder,
    derivative,
    require_differentiable,
)
from benchmark.labels.label_learning.table import LabelTable
from benchmark.models import networks

CIFAR_MEAN = torch.tensor([125.3, 123.0, 113.9], dtype=torch.float64).view(3, 1, 1) / 255
CIFAR_STD = torch.tensor([63.0, 62.1, 66.7], dtype=torch.float64).view(3, 1, 1) / 255


# The authors' code, three steps in float64.


@pytest.mark.parametrize("method", ["or2", "rr"])
@pytest.mark.parametrize("members", [0, 2])
def test_three_steps_are_those_of_the_authors_code(golden, method, members):
    there = golden(f"label_distillation_{method}")

    def each(values, dim=0):
        """The same for every member."""
        return torch.stack([values] * members, dim) if members else values

    def shown(pixels):
        whole = torch.from_numpy(pixels).double().movedim(-1, -3) / 255
        return (whole - CIFAR_MEAN) / CIFAR_STD

    def agrees(found, name):
        expected = torch.from_numpy(np.asarray(there[name]))
        least = 1e-18 if name.startswith("meta_grad") else 1e-13  # gradients are about 1e-6
        for one in found if members else [found]:
            whole = one.reshape(expected.shape)
            torch.testing.assert_close(whole, expected, rtol=1e-10, atol=least)

    def weights(step):
        start = f"theta{step}."
        names = [name for name in there.files if name.startswith(start)]
        return {name.removeprefix(start): torch.from_numpy(there[name]) for name in names}

    network = networks.create("lenet", 10, 3, 32).double()
    learned = BatchedNetwork([network] * members) if members else network
    learner: Any
    if method == "or2":
        learner = SecondOrder(learned, 0.01, 1, "adam", 1e-3)
    else:
        learner = Ridge(learned, networks.headless(learned, 10), 10, 1.0, "adam", 1e-3)
    network = learned.network if isinstance(learned, BatchedNetwork) else learned
    network.load_state_dict({name: each(value) for name, value in weights(0).items()})
    table = LabelTable(each(torch.from_numpy(there["labels0"])), "adam", 1e-3)
    base, real = shown(there["base_images"]), shown(there["outer_images"])
    for step in range(3):
        rows = torch.from_numpy(there["inner_idx"][step : step + 1])
        taken = table.values[..., rows, :].movedim(-3, 0)
        inner = learner.inner(each(base[rows], 1), taken)
        outer = learner.outer(inner, real[step], torch.from_numpy(there["outer_labels"][step]))
        gradient = torch.zeros_like(table.values).index_add_(-2, rows[0], outer.gradient[0])
        table.move(rows, outer.gradient.movedim(0, -3))
        loss = learner.move(inner, table.values[..., rows, :].movedim(-3, 0))
        agrees(gradient, f"meta_grad.{step}")
        agrees(table.values, f"labels.{step}")
        agrees(outer.loss, f"outer_loss.{step}")
        agrees(loss, f"inner_or_feat_loss.{step}")
        if isinstance(learner, Ridge):
            agrees(learner.weights, f"w.{step}")
            agrees(learner.scale.detach(), f"scale.{step}")
    for name in weights(3):
        agrees(network.get_parameter(name).detach(), f"theta3.{name}")


# Gradients against plain autograd.


def inputs(batches, network=NETWORK, classes=4):
    """A network in float64, `batches` of 6 labelled images, and 9 real ones."""
    torch.manual_seed(3)
    made = networks.create(network, classes, 1, 8).double()
    images = torch.rand(batches, 6, 1, 8, 8, dtype=torch.float64)
    labels = torch.rand(batches, 6, classes, dtype=torch.float64).softmax(2)
    real = torch.rand(9, 1, 8, 8, dtype=torch.float64)
    return made, images, labels, real, torch.arange(9) % classes


@pytest.mark.parametrize("name", [NETWORK, "lenet", "resnet20", "deit-tiny"])
@pytest.mark.parametrize("steps", [1, 3])
def test_second_order_gradients_are_those_of_double_backward(name, steps):
    with sdpa_kernel(SDPBackend.MATH):  # the only attention that autograd differentiates twice
        compare_with_double_backward(name, steps)


def compare_with_double_backward(name, steps):
    network, images, labels, real, truth = inputs(steps, name)
    learner = SecondOrder(network, 0.5, steps, "adam", 1e-3)
    outer = learner.outer(learner.inner(images, labels), real, truth)

    labels = labels.requires_grad_()
    weights: dict[str, torch.Tensor] = dict(network.named_parameters())
    buffers = {n: b.clone() for n, b in network.named_buffers()}
    for batch, soft in zip(images, labels, strict=True):
        inner = soft_cross_entropy(functional_call(network, (weights, buffers), (batch,)), soft)
        slopes = torch.autograd.grad(inner, list(weights.values()), create_graph=True)
        weights = {n: w - 0.5 * s for (n, w), s in zip(weights.items(), slopes, strict=True)}
    logits = functional_call(network, (weights, buffers), (real,))
    loss = F.cross_entropy(logits, truth)
    (expected,) = torch.autograd.grad(loss, labels)
    torch.testing.assert_close(outer.loss, loss.detach(), rtol=1e-10, atol=0)
    assert expected.abs().max() > 1e-6
    torch.testing.assert_close(outer.gradient, expected, rtol=1e-8, atol=1e-12)
    assert outer.error == (logits.argmax(1) != truth).double().mean()


def test_ridge_gradients_are_those_of_autograd():
    network, images, labels, real, truth = inputs(1)
    learner = Ridge(network, networks.headless(network, 4), 4, 0.3, "adam", 1e-3)
    learner.weights = before = torch.rand_like(learner.weights)
    with torch.no_grad():
        learner.scale.fill_(1.7)
    inner = learner.inner(images, labels)
    outer = learner.outer(inner, real, truth)

    features, asked = (F.pad(network(x).detach(), (0, 1), value=1.0) for x in (images[0], real))
    labels = labels.requires_grad_()
    gram = features @ features.T + 0.3 * torch.eye(6, dtype=torch.float64)
    solution = features.T @ torch.linalg.inv(gram) @ labels[0]
    weights = (1 - SHARE) * before + SHARE * solution
    loss = F.cross_entropy(1.7 * asked @ weights, truth)
    (expected,) = torch.autograd.grad(loss, labels)
    torch.testing.assert_close(outer.loss, loss.detach())
    torch.testing.assert_close(outer.gradient, expected, rtol=1e-8, atol=1e-14)
    torch.testing.assert_close(learner.weights, weights.detach())
    torch.testing.assert_close(learner.predict(real), asked @ weights)
    # Adam's first step is as long as its rate.
    learner.move(inner, labels.detach())
    assert abs(1.7 - learner.scale.item()) == pytest.approx(SCALE_RATE)


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_the_network_itself_takes_a_plain_step_on_the_first_batch(kind):
    network, images, labels, real, truth = inputs(2)
    learner = SecondOrder(network, 0.5, 2, kind, 1e-2)
    inner = learner.inner(images, labels)
    learner.outer(inner, real, truth)
    twin = inputs(2)[0]
    optimiser = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[kind](twin.parameters(), 1e-2)
    loss = soft_cross_entropy(twin(images[0]), labels[0])
    loss.backward()
    optimiser.step()
    assert learner.move(inner, labels) == loss
    for found, expected in zip(network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_real_images_leave_running_statistics_alone():
    learner: Any
    for ridge in (False, True):
        network, images, labels, real, truth = inputs(1, "resnet20")
        if ridge:
            learner = Ridge(network, networks.headless(network, 4), 4, 1.0, "adam", 1e-3)
        else:
            learner = SecondOrder(network, 0.1, 1, "adam", 1e-3)
        inner = learner.inner(images, labels)
        before = {name: buffer.clone() for name, buffer in network.named_buffers()}
        learner.outer(inner, real, truth)
        learner.move(inner, labels)
        assert all(before[name].equal(buffer) for name, buffer in network.named_buffers())
        assert before["bn1.num_batches_tracked"] == 1
        assert 0 <= learner.mistakes([(real, truth)]) <= 1
        assert network.training


def test_networks_that_cannot_be_learned_with_are_refused():
    images = torch.rand(2, 1, 8, 8)
    for name in (NETWORK, "lenet", "alexnet", "resnet20"):
        require_differentiable(networks.create(name, 4, 1, 8), name, images)
    dropping = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 4))
    with pytest.raises(UserError, match="some answers differently when asked again"):
        require_differentiable(dropping, "some", images)
    opaque = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), Opaque())
    with pytest.raises(UserError, match=r"cannot differentiate some forward .* or by ridge"):
        require_differentiable(opaque, "some", images)


def test_what_no_weight_moves_has_a_derivative_of_zero():
    at, along = {"w": torch.tensor([2.0, 3.0])}, {"w": torch.tensor([1.0, 10.0])}
    moved, unmoved = derivative(lambda w: (w["w"] ** 2, torch.ones(3)), at, along)
    assert moved.tolist() == [4, 60]
    assert unmoved.tolist() == [0, 0, 0]


class Doubled(torch.autograd.Function):
    """Without a forward derivative."""

    @staticmethod
    def forward(ctx, values):
        return 2 * values

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class Opaque(nn.Module):
    def forward(self, values):
        return Doubled.apply(values)


# Labels.


def test_labels_stay_probabilities_and_a_row_of_zeros_is_undone():
    start = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.1, 0.9]])
    table = LabelTable(start, "sgd", 1.0)
    gradient = torch.tensor([[[2.0, 1.0], [0.25, -3.0]]])  # of rows 0 and 1
    table.move(torch.tensor([[0, 1]]), gradient)
    torch.testing.assert_close(table.values, torch.tensor([[0.5, 0.5], [0.2, 0.8], [0.1, 0.9]]))


def test_rows_without_a_gradient_move_by_momentum():
    table = LabelTable(torch.full((2, 2), 0.5), "adam", 1e-2)
    table.move(torch.tensor([[0]]), torch.tensor([[[1.0, -1.0]]]))
    moved = table.values.clone()
    assert moved[1].tolist() == [0.5, 0.5]
    table.move(torch.tensor([[1]]), torch.tensor([[[0.0, 0.0]]]))
    assert table.values[0, 0] < moved[0, 0]


def test_gradients_of_a_row_that_comes_twice_add_up():
    table = LabelTable(torch.full((2, 2), 0.5), "sgd", 0.1)
    table.move(torch.tensor([[0], [0]]), torch.tensor([[[1.0, 0.0]], [[1.0, 0.0]]]))
    torch.testing.assert_close(table.values[0], torch.tensor([0.3, 0.5]) / 0.8)


# Resets.


def ends(window, errors):
    """(steps taken so far, length) of each run that ended."""
    resets = Resets(window)
    found = [(i, resets.add(error)) for i, error in enumerate(errors, 1)]
    return [(i, length) for i, length in found if length is not None]


def test_a_run_ends_when_its_sum_has_not_fallen_for_a_window():
    # Sums over 2: 5 (step 2), 4 (step 3, the lowest), 4, 4; the third step after it is the end.
    assert ends(2, [3, 2, 2, 2, 2, 2]) == [(6, 3)]
    assert ends(2, [3, 2, 2, 2, 2, 2] * 2) == [(6, 3), (12, 3)]
    assert ends(2, [3, 2, 2, 2, 2, 1, 1, 9, 9, 9]) == [(10, 7)]
    assert ends(1, [1, 1, 1]) == [(3, 1)]
    assert ends(50, [1.0] * 101) == [(101, 50)] == ends(50, [0.1] * 101)
    assert ends(3, range(100, 0, -1)) == []


@given(st.lists(st.integers(0, 5), max_size=80), st.integers(1, 6))
def test_no_run_ends_before_it_can(errors, window):
    resets, left = Resets(window), None
    for error in errors:
        left = resets.safe if left is None else left
        left -= 1
        length = resets.add(error)
        assert length is None or left == 0
        left = None if left == 0 else left


def test_steps_worth_taking():
    assert steps_worth([], 17) == 17
    assert steps_worth([], 0) == 1
    assert steps_worth([10], 99) == 10
    assert steps_worth([1000, 10, 11, 11], 99) == 10
