import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import reloaded  # type: ignore[import-not-found]

from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.options import build
from benchmark.methods.teacher import MARGIN, ShippedTeacher, sparse, tuning
from benchmark.methods.teacher.shrink import LowRank, Pruning, largest_share, layout, matrices, rank
from benchmark.models import networks
from benchmark.models.teachers import Teacher

Options = ShippedTeacher.Options
FORMS = ["fp32", "fp16", "int8", "int4"]
PLACES = st.lists(st.integers(0, 20_000), unique=True, max_size=40).map(sorted)


@pytest.fixture
def large(task):
    """The task with a teacher of 42,112 weights, of which some count more than others."""
    network = networks.create("convnet-d3-w48", 10, 1, 8)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) ** 3)
    teacher = Teacher("convnet-d3-w48", network, (0.4,), (0.3,)).eval().requires_grad_(False)
    return replace(task, teacher=teacher)


def pruned(tensors, form) -> tuple[dict[str, Any], sparse.Gaps]:
    """What is shipped of pruned tensors, by name, and how to read it."""
    tensors, gaps = sparse.encode(tensors, form)
    return {blob.name: blob.tensor for blob in tensors}, gaps


def weights(source):
    """The weights that can be shrunk, as the network runs them."""
    state = source.teacher.network.state_dict()
    return {name: state[name] for name in matrices(source.teacher.network)}


@given(PLACES, st.sampled_from(sparse.WIDTHS))
def test_gaps_lead_to_the_kept_places(kept, bits):
    kept = torch.tensor(kept, dtype=torch.int64)
    skipped = sparse.gaps(kept, bits)
    found = sparse.places(skipped)
    assert skipped.numel() == 0 or 0 <= skipped.min() <= skipped.max() < 2**bits
    assert torch.isin(kept, found).all()
    assert found.equal(found.unique())
    bridges = (skipped == 2**bits - 1)[~torch.isin(found, kept)]
    assert bridges.all()


@pytest.mark.parametrize("form", FORMS)
@given(places=st.lists(st.integers(0, 5_999), unique=True, max_size=60))
def test_pruned_tensors_arrive(form, places):
    row = torch.zeros(6_000)
    row[places] = torch.linspace(1, 2, len(places))
    tensors = [row[:3_000].view(30, 100), row[3_000:].view(10, 3, 100)]
    shipped, gaps = pruned(tensors, form)
    found = sparse.decode(shipped, form, [tensor.shape for tensor in tensors], gaps)
    for before, after in zip(tensors, found, strict=True):
        assert before.shape == after.shape
        assert torch.equal(before != 0, after != 0)
        assert torch.allclose(before, after, atol={"int4": 0.15, "int8": 0.01}.get(form, 1e-3))


def test_the_first_and_the_last_place():
    skipped = sparse.gaps(torch.tensor([0, 9]), 2)
    assert skipped.tolist() == [0, 3, 3, 0]
    assert sparse.places(skipped).tolist() == [0, 4, 8, 9]


def test_the_width_of_gaps_is_the_cheapest():
    assert sparse.fewest_bits(torch.arange(100), 16) == 1
    assert sparse.fewest_bits(torch.arange(0, 10_000, 60), 16) == 6
    assert sparse.fewest_bits(torch.tensor([]).long(), 16) == 1


def test_places_beyond_the_network_are_refused():
    shipped, gaps = pruned([torch.ones(3, 4)], "fp16")
    with pytest.raises(ArtefactError, match="Place 11 is beyond"):
        sparse.decode(shipped, "fp16", [torch.Size((2, 4))], gaps)
    with pytest.raises(ArtefactError, match="places of 99 weights"):
        sparse.decode(shipped, "fp16", [torch.Size((3, 4))], replace(gaps, entries=99))


def test_pruning_keeps_the_largest_over_all_layers():
    layers = {"a": torch.tensor([[1.0, -9.0], [2.0, 3.0]]), "b": torch.tensor([[-8.0, 0.5]])}
    found = Pruning(layers).at(0.5)
    assert found["a"].tolist() == [[0, -9], [0, 3]]
    assert found["b"].tolist() == [[-8, 0]]
    assert sum(int((w != 0).sum()) for w in Pruning(layers).at(1e-9).values()) == 1


