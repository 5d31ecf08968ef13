"""HALD by hand: its phases, its targets, its loss, and the bytes it foretells."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import reloaded, shipped  # type: ignore[import-not-found]

from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.recipe import Objective
from benchmark.data.rendering import render
from benchmark.labels.task import TaskShape
from benchmark.methods.hald import HALD, Phases

SHAPE = TaskShape(classes=1000, images=10_000, batches=100, epochs=300, resolution=224)


def settled(shape, budget=None, **options):
    return HALD.resolve_options(HALD.Options(**options), shape, budget)


def fitted(task, **options):
    return HALD.fit(task, settled(task.shape, **options))


@pytest.mark.parametrize(
    ("share", "epochs", "phases"),
    [
        (0.5, 300, (75, 150, 75)),
        (1.0, 4, (2, 0, 2)),
        (0.5, 5, (1, 3, 1)),
        (0.6, 5, (1, 2, 2)),
        (0.01, 3, (0, 2, 1)),
        (0.5, 1, (0, 0, 1)),
    ],
)
def test_phases(share, epochs, phases):
    found = Phases.of(share, epochs)
    assert (found.before, found.hard, found.after) == phases
    places = [found.place(epoch) for epoch in range(epochs)]
    soft = [(p, e) for p, count in ((0, phases[0]), (1, phases[2])) for e in range(count)]
    assert [place for place in places if place is not None] == soft
    assert places[phases[0] : phases[0] + phases[1]] == [None] * phases[1]


def test_soft_epochs_replay_the_teachers_probabilities_of_the_pool(task, tmp_path):
    source = reloaded(fitted(task, batches=4), tmp_path / "saved")
    seen = set()
    for epoch in (0, 3):  # of four, the first and the last are soft
        for views in source.views(epoch):
            pixels = render(task.images.pixels, views)
            expected = (task.teacher(pixels) / 20).softmax(1)
            assert source.targets(views, pixels, epoch).allclose(expected, atol=2e-4)
            seen.add(views.batch)
    assert seen == set(range(4))
    assert expected.std() > 0.01  # or equality would say little


def test_hard_epochs_show_fresh_views_with_smoothed_classes(task):
    source = fitted(task, batches=4, smoothing=0.8)
    (views, *_), planned = source.views(1), task.plan.batch(1, 0)
    assert views.crop.equal(planned.crop)
    targets = source.targets(views, torch.empty(0), 1)
    own, other = task.images.labels[views.index], task.images.labels[views.index[views.partner]]
    weight = views.mix_weight
    for row, (a, b, w) in enumerate(zip(own, other, weight, strict=True)):
        expected = torch.full((10,), 0.08)
        expected[a] += 0.2 * w
        expected[b] += 0.2 * (1 - w)
        assert targets[row].allclose(expected, atol=1e-6)


def test_the_loss_by_hand(task):
    views = task.plan.batch(0, 0)
    one = replace(views, index=views.index[:1])
    logits = torch.tensor([[20 * math.log(3.0), 0.0]])
    targets = torch.tensor([[0.5, 0.5]])
    # At T = 20 the student says (3/4, 1/4): KL is 1/2 log(2/3) + 1/2 log 2 = 1/2 log(4/3).
    soft = 0.5 * math.log(4 / 3)
    source = fitted(task, batches=1)
    assert source.loss(logits, targets, one, 0).item() == pytest.approx(soft, rel=1e-5)
    # In the hard phase it is compared at T = 1.
    hard = F.kl_div(logits.log_softmax(1), targets, reduction="batchmean").item()
    assert hard > 5
    assert source.loss(logits, targets, one, 1).item() == pytest.approx(hard, rel=1e-5)
    rescaled = replace(task, objective=Objective(rescale=True))
    source = HALD(rescaled, source.options, source.soft)
    assert source.loss(logits, targets, one, 0).item() == pytest.approx(400 * soft, rel=1e-5)
    assert source.loss(logits, targets, one, 1).item() == pytest.approx(hard, rel=1e-5)


def test_a_recipes_cross_entropy_is_added_in_soft_epochs(task):
    weighted = replace(task, objective=Objective(ce_weight=0.5))
    plain, other = (
        HALD(t, settled(task.shape, batches=1), torch.empty(0)) for t in (task, weighted)
    )
    views = task.plan.batch(0, 0)
    logits = torch.randn(len(views), 10, generator=torch.Generator().manual_seed(0))
    targets = torch.full((len(views), 10), 0.1)
    gap = F.cross_entropy(logits, task.hard_labels(views)).item() / 2
    for epoch, more in ((0, gap), (1, 0.0)):
        found = [source.loss(logits, targets, views, epoch).item() for source in (other, plain)]
        assert found[0] - found[1] == pytest.approx(more, abs=1e-5)


def test_the_scale_of_labels_is_in_what_is_stored(task):
    scaled = replace(task, objective=Objective(label_scale=0.5, temperature=2.0))
    source = fitted(scaled, batches=1)
    views, logits = next(source.stored_labels())
    exact = task.teacher(render(task.images.pixels, views))
    assert source.soft[0:7].float().allclose((exact / 4).softmax(1), atol=1e-3)
    gap = (logits - logits.mean(1, keepdim=True)) - (exact - exact.mean(1, keepdim=True))
    assert gap.abs().max() < 0.02 * exact.abs().max()


def test_bytes_are_foretold_and_the_papers_are_met(task):
    options = settled(task.shape, slc=4)
    assert (options.batches, options.slc) == (6, 4.0)  # 40 labels of 20 images in three batches
    ledger = HALD.fit(task, options).storage()
    assert ledger.values == HALD.label_bytes(options, task.shape) == 40 * 10 * 2
    assert ledger.indices == ledger.views == ledger.weights == 0
    paper = settled(SHAPE, slc=150)
    assert (paper.batches, HALD.label_bytes(paper, SHAPE)) == (1500, 300_000_000)
    assert HALD.stored_views(paper, SHAPE).batches == 1500  # type: ignore[union-attr]


@pytest.mark.parametrize("budget", [400, 600, 1100, 9999])
def test_a_budget_is_met_and_used(task, budget):
    options = settled(task.shape, budget)
    source = HALD.fit(task, options)
    assert source.storage().total <= budget
    most = 2 * task.plan.batches  # two of four epochs are soft
    more = HALD.label_bytes(replace(options, batches=options.batches + 1), task.shape)
    assert options.batches == most or more + source.storage().container + 40 > budget


def test_no_more_is_stored_than_is_shown(task):
    assert settled(task.shape, slc=1e9).batches == settled(task.shape, 10**6).batches == 6
    assert settled(task.shape, slc=1e-3).batches == 1
    with pytest.raises(UserError, match=r"hald\.batches is 7, but the soft epochs show 6"):
        settled(task.shape, batches=7)
    with pytest.raises(UserError, match="hald cannot meet a budget of 300 bytes"):
        settled(task.shape, 300)
    options = settled(task.shape, slc=3)
    assert HALD.resolve_options(options, task.shape, None) == options


@pytest.mark.parametrize(
    ("option", "value"),
    [("slc", 0.0), ("batches", -1), ("soft", 0.0), ("soft", 1.1), ("smoothing", 1.0)],
)
def test_options_that_cannot_be(option, value):
    with pytest.raises(ValueError, match=option):
        HALD.Options(**{option: value})


def test_labels_of_another_pool_are_refused(task, tmp_path):
    source = fitted(task, batches=4)
    source.options = replace(source.options, batches=5)
    folder = tmp_path / "saved"
    folder.mkdir()
    source.save(folder)
    with pytest.raises(ArtefactError, match="soft are not float16"):
        HALD.load(folder, shipped(task))
