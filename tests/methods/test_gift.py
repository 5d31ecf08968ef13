"""GIFT by hand: refined labels, the cosine, and the pool where not all labels are stored."""

from dataclasses import replace

import pytest
import torch
from tiny import reloaded, shipped  # type: ignore[import-not-found]

from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.rendering import render
from benchmark.methods.gift import GIFT, refined


def settled(shape, budget=None, **options):
    return GIFT.resolve_options(GIFT.Options(**options), shape, budget)


def fitted(task, **options):
    return GIFT.fit(task, settled(task.shape, **options))


def test_refined_labels_by_hand():
    soft, hard = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]])
    # Smoothed by 0.2: (0.8, 0.2), of length sqrt(0.68). A quarter of it, the rest of (3, 4) / 5.
    length = 0.68**0.5
    expected = [[0.25 * 0.8 / length + 0.45, 0.25 * 0.2 / length + 0.6]]
    assert refined(soft, hard, 0.25, 0.2).allclose(torch.tensor(expected), atol=1e-6)
    assert refined(soft, hard, 0.0, 0.2).allclose(torch.tensor([[0.6, 0.8]]))
    assert refined(100 * soft, hard, 0.25, 0.2).allclose(torch.tensor(expected), atol=1e-6)
    # Among three classes, 0.2 is shared by two; a mix is that of the smoothed labels.
    mixed = refined(torch.zeros(1, 3), torch.tensor([[0.5, 0.5, 0.0]]), 1.0, 0.2)
    assert (mixed / mixed[0, 2]).allclose(torch.tensor([[4.5, 4.5, 1.0]]), atol=1e-5)


def test_their_code_takes_another_share_of_the_same_two():
    generator = torch.Generator().manual_seed(0)
    soft, hard = torch.randn(4, 10, generator=generator), torch.eye(10)[:4]
    theirs = refined(soft, hard, 0.0, 0.1) + 0.1 * refined(soft, hard, 1.0, 0.1)
    ours = refined(soft, hard, 0.1 / 1.1, 0.1)
    assert torch.cosine_similarity(theirs, ours, dim=1).allclose(torch.ones(4), atol=1e-6)


def test_the_loss_is_the_mean_cosines_distance_from_1(task):
    source = fitted(task, weight=1.0, smoothing=0.0, batches=1)
    images = task.images.labels.tolist().index
    views = replace(
        task.plan.batch(0, 0),
        index=torch.tensor([images(0), images(1)]),
        partner=torch.tensor([0, 1]),
        mix_box=torch.zeros(2, 4),
        mix_opacity=torch.zeros(2),
    )
    logits = torch.zeros(2, 10)
    logits[0, 0], logits[0, 5] = 30, 40  # cosine with class 0: 0.6
    logits[1, 1] = 7  # cosine with class 1: 1
    loss = source.loss(logits, torch.randn(2, 10), views, 0)
    assert loss.item() == pytest.approx(1 - 0.8, abs=1e-6)


def test_all_labels_are_replayed_in_order(task, tmp_path):
    source = reloaded(fitted(task), tmp_path / "saved")
    assert not source.seeded
    for epoch in range(4):
        for number, views in enumerate(source.views(epoch)):
            planned = task.plan.batch(epoch, number)
            assert views.crop.equal(planned.crop)
            pixels = render(task.images.pixels, views)
            targets = source.targets(views, pixels, epoch)
            assert targets.equal(task.teacher(pixels).half().float())
    assert targets.std() > 0.1


def test_few_labels_are_drawn_by_the_students_seed(task, tmp_path):
    source = reloaded(fitted(task, batches=5), tmp_path / "saved", seed=1)
    assert source.seeded
    shown = [views.batch for epoch in range(5) for views in source.views(epoch)]
    assert sorted(shown) == sorted(list(range(5)) * 3)
    assert shown != [v.batch for e in range(5) for v in source.for_student(2).views(e)]
    for views, logits in source.stored_labels():
        pixels = render(task.images.pixels, views)
        assert source.targets(views, pixels, 0).equal(logits)
        assert logits.equal(task.teacher(pixels).half().float())


def test_bytes_are_foretold(task):
    for options in ({}, {"keep": 0.5}, {"batches": 4}):
        chosen = settled(task.shape, **options)
        ledger = GIFT.fit(task, chosen).storage()
        assert ledger.values == GIFT.label_bytes(chosen, task.shape)
        assert ledger.indices == ledger.views == ledger.weights == 0
    assert GIFT.label_bytes(settled(task.shape), task.shape) == task.shape.soft_bytes
    assert GIFT.label_bytes(chosen, task.shape) == 27 * 10 * 2


@pytest.mark.parametrize("budget", [400, 600, 1100, 9999])
def test_a_budget_is_met_and_used(task, budget):
    options = settled(task.shape, budget)
    source = GIFT.fit(task, options)
    assert source.storage().total <= budget
    more = GIFT.label_bytes(replace(options, batches=options.batches + 1), task.shape)
    assert options.batches == task.plan.steps or more + source.storage().container + 40 > budget


def test_what_cannot_be(task, tmp_path):
    for option, value in [("weight", 1.1), ("smoothing", -0.1), ("keep", 0.0), ("batches", -1)]:
        with pytest.raises(ValueError, match=option):
            GIFT.Options(**{option: value})
    with pytest.raises(UserError, match=r"gift\.batches is 13, but there are 12"):
        settled(task.shape, batches=13)
    with pytest.raises(UserError, match="gift cannot meet a budget of 300 bytes"):
        settled(task.shape, 300)
    source = fitted(task, batches=4)
    source.options = replace(source.options, batches=13)
    (tmp_path / "saved").mkdir()
    source.save(tmp_path / "saved")
    with pytest.raises(ArtefactError, match="13 batches are stored where the plan has 12"):
        GIFT.load(tmp_path / "saved", shipped(task))
