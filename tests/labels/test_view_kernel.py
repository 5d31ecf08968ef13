import pytest
import torch
import torch.nn.functional as F

from benchmark.data.recipe import Augmentation
from benchmark.data.rendering import render
from benchmark.data.views import ViewPlan
from benchmark.labels.view_function import ViewBasis, ViewFunction
from benchmark.labels.view_kernel import LOOKS, Seen, ViewKernel, solve


def kernel_of(resolution=8, channels=3, images=6):
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (images, channels, resolution, resolution), dtype=torch.uint8)
    augmentation = Augmentation(crop_scale=(0.5, 1.0))
    plan = ViewPlan(0, images, resolution, 3, 50, augmentation)
    function = ViewFunction(ViewBasis.of(augmentation), torch.arange(images) % 3, 3)
    return ViewKernel(pixels, plan, function), plan, function


@pytest.mark.parametrize(("resolution", "channels"), [(8, 1), (32, 3), (64, 3)])
def test_a_view_is_most_like_itself(resolution, channels):
    kernel, plan, function = kernel_of(resolution, channels)
    batches = [plan.batch(e, b) for e in range(4) for b in range(plan.batches)]
    seen = Seen.joined([kernel.views(views) for views in batches])
    found = seen.kernel(seen)
    torch.testing.assert_close(found, found.T)
    assert torch.linalg.eigvalsh(found).min() > -1e-8
    design = function.design(batches)
    dense = torch.zeros(len(found), design.size, dtype=torch.float64)
    dense.scatter_(1, design.columns, design.values)
    looks = found - dense @ dense.T
    torch.testing.assert_close(looks.diagonal(), torch.full((24,), LOOKS, dtype=torch.float64))
    others = looks[~torch.eye(24, dtype=torch.bool)]
    assert 0 <= others.min() < others.max() < LOOKS
    assert others.std() > 1e-3  # or pixels would say nothing


def test_labels_of_pixels_are_told_better_than_by_geometry_alone():
    """The label is how much the left half of the view brightens to the right."""
    torch.manual_seed(0)
    smooth = F.interpolate(torch.rand(6, 3, 4, 4), size=16, mode="bicubic").clamp(0, 1)
    plan = ViewPlan(0, 6, 16, 3, 50, Augmentation(crop_scale=(0.3, 1.0)))
    function = ViewFunction(ViewBasis.of(plan.augmentation), torch.arange(6) % 3, 3)
    images = (smooth * 255).to(torch.uint8)
    kernel = ViewKernel(images, plan, function)
    batches = [plan.batch(e, b) for e in range(50) for b in range(plan.batches)]
    pixels = torch.cat([render(images, views) for views in batches])
    labels = pixels[:, :, :, :8].diff(dim=3).relu().mean((1, 2, 3)).double()[:, None]
    labels = (labels - labels.mean()) / labels.std()
    seen = Seen.joined([kernel.views(views) for views in batches])
    known = Seen(seen.geometry[:240], seen.features[:240])
    rest = Seen(seen.geometry[240:], seen.features[240:])

    def wrong(of):
        found = of(rest, known) @ solve(of(known, known), labels[:240], 0.03)
        return float((found - labels[240:]).square().mean())

    geometry = wrong(lambda a, b: torch.from_numpy((a.geometry @ b.geometry.T).toarray()))
    assert wrong(Seen.kernel) < 0.8 * geometry


def test_weights_give_the_labels_back_but_for_the_noise():
    torch.manual_seed(0)
    rows = torch.randn(20, 40, dtype=torch.float64)
    labels = torch.randn(20, 2, dtype=torch.float64)
    weights = solve(rows @ rows.T, labels, 0.5)
    torch.testing.assert_close(rows @ rows.T @ weights + 0.5 * weights, labels)