def test_ranks():
    assert rank(torch.Size((48, 48, 3, 3)), 0.5) == int(0.5 * 48 * 432 / 480)
    assert rank(torch.Size((48, 48, 3, 3)), 1e-9) == 1
    assert rank(torch.Size((48, 48, 3, 3)), 1.0) == 0
    assert rank(torch.Size((2, 2)), 0.9) == 0


def test_factors_are_the_best_of_their_rank():
    torch.manual_seed(0)
    weight = torch.randn(12, 2, 20)
    state = LowRank({"w": weight, "small": torch.ones(2, 2)}).at(0.6)
    r = rank(weight.shape, 0.6)
    assert {n: v.shape for n, v in state.items()} == layout(
        {"w": weight.shape, "small": torch.Size((2, 2))}, 0.6
    )
    error = (state["w:0"] @ state["w:1"] - weight.flatten(1)).square().sum()
    rest = torch.linalg.svdvals(weight.flatten(1))[r:].square().sum()
    assert torch.allclose(error, rest, rtol=1e-4)


def test_the_largest_share_that_fits():
    def size(share):
        return round(1000 * share)

    assert largest_share(size, 1000) == 1
    assert largest_share(size, 400) == pytest.approx(0.4005, abs=2**-16)
    assert largest_share(lambda share: 5, 4) == 0


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shrink", ["prune", "low-rank"])
def test_a_shrunk_network_arrives_within_its_bytes(large, tmp_path, shrink, form):
    most = 16_000
    fitted = ShippedTeacher.fit(large, Options(form, shrink, most))
    source = reloaded(fitted, tmp_path / "artefact")
    total = source.storage().total
    assert total <= most - MARGIN
    assert total >= 0.85 * most
    assert source.share == fitted.share == fitted.notes["share"] < 1
    pixels = torch.rand(5, 1, 8, 8)
    if form == "fp32":
        assert source.targets(None, pixels, 0).equal(fitted.targets(None, pixels, 0))
    for before, after in zip(weights(fitted).values(), weights(source).values(), strict=True):
        if form == "fp32":
            assert before.equal(after)
        if shrink == "prune":
            assert not after[before == 0].any()
    (tmp_path / "again").mkdir()
    source.save(tmp_path / "again")
    assert source.storage().total <= total


