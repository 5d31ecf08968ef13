"""Statistics against brute force, on a network whose layers' inputs can be computed by hand."""

import pytest
import torch
from tiny import pictures
from torch import Tensor, nn

from benchmark.core.device import Compute
from benchmark.core.errors import UserError
from benchmark.data.images import ResidentImages
from benchmark.data.recipe import Augmentation
from benchmark.data.views import ViewPlan
from benchmark.models import networks
from benchmark.models.batch_norm import (
    class_statistics,
    global_statistics,
    group_statistics,
    layers,
    watch,
)
from benchmark.models.teachers import Teacher, real_views

CPU = Compute(torch.device("cpu"), bf16=False)
PLAN = ViewPlan(3, 47, 8, 10, 1, Augmentation((0.3, 1.0), mix="none"))
BATCH_NORM = (1, 4)  # where the network's batch-norm layers stand


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2),
        nn.BatchNorm2d(6),
        nn.Flatten(),
        nn.Linear(24, 10),
    )
    with torch.no_grad():
        network(torch.randn(64, 1, 8, 8) * 3 + 1)  # so that running statistics tell something
    return Teacher("small", network, (0.4,), (0.3,)).eval().requires_grad_(False)


def inputs(teacher: Teacher, pixels: Tensor) -> list[Tensor]:
    """What each batch-norm layer is given."""
    normalised = (pixels - 0.4) / 0.3
    return [teacher.network[:layer](normalised) for layer in BATCH_NORM]  # type: ignore[index]


def test_exact_statistics_are_those_of_all_views_of_a_class(teacher):
    images = pictures(47)
    found = class_statistics(teacher, images, PLAN, CPU)
    views = list(real_views(images, PLAN, 0, CPU.device))
    pixels, labels = torch.cat([p for p, _ in views]), torch.cat([y for _, y in views])
    for label in range(10):
        for layer, features in enumerate(inputs(teacher, pixels[labels == label])):
            mean, variance = found[layer]
            assert mean.dtype == torch.float32
            torch.testing.assert_close(mean[label], features.mean((0, 2, 3)))
            expected = features.var((0, 2, 3), correction=0)
            torch.testing.assert_close(variance[label], expected)


def test_moving_statistics_are_the_authors_average(teacher):
    images = pictures(47)
    found = class_statistics(teacher, images, PLAN, CPU, moving=True)
    means = [torch.zeros(10, 4), torch.zeros(10, 6)]
    variances = [torch.ones(10, 4), torch.ones(10, 6)]
    for pixels, labels in real_views(images, PLAN, 0, CPU.device):
        for layer, features in enumerate(inputs(teacher, pixels)):
            for label in labels.unique():
                own = features[labels == label]
                mean, variance = own.mean((0, 2, 3)), own.var((0, 2, 3), correction=0)
                means[layer][label] = 0.9 * means[layer][label] + 0.1 * mean
                variances[layer][label] = 0.9 * variances[layer][label] + 0.1 * variance
    for layer in range(2):
        torch.testing.assert_close(found[layer], (means[layer], variances[layer]))


def test_variances_of_large_means_do_not_cancel(teacher):
    shifted = Teacher("small", teacher.network, (-5000.0,), (0.3,)).eval()
    mean, variance = class_statistics(shifted, pictures(47), PLAN, CPU)[0]
    _, usual = class_statistics(teacher, pictures(47), PLAN, CPU)[0]
    assert mean.abs().min() > 1000
    torch.testing.assert_close(variance, usual, rtol=0.02, atol=0)


def test_groups_are_equal_parts_in_order():
    features = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0))
    mean, variance = group_statistics(features.bfloat16(), 2)
    for group, part in enumerate(features.bfloat16().float().chunk(2)):
        torch.testing.assert_close(mean[group], part.mean((0, 2, 3)))
        torch.testing.assert_close(variance[group], part.var((0, 2, 3), correction=0))


def test_layers_are_watched_only_for_a_while(teacher):
    pixels = torch.rand(4, 1, 8, 8)
    with watch(teacher, lambda features: (features, features)) as seen:
        teacher(pixels)
    for (found, _), expected in zip(seen, inputs(teacher, pixels), strict=True):
        assert torch.equal(found, expected), "a layer's input, not its output"
    before = [found for found, _ in seen]
    teacher(pixels + 1)
    assert all(found is old for (found, _), old in zip(seen, before, strict=True))


def test_global_statistics_are_the_layers_own(teacher):
    found = global_statistics(teacher)
    for (mean, variance), position in zip(found, BATCH_NORM, strict=True):
        layer = teacher.network[position]
        assert torch.equal(mean, layer.running_mean[None])
        assert torch.equal(variance, layer.running_var[None])


def test_networks_without_batch_norm_are_refused():
    convnet = networks.create("convnet-d2-w8", 10, 1, 8)
    for network in (convnet, Teacher("convnet-d2-w8", convnet, (0.4,), (0.3,))):
        with pytest.raises(UserError, match=r"a ConvNet, has no batch normalisation.* resnet18"):
            layers(network)
    with pytest.raises(UserError, match="no batch normalisation"):
        layers(nn.BatchNorm2d(3, track_running_stats=False))


def test_a_class_without_images_is_named(teacher):
    images = pictures(47)
    with_gap = ResidentImages(images.pixels, images.labels.clamp(max=7), images.class_names)
    with pytest.raises(UserError, match=r"no images of class 'eight' \(2 such classes"):
        class_statistics(teacher, with_gap, PLAN, CPU)
