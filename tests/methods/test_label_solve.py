"""Label solve, by hand, against least squares, and on real digits."""

import re
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import pictures, reloaded  # type: ignore[import-not-found]
from torch import nn

from benchmark.core.errors import UserError
from benchmark.data.images import ResidentImages
from benchmark.experiment.conformance import method_fit
from benchmark.labels import validation
from benchmark.labels.task import TaskShape
from benchmark.methods import label_solve
from benchmark.methods.label_solve import LabelSolve, RandomFeatures, damped, probabilities, solve
from benchmark.models import networks

NETWORK = "convnet-d2-w8"


def settled(task, **options):
    return LabelSolve.resolve_options(LabelSolve.Options(**options), task.shape, None)


def linear_case(images=6, real=40, features=9):
    """Kernels of random features, and targets, in float64."""
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(images, features, dtype=torch.float64, generator=generator)
    theirs = torch.randn(real, features, dtype=torch.float64, generator=generator)
    targets = F.one_hot(torch.arange(real) % 3, 3).double()
    return own @ own.T, theirs @ own.T, targets


def test_one_image_by_hand():
    # One image with K_ss = 2, and lambda = 0.5 x 2: predictions are K_ts Y / 3. Two real images
    # with K_ts = 1 of different classes are fitted best by 1/2 each, so Y = 3/2.
    system = damped(torch.tensor([[2.0]]).double(), 0.5)
    assert system.item() == 3
    k, wanted = torch.ones(2, 1).double(), torch.eye(2).double()
    found = solve(system, k.T @ k, k.T @ wanted, 0.0)
    assert found.allclose(torch.tensor([[1.5, 1.5]]).double(), atol=1e-12)
    # The normal equation's one entry is 2/9; a ridge of as much again halves the label.
    assert solve(system, k.T @ k, k.T @ wanted, 1.0).allclose(found / 2, atol=1e-12)


@pytest.mark.parametrize("strength", [1e-3, 0.1, 2.0])
def test_labels_are_those_of_least_squares(strength):
    support, to_real, wanted = linear_case()
    system = damped(support, strength)
    matrix = to_real @ torch.linalg.inv(system)
    found = solve(system, to_real.T @ to_real, to_real.T @ wanted, 0.0)
    assert found.allclose(torch.linalg.lstsq(matrix, wanted).solution, atol=1e-8)
    normal = matrix.T @ matrix
    heavy = normal + 0.3 * normal.diagonal().mean() * torch.eye(6)
    expected = torch.linalg.solve(heavy, matrix.T @ wanted)
    ridged = solve(system, to_real.T @ to_real, to_real.T @ wanted, 0.3)
    assert ridged.allclose(expected, atol=1e-8)


def test_without_a_ridge_the_predictor_does_not_depend_on_lambda():
    support, to_real, wanted = linear_case()
    said, labels = [], []
    for strength in (1e-3, 0.1, 2.0):
        system = damped(support, strength)
        labels.append(solve(system, to_real.T @ to_real, to_real.T @ wanted, 0.0))
        said.append(to_real @ torch.linalg.solve(system, labels[-1]))
    assert said[0].allclose(said[1], atol=1e-8)
    assert said[0].allclose(said[2], atol=1e-8)
    assert labels[2].abs().max() > 2 * labels[0].abs().max()


def test_probabilities():
    labels = torch.tensor([[0.5, 2.0, -1.0, 0.0], [-0.1, -3.0, 0.0, -0.2], [0.1, 0.2, 0.3, 0.4]])
    expected = [[1 / 3, 2 / 3, 0, 0], [0.25] * 4, [0.1, 0.2, 0.3, 0.4]]
    assert probabilities(labels).allclose(torch.tensor(expected))


def test_features_are_those_before_the_last_layer(task):
    features = RandomFeatures(task, NETWORK, 2)(task.images.pixels)
    torch.manual_seed(task.seed)
    shown = (task.images.pixels.float() / 255 - task.mean[0]) / task.std[0]
    kernel = 1
    for _ in range(2):
        network = networks.create(NETWORK, 10, 1, 8)
        unit = F.normalize(network.get_submodule("features")(shown).flatten(1).detach())
        kernel = kernel + unit @ unit.T / 2
    assert (features @ features.T).allclose(kernel, atol=1e-5)
    assert features.dtype == torch.float32
    assert not features.requires_grad


