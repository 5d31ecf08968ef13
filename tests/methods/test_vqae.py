"""VQAE by hand: what students are shown, what budgets buy, and the bytes it foretells."""

import re
from dataclasses import replace

import pytest
import torch
from tiny import reloaded, shipped, tiny_task  # type: ignore[import-not-found]

from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.recipe import Objective
from benchmark.data.rendering import render
from benchmark.labels.label_basis import centred
from benchmark.labels.packing import unpack
from benchmark.labels.task import TaskShape
from benchmark.labels.writer import TensorWriter
from benchmark.methods import vqae
from benchmark.methods.vqae import VQAE
from benchmark.methods.vqae import budget as budget_
from benchmark.methods.vqae.options import Options

SHAPE = TaskShape(classes=1000, images=10_000, batches=100, epochs=300, resolution=224)
QUICK = {"epochs": 1, "steps": 20, "hidden": 16}


def settled(shape, budget=None, **options):
    return VQAE.resolve_options(Options(**{**QUICK, **options}), shape, budget)


def fitted(task, **options):
    return VQAE.fit(task, settled(task.shape, **options))


def exact(task, views):
    return centred(task.teacher(render(task.images.pixels, views)).half())


@pytest.mark.parametrize("values", ["int8", "fp16"])
def test_what_is_loaded_is_what_was_fitted(task, tmp_path, values):
    source = fitted(task, values=values, entries=32)
    loaded = reloaded(source, tmp_path / "saved")
    pairs = zip(source.decoder.tensors(), loaded.decoder.tensors(), strict=True)
    assert all(a.equal(b) for a, b in pairs)
    assert loaded.codes[:].equal(source.codes[:])
    indices = unpack(loaded.codes, 5, 0, 80 * 2).view(80, 2)
    every = loaded.decoder.logits(indices)
    rows = [logits for _, logits in loaded.stored_labels()]
    torch.testing.assert_close(torch.cat(rows), every, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.cat([logits for _, logits in source.stored_labels()]), every)


def test_every_view_of_the_plan_has_its_label(task, tmp_path):
    """With more bits than labels have, they come back nearly as they were."""
    made = fitted(task, codes=6, entries=64, hidden=64, steps=300)
    source = reloaded(made, tmp_path / "saved")
    assert not source.seeded
    wrong = power = 0.0
    for epoch in range(4):
        for views, planned in zip(source.views(epoch), task.plan.epoch(epoch), strict=True):
            assert views.crop.equal(planned.crop)
            targets = source.targets(views, torch.empty(0), epoch)
            wrong += float((centred(targets) - exact(task, views)).square().sum())
            power += float(exact(task, views).square().sum())
    assert wrong < 0.1 * power
    assert source.storage().indices == 80 * 6 * 6 // 8
    assert made.notes["squared_error"] == pytest.approx(wrong / power, rel=1e-2)


def test_a_pool_of_fewer_batches_is_replayed(task, tmp_path):
    source = reloaded(fitted(task, batches=4), tmp_path / "saved", seed=5)
    assert source.seeded
    shown = [views for epoch in range(4) for views in source.views(epoch)]
    assert sorted(views.batch for views in shown) == sorted([*range(4)] * 3)
    labels = {views.batch: logits for views, logits in source.stored_labels()}
    assert [len(labels[batch]) for batch in range(4)] == [7, 7, 6, 7]
    for views in shown:
        planned = task.plan.batch(*divmod(views.batch, task.plan.batches))
        assert views.crop.equal(planned.crop)
        assert source.targets(views, torch.empty(0), 0).equal(labels[views.batch])


def test_labels_stay_on_disk_while_the_autoencoder_is_fitted(task, monkeypatch):
    """On the CPU, which a map of them serves as well as a copy."""
    maps, own, fit = [], TensorWriter.mapped, vqae.fit_autoencoder

    def mapped(writer):
        maps.append(own(writer))
        return maps[-1]

    def watched(labels, *rest):
        assert labels.data_ptr() == maps[-1].data_ptr()
        return fit(labels, *rest)

    monkeypatch.setattr(TensorWriter, "mapped", mapped)
    monkeypatch.setattr(vqae, "fit_autoencoder", watched)
    fitted(task)
    assert len(maps) == 1


