from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from benchmark.core.errors import ArtefactError
from benchmark.labels.weights import FLOATS, LARGEST, decode, encode

NUMBERS = st.floats(-(2.0**14), 2.0**14, width=32, allow_subnormal=False)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
ARRAYS = SHAPES.flatmap(lambda shape: arrays.arrays("float32", shape, elements=NUMBERS))
TENSORS = st.lists(ARRAYS.map(lambda array: torch.from_numpy(array)), max_size=5)


def shipped(tensors, form) -> dict[str, Any]:
    """What is shipped of the tensors, by name."""
    return {blob.name: blob.tensor for blob in encode(tensors, form)}


def arrived(tensors, form):
    """The tensors as they come out of what was shipped."""
    return decode(shipped(tensors, form), form, [tensor.shape for tensor in tensors])


@given(TENSORS)
def test_fp32_is_exact(tensors):
    found = arrived(tensors, "fp32")
    assert all(a.equal(b) for a, b in zip(tensors, found, strict=True))


@given(TENSORS)
def test_fp16_is_rounded_once(tensors):
    found = arrived(tensors, "fp16")
    assert all(a.half().float().equal(b) for a, b in zip(tensors, found, strict=True))


@pytest.mark.parametrize("form", LARGEST)
@given(tensors=TENSORS)
def test_whole_numbers_are_off_by_at_most_half_a_step(form, tensors):
    for before, after in zip(tensors, arrived(tensors, form), strict=True):
        assert before.shape == after.shape
        if before.ndim < 2:
            assert before.half().float().equal(after)
        elif before.numel():
            step = before.flatten(1).abs().amax(1) / LARGEST[form]
            error = (before - after).flatten(1).abs().amax(1)
            assert (error <= step * 0.5 * (1 + 2**-9) + 2.0**-24).all()


@pytest.mark.parametrize("form", [*FLOATS, *LARGEST])
def test_slices_of_zeros_stay_zeros(form):
    weight = torch.randn(4, 3, 3, 3)
    weight[1] = 0
    (found,) = arrived([weight], form)
    assert not found[1].any()
    assert found[0].any()


@pytest.mark.parametrize("form", LARGEST)
def test_the_largest_weight_of_a_slice_is_kept(form):
    weight = torch.tensor([[1.0, -3.0], [0.25, 0.125], [1e-5, 0.0]])
    (found,) = arrived([weight], form)
    largest = weight.abs().argmax(1, keepdim=True)
    expected = weight.gather(1, largest)
    assert torch.allclose(found.gather(1, largest), expected, rtol=2**-9, atol=2**-21)


@pytest.mark.parametrize("form", ["fp16", *LARGEST])
def test_what_fp16_cannot_hold_becomes_its_largest(form):
    (found,) = arrived([torch.tensor([1e9, -1e9, 65504.0, 1.0])], form)
    assert found.tolist() == [65504, -65504, 65504, 1]


@pytest.mark.parametrize("form", [*FLOATS, *LARGEST])
def test_nothing_takes_no_blob(form):
    assert encode([], form) == []
    assert decode({}, form, []) == []


def test_blobs():
    tensors = [torch.randn(4, 5), torch.randn(7), torch.randn(3, 1, 3)]

    def sizes(form, tensors=tensors):
        found = shipped(tensors, form)
        return {name: part.numel() * part.dtype.itemsize for name, part in found.items()}

    assert sizes("fp32") == {"weights": 4 * 36}
    assert sizes("fp16") == {"weights": 2 * 36}
    assert sizes("int8") == {"codes": 29, "scales": 14, "plain": 14}
    assert sizes("int4") == {"codes": 15, "scales": 14, "plain": 14}
    assert sizes("int4", tensors[1:2]) == {"plain": 14}
    assert sizes("int4", tensors[:1]) == {"codes": 10, "scales": 8}
    assert {blob.kind for blob in encode(tensors, "int4")} == {"weights"}


@pytest.mark.parametrize("form", [*FLOATS, *LARGEST])
def test_another_network_is_refused(form):
    stored = shipped([torch.randn(4, 5)], form)
    with pytest.raises(ArtefactError, match="do not fit the network"):
        decode(stored, form, [(4, 7)])
    with pytest.raises(ArtefactError, match="do not fit the network"):
        decode(stored, form, [(4, 5), (3,)])