@pytest.mark.parametrize("network", ["resnet20", "deit-tiny"])
def test_features_of_other_networks(task, network):
    features = RandomFeatures(task, network, 1)(task.images.pixels[:4])
    assert features.square().sum(1).allclose(torch.full((4,), 2.0), atol=1e-5)


def test_a_network_without_a_linear_layer_is_refused(task, monkeypatch):
    monkeypatch.setattr(networks, "create", lambda *_: nn.Sequential(nn.Flatten()))
    with pytest.raises(UserError, match="convnet-d3 has no linear layer"):
        RandomFeatures(task, "convnet-d3", 1)


def test_streaming_gives_what_all_at_once_gives(task, monkeypatch):
    options = settled(task, network=NETWORK, draws=2, lambdas=(0.1,))
    whole = LabelSolve.fit(task, options)
    monkeypatch.setattr(label_solve, "BLOCK", 7)
    parts = LabelSolve.fit(task, options)
    assert parts.labels.allclose(whole.labels, atol=2e-3)
    _, train, _ = task.fitting()
    apart, rest = validation.held_out(task, 12)  # a fifth of 60
    assert whole.notes["held_out_images"] == len(apart) == 12
    features = RandomFeatures(task, NETWORK, 2)
    own = features(task.images.pixels).double()
    to_real = features(train.take(rest)).double() @ own.T
    system = damped(own @ own.T, 0.1)
    matrix = to_real @ torch.linalg.inv(system)
    normal = damped(matrix.T @ matrix, options.ridge)
    wanted = F.one_hot(train.labels[rest], 10).double()
    solved = torch.linalg.solve(normal, matrix.T @ wanted)
    assert whole.labels.allclose(probabilities(solved).float(), atol=2e-3)
    assert isinstance(apart, ResidentImages)
    to_apart = features(apart.pixels).double() @ own.T
    said = (to_apart @ torch.linalg.solve(system, solved)).argmax(1)
    right = (said == apart.labels).double().mean().item()
    assert whole.notes["held_out_accuracy_solved"] == [right]


def test_on_real_digits(tmp_path):
    task = replace(method_fit.tiny_task(tmp_path), scratch=tmp_path)
    source = LabelSolve.fit(task, settled(task))
    assert source.options.network == "convnet-d2-w128"
    notes = source.notes
    after = notes["held_out_accuracy_probabilities"]
    assert notes["lambdas"] == [1e-1, 1e-2, 1e-3, 1e-4]
    assert notes["lambda"] == notes["lambdas"][after.index(max(after))]
    assert max(after) > 0.8
    assert min(notes["held_out_accuracy_solved"]) > 0.8
    right = source.labels.argmax(1) == task.images.labels
    assert right.float().mean() > 0.8
    assert reloaded(source, tmp_path / "saved").labels.equal(source.labels)
    torch.manual_seed(5)  # nothing but the task's seed matters
    assert LabelSolve.fit(task, settled(task)).labels.equal(source.labels)
    other = LabelSolve.fit(replace(task, seed=1), settled(task))
    assert not other.labels.equal(source.labels)


def test_more_images_than_real_ones_can_tell_apart(task):
    # 48 real images leave the labels of 70 open; the ridge decides.
    many = replace(task, images=pictures(70), plan=replace(task.plan, images=70))
    source = LabelSolve.fit(many, settled(many, network=NETWORK, draws=1))
    assert source.labels.isfinite().all()


def test_settings_are_made_concrete():
    shape = TaskShape(classes=10, images=100, batches=4, epochs=1, resolution=32)
    found = LabelSolve.resolve_options(LabelSolve.Options(), shape, 10_000)
    assert (found.network, found.form) == ("convnet-d3-w128", "fp16")
    with pytest.raises(UserError, match="Unknown network 'nt'"):
        LabelSolve.resolve_options(LabelSolve.Options(network="nt"), shape, None)


@pytest.mark.parametrize(
    ("option", "value"),
    [("draws", 0), ("held_out", 0), ("lambdas", ()), ("lambdas", (0.0,)), ("ridge", -1.0)],
)
def test_options_that_cannot_be(option, value):
    with pytest.raises(ValueError, match=rf"{option}.* must .*{re.escape(str(value))}"):
        LabelSolve.Options(**{option: value})
