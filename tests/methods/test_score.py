"""SCORE by hand: what students are shown, what budgets buy, and the bytes it foretells."""

import re
from dataclasses import replace

import pytest
import torch
from tiny import reloaded, shipped, tiny_task  # type: ignore[import-not-found]

from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.recipe import Objective
from benchmark.data.rendering import render
from benchmark.labels.label_basis import centred
from benchmark.labels.task import TaskShape
from benchmark.methods import score
from benchmark.methods.score import Options, Score

SHAPE = TaskShape(classes=1000, images=10_000, batches=100, epochs=300, resolution=224)


def settled(shape, budget=None, **options):
    return Score.resolve_options(Options(**options), shape, budget)


def fitted(task, **options):
    return Score.fit(task, settled(task.shape, **options))


def exact(task, views):
    return task.teacher(render(task.images.pixels, views)).half()


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_with_all_terms_every_view_has_its_label(task, tmp_path, loss):
    task = replace(task, objective=Objective(loss=loss))
    source = reloaded(fitted(task, rank=10, values="fp16"), tmp_path / "saved")
    assert (source.options.rank, source.options.sparsity) == (4, 0.0)  # of four views
    assert not source.seeded
    for epoch in range(4):
        for views, planned in zip(source.views(epoch), task.plan.epoch(epoch), strict=True):
            assert views.crop.equal(planned.crop)
            logits = exact(task, views)
            expected = centred(logits) if loss == "kl" else logits
            targets = source.targets(views, torch.empty(0), epoch)
            assert targets.allclose(expected.float(), atol=4e-3 * float(logits.abs().max()))
            assert logits.float().std() > 0.1  # or equality would say little


def test_a_pool_of_fewer_epochs_is_replayed(task, tmp_path):
    source = reloaded(fitted(task, epochs=2), tmp_path / "saved", seed=5)
    assert source.seeded
    assert source.pool.size == 2 * task.plan.batches
    shown = [views for epoch in range(4) for views in source.views(epoch)]
    assert sorted(views.batch for views in shown) == sorted([*range(6)] * 2)
    labels = {views.batch: logits for views, logits in source.stored_labels()}
    for views in shown:
        planned = task.plan.batch(*divmod(views.batch, task.plan.batches))
        assert views.crop.equal(planned.crop)
        assert source.targets(views, torch.empty(0), 0).equal(labels[views.batch])
        wrong = centred(labels[views.batch]) - centred(exact(task, views))
        assert wrong.square().sum() < 0.01 * centred(exact(task, views)).square().sum()


def test_labels_that_fill_no_memory_are_the_same(task, tmp_path, monkeypatch):
    made = fitted(task, rank=2, sparsity=0.1)
    resident = reloaded(made, tmp_path / "resident")
    monkeypatch.setattr(score, "RESIDENT_BYTES", 0)
    other = reloaded(made, tmp_path / "other")
    assert resident._table is not None
    assert other._table is None
    for (_, a), (_, b) in zip(resident.stored_labels(), other.stored_labels(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()))


