from typing import get_args

import pytest
import torch
from tiny import reloaded  # type: ignore[import-not-found]

from benchmark.core.errors import UserError
from benchmark.core.options import build
from benchmark.labels.weights import WeightForm
from benchmark.methods.teacher import ShippedTeacher


@pytest.fixture
def sources(task, tmp_path):
    """The task's teacher, and the same as it arrives in each form."""
    # A unit whose weights are large, and one whose weights are all nil, need scales of their own.
    first = next(p for p in task.teacher.parameters() if p.ndim == 4)
    first[0] *= 50
    first[1] = 0

    def arrived(weights):
        source = ShippedTeacher.fit(task, ShippedTeacher.Options(weights))
        return reloaded(source, tmp_path / weights)

    return task.teacher, {weights: arrived(weights) for weights in get_args(WeightForm)}


def pairs(teacher, source):
    """Each weight before and after."""
    after = source.teacher.state_dict()
    return [(value, after[name]) for name, value in teacher.state_dict().items()]


def test_fp32_is_bit_equal(sources):
    teacher, arrived = sources
    assert all(a.equal(b) for a, b in pairs(teacher, arrived["fp32"]))
    pixels = torch.rand(5, 1, 8, 8)
    assert arrived["fp32"].targets(None, pixels, 0).equal(teacher(pixels))


def test_fp16_is_rounded_once(sources):
    teacher, arrived = sources
    assert all(a.half().float().equal(b) for a, b in pairs(teacher, arrived["fp16"]))


@pytest.mark.parametrize(("weights", "most"), [("int8", 127), ("int4", 7)])
def test_whole_numbers_are_off_by_at_most_half_a_step_of_their_channel(sources, weights, most):
    teacher, arrived = sources
    quantised = [(a, b) for a, b in pairs(teacher, arrived[weights]) if a.ndim > 1]
    assert len(quantised) == 3
    for before, after in quantised:
        step = before.flatten(1).abs().amax(1) / most
        error = (before - after).flatten(1).abs().amax(1)
        assert (error <= step * 0.5 * (1 + 2**-8)).all()
        assert error.max() > 0
    vectors = [(a, b) for a, b in pairs(teacher, arrived[weights]) if a.ndim == 1]
    assert all(a.half().float().equal(b) for a, b in vectors)


def test_bytes(sources):
    _, arrived = sources
    weights = {name: source.storage().weights for name, source in arrived.items()}
    counts = {name: source.storage().parameters for name, source in arrived.items()}
    assert counts["fp32"] == counts["fp16"] == arrived["fp32"].storage().weights // 4
    assert weights["fp16"] * 2 == weights["fp32"]
    matrices, channels = 8 * 9 + 64 * 9 + 32 * 10, 8 + 8 + 10
    vectors = counts["fp32"] - matrices
    assert weights["int8"] == matrices + 2 * channels + 2 * vectors
    assert weights["int4"] == matrices // 2 + 2 * channels + 2 * vectors


def test_all_tensors_share_a_few_headers(sources):
    _, arrived = sources
    assert all(len(list(source.tensors())) <= 3 for source in arrived.values())
    assert arrived["fp16"].storage().container < 1500


def test_the_network_is_named_for_the_throughput_floor(sources):
    _, arrived = sources
    assert arrived["fp32"].network is arrived["fp32"].teacher


def test_a_whole_network_meets_no_budget(task):
    with pytest.raises(UserError, match=r"teacher\[shrink=prune\] or teacher\[shrink=low-rank\]"):
        ShippedTeacher.resolve_options(ShippedTeacher.Options(), task.shape, 10_000)


def test_the_normalisation_travels_with_the_network(sources):
    teacher, arrived = sources
    assert (arrived["int8"].teacher.mean, arrived["int8"].teacher.std) == (
        teacher.mean,
        teacher.std,
    )


def test_unknown_formats():
    with pytest.raises(UserError, match=r"'fp8'.*Valid: fp16, fp32, int4, int8"):
        build(ShippedTeacher.Options, {"weights": "fp8"}, "teacher")
