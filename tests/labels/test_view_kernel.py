import pytest
import torch
import torch.nn.functional as F

from benchmark.data.recipe import Augmentation
from benchmark.data.rendering import render
from benchmark.data.views import ViewPlan
from benchmark.labels import view_kernel
from benchmark.labels.view_function import ViewBasis, ViewFunction
from benchmark.labels.view_kernel import LOOKS, Regression, Seen, ViewKernel


@pytest.fixture(autouse=True)
def few_views(monkeypatch):
    """By which features are centred and turned; a thousand take seconds."""
    monkeypatch.setattr(view_kernel, "VIEWS", 200)


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
        regression = Regression(0.03)
        regression.learn(known, torch.empty(240, 0).double(), of(known, known), labels[:240])
        found = regression.of(of(rest, known))
        return float((found - labels[240:]).square().mean())

    geometry = wrong(lambda a, b: torch.from_numpy((a.geometry @ b.geometry.T).toarray()))
    assert wrong(Seen.kernel) < 0.8 * geometry


def test_a_regression_that_grew_is_the_one_fitted_at_once():
    """Its weights w solve (K + noise) w = labels."""
    kernel, _, _ = kernel_of()
    seen = [kernel.planned(number) for number in range(7)]
    labels = torch.randn(21, 2, dtype=torch.float64)
    grown = Regression(0.5)
    for first, last in ((0, 1), (1, 4), (4, 7)):
        new = Seen.joined(seen[first:last])
        lower = new.kernel(new).tril()
        grown.learn(new, grown.rows(new), lower, labels[3 * first : 3 * last])
    whole = Seen.joined(seen)
    expected = torch.linalg.solve(whole.kernel(whole) + 0.5 * torch.eye(21).double(), labels)
    assert len(grown) == 21
    rows = grown.rows(kernel.planned(9))
    torch.testing.assert_close(grown.of(rows), kernel.planned(9).kernel(whole) @ expected)


def test_the_plans_batches_are_seen_as_others_are_and_remembered(monkeypatch):
    kernel, plan, _ = kernel_of()
    for number in (0, 5, 70):
        views = plan.batch(*divmod(number, plan.batches))
        assert kernel.planned(number).features.equal(kernel.views(views).features)
        assert kernel.planned(number) is kernel.planned(number)
    monkeypatch.setattr(view_kernel, "KEPT", 0)
    assert kernel.planned(400) is not kernel.planned(400)


def test_answers_are_pooled_as_torch_pools_them():
    kernel, plan, _ = kernel_of(32, 3)
    views = plan.batch(3, 1)
    pixels = (render(kernel._pixels, views) - kernel._mean) / kernel._std
    answers = F.conv2d(pixels, kernel._filters, stride=2)
    heard = torch.cat([F.relu(answers - 0.5), F.relu(-answers - 0.5)], 1)
    expected = F.avg_pool2d(heard, heard.shape[-1] // 4).flatten(1)
    torch.testing.assert_close(kernel._answers(views), expected, rtol=1e-6, atol=1e-6)


def test_what_is_usual_is_learned_from_few_of_many(monkeypatch):
    monkeypatch.setattr(view_kernel, "VIEWS", 7)
    monkeypatch.setattr(view_kernel, "SAMPLED", 2 * 3 * 8 * 8 + 1)  # of two images
    kernel, plan, _ = kernel_of(images=60)
    assert sorted(kernel._kept) == [0, 1, 2]  # of three views each
    images = torch.arange(60)[:, None, None, None].expand(60, 3, 8, 8)
    assert view_kernel._sampled(images)[:, 0, 0, 0].tolist() == [0, 30]
    seen = kernel.views(plan.batch(1, 0))
    assert (seen.kernel(seen).diagonal() > LOOKS).all()