def test_pruning_ships_places_as_indices(large):
    source = ShippedTeacher.fit(large, Options("fp16", "prune", 16_000))
    ledger = source.storage()
    gaps = source.manifest()["gaps"]
    assert ledger.indices == -(-gaps["entries"] * gaps["bits"] // 8)
    vectors = sum(v.numel() for v in source.state.values() if v.ndim < 2)
    assert ledger.weights == 2 * (gaps["entries"] + vectors)
    assert ledger.container < 1600


def test_a_network_that_fits_is_shipped_whole(large, tmp_path):
    for shrink in ("prune", "low-rank"):
        fitted = ShippedTeacher.fit(large, Options("fp32", shrink, 300_000, epochs=3))
        source = reloaded(fitted, tmp_path / shrink)
        pixels = torch.rand(5, 1, 8, 8)
        assert source.targets(None, pixels, 0).equal(large.teacher(pixels))


@pytest.mark.parametrize("shrink", ["prune", "low-rank"])
def test_too_few_bytes(large, shrink):
    with pytest.raises(UserError, match=r"convnet-d3-w48 in 900 bytes: .* ([\d,]+)\.") as refused:
        ShippedTeacher.fit(large, Options("int8", shrink, 900))
    least = int(str(refused.value).split()[-1].strip(".").replace(",", ""))
    source = ShippedTeacher.fit(large, Options("int8", shrink, least + 40))
    assert source.storage().total <= least + 40 - MARGIN


def test_shrinking_leaves_the_teacher_alone_and_is_shared(large, monkeypatch):
    before = {name: value.clone() for name, value in large.teacher.state_dict().items()}
    first = ShippedTeacher.fit(large, Options("fp16", "prune", 16_000, epochs=1))
    monkeypatch.setattr(tuning, "distill", None)
    other = replace(large, plan=replace(large.plan, seed=5))
    second = ShippedTeacher.fit(other, Options("fp16", "prune", 16_000, epochs=1))
    assert all(a.equal(second.state[name]) for name, a in first.state.items())
    assert all(value.equal(before[name]) for name, value in large.teacher.state_dict().items())


@pytest.mark.parametrize("shrink", ["prune", "low-rank"])
def test_tuning_keeps_the_form(large, tmp_path, shrink):
    plain, tuned = [
        ShippedTeacher.fit(large, Options("fp32", shrink, 20_000, epochs=epochs))
        for epochs in (0, 3)
    ]
    assert tuned.share == plain.share < 1
    assert tuned.storage().total <= 20_000 - MARGIN
    changed = [name for name, value in plain.state.items() if not value.equal(tuned.state[name])]
    assert len(changed) >= len(plain.state) - 1
    if shrink == "prune":
        for before, after in zip(weights(plain).values(), weights(tuned).values(), strict=True):
            assert not after[before == 0].any()
    assert tuned.notes["agreement"]
    json.dumps(tuned.notes)
    source = reloaded(tuned, tmp_path / "artefact")
    for before, after in zip(weights(tuned).values(), weights(source).values(), strict=True):
        assert before.equal(after)


def test_tuning_teaches_the_whole_teachers_logits(large, monkeypatch):
    seen = {}

    def pretended(task, network, teachers, fit, label, checkpoint):
        seen.update(network=network.train(), teachers=teachers, fit=fit)
        assert checkpoint.parent.is_dir()
        return {"agreement": [0.5]}

    monkeypatch.setattr(tuning, "distill", pretended)
    options = Options("fp16", "prune", 8_000, epochs=7, batch_size=5, lr=0.5)
    source = ShippedTeacher.fit(large, options)
    assert source.notes == {"share": source.share, "agreement": [0.5]}
    assert seen["teachers"] == [large.teacher]
    assert (seen["fit"].epochs, seen["fit"].batch_size, seen["fit"].lr) == (7, 5, 0.5)
    assert not any(module.training for module in seen["network"].modules())
    assert all(parameter.requires_grad for parameter in seen["network"].parameters())


@pytest.mark.parametrize("shrink", ["prune", "low-rank"])
def test_batch_norms_keep_their_statistics(task, tmp_path, shrink):
    network = networks.create("resnet20", 10, 1, 8)
    teacher = Teacher("resnet20", network, (0.4,), (0.3,)).eval().requires_grad_(False)
    task = replace(task, teacher=teacher)
    fitted = ShippedTeacher.fit(task, Options("int8", shrink, 60_000, epochs=1))
    assert fitted.share < 1
    for name, value in teacher.network.state_dict().items():
        if "running" in name:
            assert value.equal(fitted.state[name])
    assert torch.isfinite(
        reloaded(fitted, tmp_path / "a").targets(None, torch.rand(2, 1, 8, 8), 0)
    ).all()


def test_a_budget_sets_the_bytes(task):
    def settled(options, budget):
        return ShippedTeacher.resolve_options(options, task.shape, budget).bytes

    assert settled(Options(shrink="prune"), 5_000) == 5_000
    assert settled(Options(shrink="low-rank", bytes=4_000), 5_000) == 4_000
    assert settled(Options(shrink="prune", bytes=6_000), 5_000) == 5_000
    assert settled(Options(shrink="prune", bytes=6_000), None) == 6_000
    with pytest.raises(UserError, match=r"needs a size .* teacher\[shrink=prune,bytes=N\]"):
        settled(Options(shrink="prune"), None)


@pytest.mark.parametrize(
    "values",
    [{"bytes": 5}, {"epochs": 1}, {"lr": 0}, {"batch_size": 0}, {"bytes": -1}, {"epochs": -1}],
)
def test_options_that_make_no_sense(values):
    with pytest.raises(UserError, match=r"teacher: (bytes and epochs)"):
        build(Options, values, "teacher")