def test_more_terms_and_more_entries_come_nearer(task):
    errors = [
        fitted(task, rank=rank, sparsity=sparsity).notes["squared_error"]
        for rank, sparsity in [(1, 0.0), (1, 0.2), (2, 0.0), (3, 0.0), (4, 0.0)]
    ]
    assert errors[0] > 1.3 * errors[1]
    assert errors[0] > errors[2] > errors[3] > errors[4] > 0
    source = fitted(task, rank=2)
    wrong = power = 0.0
    for views, logits in source.stored_labels():
        wrong += float((centred(logits) - centred(exact(task, views))).square().sum())
        power += float(centred(exact(task, views)).square().sum())
    assert source.notes["squared_error"] == pytest.approx(wrong / power, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "values", "indices"),
    [
        # Of 20 images, 4 views and 10 classes: factors 4 r + 10 r, int8 with 2 r of amplitudes.
        ({"rank": 3, "sparsity": 0.0}, 20 * (42 + 6), 0),
        ({"rank": 2, "sparsity": 0.1, "values": "fp16"}, 20 * 2 * (28 + 4), 20 * 4 * 6 // 8),
        ({"rank": 2, "sparsity": 0.1}, 20 * (28 + 4 + 4 + 2), 20 * 4 * 6 // 8),
        ({"rank": 1, "epochs": 3, "sparsity": 0.1}, 20 * (13 + 2 + 3 + 2), 20 * 3 * 5 // 8 + 1),
        ({"rank": 9, "sparsity": 0.5}, 20 * (56 + 8), 0),
    ],
)
def test_bytes_are_foretold(task, options, values, indices):
    source = fitted(task, **options)
    ledger = source.storage()
    assert (ledger.values, ledger.indices) == (values, indices)
    assert ledger.views == ledger.weights == 0
    assert Score.label_bytes(source.options, task.shape) == values + indices


def least(task, values):
    """The budget that a refusal names."""
    with pytest.raises(UserError, match="score cannot meet a budget of 200 bytes") as refused:
        settled(task.shape, 200, values=values)
    found = re.search(r"least it can take is ([\d,]+), for one label of each of 20", str(refused))
    assert found is not None
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize(
    ("values", "rank", "room", "kept"),
    [
        # An image's r terms of v views take (10 + v + 2) r bytes.
        ("int8", 4, 20 * 64, (4, 4, 0)),
        ("int8", 4, 20 * 64 - 1, (3, 3, 0)),
        ("int8", 4, 20 * 45 - 1, (2, 2, 0)),
        ("int8", 4, 20 * 13, (1, 1, 0)),
        ("int8", 1, 20 * 64, (4, 4, 0)),
        ("int8", 1, 20 * 64 - 1, (3, 4, 7)),
        ("int8", 1, 20 * 16, (1, 4, 0)),
        ("int8", 1, 20 * 16 - 1, (1, 3, 0)),
        # As fp16 (20 + 2 v) r, its s entries 2 s and 6 bits each.
        ("fp16", 1, 20 * 28 + 5 * 55, (1, 4, 5)),
        ("fp16", 1, 20 * 28 + 5 * 55 - 1, (1, 4, 4)),
        ("fp16", 1, 20 * 28, (1, 4, 0)),
        ("fp16", 1, 20 * 28 - 1, (1, 3, 0)),
    ],
)
def test_a_budget_takes_epochs_then_terms_then_entries(task, monkeypatch, values, rank, room, kept):
    monkeypatch.setattr(score, "container_bytes", lambda *_: 250)  # whatever is chosen
    budget = least(task, values) - 20 * (13 if values == "int8" else 22) + room
    options = settled(task.shape, budget, values=values, rank=rank)
    entries = round(options.sparsity * 10 * options.epochs)
    assert (options.rank, options.epochs, entries) == kept
    assert Score.fit(task, options).storage().total <= budget


@pytest.mark.parametrize("values", ["int8", "fp16"])
def test_a_byte_less_than_the_least_is_refused(task, values):
    settled(task.shape, least(task, values), values=values)
    with pytest.raises(UserError, match=f"least it can take is {least(task, values):,},"):
        settled(task.shape, least(task, values) - 1, values=values)


@pytest.mark.parametrize(("values", "budget"), [("int8", 6300), ("fp16", 10_000)])
def test_budgets_hold_where_numbers_are_long(tmp_path, values, budget):
    """A container is longest with three channels, and numbers of many digits."""
    task, number = tiny_task(tmp_path / "scratch", images=200), 0.12345678901234567
    wordy = replace(
        task,
        mean=(number,) * 3,
        std=(number,) * 3,
        plan=replace(task.plan, seed=2**40),
        objective=Objective(temperature=100 * number, label_scale=number, ce_weight=number),
    )
    source = Score.fit(wordy, settled(wordy.shape, budget, values=values, rank=1))
    assert source.storage().total <= budget
    assert (source.options.rank, source.options.epochs) == (1, 4)
    assert len([*source.tensors()]) == (6 if values == "int8" else 4)


def test_a_share_of_half_of_an_odd_number_of_entries():
    odd = TaskShape(classes=3, images=500, batches=1, epochs=5, resolution=8)
    assert settled(odd, 10**5, sparsity=0.5).rank == 3
    options = settled(odd, 14_200, rank=1, sparsity=0.5)
    assert (options.rank, options.sparsity) == (1, 7 / 15)


def test_imagenet_by_sizes_alone():
    # An image: 4 x 1,300 and 8; 3,000 entries and 2, their places in 300,000 of 19 bits.
    options = settled(SHAPE)
    assert Score.label_bytes(options, SHAPE) == 10_000 * (5208 + 3002 + 7125)
    assert Score.stored_views(options, SHAPE).batches == 30_000  # type: ignore[union-attr]
    long = replace(SHAPE, epochs=40_000)
    with pytest.raises(UserError, match="40000 views of 1000 classes have 40,000,000"):
        settled(long)
    with pytest.raises(UserError, match=r"score\.epochs is 301, but there are 300"):
        settled(SHAPE, epochs=301)
    assert settled(SHAPE, rank=400).rank == 300
    assert Score.resolve_options(options, SHAPE, None) == options


@pytest.mark.parametrize(
    ("option", "value"), [("rank", 0), ("epochs", -1), ("sparsity", 0.6), ("sparsity", -0.1)]
)
def test_options_that_cannot_be(option, value):
    with pytest.raises(ValueError, match=f"{option}.* must be|epochs not negative"):
        Options(**{option: value})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": 3}, r"left are not torch.int8 \(20, 3, 2\)"),
        ({"epochs": 5}, "5 epochs are stored where the plan has 4"),
        ({"epochs": 0}, "0 epochs are stored"),
        ({"rank": 5}, "rank of 5 with a sparsity of 0.05 is more than matrices of 4 views and 10"),
        ({"sparsity": 0.0}, "The labels hold"),
        ({"values": "fp16"}, "The labels hold"),
    ],
)
def test_damaged_labels_are_refused(task, tmp_path, changed, message):
    source = fitted(task, rank=2, sparsity=0.05)
    (tmp_path / "saved").mkdir()
    tensors = [*source.tensors()]
    source.options = replace(source.options, **changed)
    source.tensors = lambda: tensors
    source.save(tmp_path / "saved")
    with pytest.raises(ArtefactError, match=message):
        Score.load(tmp_path / "saved", shipped(task))