def test_labels_that_fill_no_memory_are_the_same(task, tmp_path, monkeypatch):
    made = fitted(task)
    resident = reloaded(made, tmp_path / "resident")
    monkeypatch.setattr(vqae, "RESIDENT_BYTES", 0)
    other = reloaded(fitted(replace(task, scratch=tmp_path / "scratch")), tmp_path / "other")
    assert resident._table is not None
    assert other._table is None
    for (_, a), (_, b) in zip(resident.stored_labels(), other.stored_labels(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "weights", "indices"),
    [
        # Matrices of 4 x 16, 8 x 8 and 10 x 8 numbers, with 4, 8 and 10 scales; 8 and 10 biases.
        ({"hidden": 8, "entries": 16}, 208 + 2 * 22 + 2 * 18, 80 * 2 * 4 // 8),
        ({"hidden": 8, "entries": 16, "values": "fp16"}, 2 * (208 + 18), 80),
        # 3 x 2, 5 x 9 and 10 x 5; labels of three bits, of the first epoch and a batch of 7.
        (
            {"hidden": 5, "entries": 2, "codes": 3, "width": 3, "batches": 4},
            6 + 45 + 50 + 2 * 18 + 2 * 15,
            27 * 3 // 8 + 1,
        ),
    ],
)
def test_bytes_are_foretold(task, options, weights, indices):
    source = fitted(task, **options)
    ledger = source.storage()
    assert (ledger.weights, ledger.indices) == (weights, indices)
    assert ledger.values == ledger.views == 0
    assert VQAE.label_bytes(source.options, task.shape) == weights + indices


def least(task, **options):
    """The budget that a refusal names."""
    with pytest.raises(UserError, match="vqae cannot meet a budget of 200 bytes") as refused:
        settled(task.shape, 200, **options)
    found = re.search(r"least it can take is ([\d,]+), for one batch of 7 labels", str(refused))
    assert found is not None
    return int(found[1].replace(",", ""))


# The smallest network, of 16 entries and 8 hidden numbers, takes 288 bytes; 7 labels take 7.
@pytest.mark.parametrize(
    ("more", "kept"),
    [
        (0, (2, 16, 8, 1)),  # codes, entries, hidden, batches
        (6, (2, 16, 8, 1)),
        (7, (2, 16, 8, 2)),
        (72, (2, 16, 8, 11)),
        (73, (2, 16, 8, 12)),  # all 80 labels
        # Another code of each takes 40 bytes, and 4 x 8 more of the decoder.
        (73 + 71, (2, 16, 8, 12)),
        (73 + 72, (3, 16, 8, 12)),
    ],
)
def test_a_budget_takes_batches_then_codes(task, monkeypatch, more, kept):
    monkeypatch.setattr(budget_, "container_bytes", lambda *_: 250)  # whatever is chosen
    budget = least(task) + more
    options = settled(task.shape, budget)
    assert (options.codes, options.entries, options.hidden, options.batches) == kept
    assert VQAE.fit(task, options).storage().total <= budget


@pytest.mark.parametrize("values", ["int8", "fp16"])
def test_a_byte_less_than_the_least_is_refused(task, values):
    settled(task.shape, least(task, values=values), values=values)
    with pytest.raises(UserError, match=f"least it can take is {least(task, values=values):,},"):
        settled(task.shape, least(task, values=values) - 1, values=values)


@pytest.mark.parametrize("values", ["int8", "fp16"])
def test_the_network_takes_half_at_most_where_it_can(tmp_path, values):
    """And budgets hold where a container is longest: three channels, numbers of many digits."""
    task, number = tiny_task(tmp_path / "scratch", images=200), 0.12345678901234567
    wordy = replace(
        task,
        mean=(number,) * 3,
        std=(number,) * 3,
        plan=replace(task.plan, seed=2**40),
        objective=Objective(temperature=100 * number, label_scale=number, ce_weight=number),
    )
    for budget in (2500, 3000):
        options = settled(wordy.shape, budget, hidden=0, values=values, lr=number)
        source = VQAE.fit(wordy, options)
        ledger = source.storage()
        assert budget - 500 < ledger.total <= budget
        assert ledger.weights <= max((budget - ledger.container) / 2, 460)


def test_imagenet_by_sizes_alone():
    # The codebook and layers of 8 and 1,000 to 1,000, a scale a row; two bytes a label.
    options = VQAE.resolve_options(Options(), SHAPE, None)
    assert (options.hidden, options.batches) == (1000, 30_000)
    network = 4 * 256 + 8000 + 1000 * 1000 + 2 * 2004 + 2 * 2000
    assert VQAE.label_bytes(options, SHAPE) == network + 2 * 3_000_000
    assert VQAE.stored_views(options, SHAPE).batches == 30_000  # type: ignore[union-attr]
    assert VQAE.resolve_options(options, SHAPE, None) == options
    with pytest.raises(UserError, match=r"vqae\.batches is 30001, but there are 30000"):
        settled(SHAPE, batches=30_001)
    with pytest.raises(UserError, match="so many indices of 256 entries take more than the 1000"):
        settled(SHAPE, codes=2_001)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("codes", 0),
        ("width", 0),
        ("width", 257),
        ("epochs", 0),
        ("entries", 1),
        ("entries", 48),
        ("entries", 8192),
        ("hidden", -1),
        ("steps", -1),
        ("batches", -1),
        ("lr", 0.0),
    ],
)
def test_options_that_cannot_be(option, value):
    with pytest.raises(ValueError, match=f"{option}.* must"):
        Options(**{option: value})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"batches": 5}, r"indices are not uint8 \(68,\)"),
        ({"batches": 13}, "13 batches are stored where the plan has 12"),
        ({"batches": 0}, "0 batches are stored"),
        ({"codes": 3}, r"indices are not uint8 \(81,\)"),
        ({"entries": 128}, r"indices are not uint8 \(48,\)"),
        ({"hidden": 15}, "stored weights do not fit the network"),
        ({"values": "fp16"}, "stored weights do not fit the network"),
    ],
)
def test_damaged_labels_are_refused(task, tmp_path, changed, message):
    source = fitted(task, batches=4)
    (tmp_path / "saved").mkdir()
    source.options = replace(source.options, **changed)
    source.save(tmp_path / "saved")
    with pytest.raises(ArtefactError, match=message):
        VQAE.load(tmp_path / "saved", shipped(task))


def test_labels_without_indices_are_refused(task, tmp_path):
    source = fitted(task)
    _, *rest = source.tensors()
    source.tensors = lambda: rest
    (tmp_path / "saved").mkdir()
    source.save(tmp_path / "saved")
    with pytest.raises(ArtefactError, match=r"indices are not uint8 \(160,\)"):
        VQAE.load(tmp_path / "saved", shipped(task))
