"""SCORE's stored matrices by hand: their bytes, their numbers, and what is refused."""

from dataclasses import replace

import pytest
import torch

from benchmark.core.errors import ArtefactError
from benchmark.labels.packing import pack
from benchmark.methods.score.coding import Coding, Matrices

CPU = torch.device("cpu")


def dense(coding, parts):
    """All rows of all matrices, (N, V, C)."""
    every, matrices = torch.arange(coding.images), Matrices(coding, parts, CPU)
    return torch.stack([matrices.rows(view, every) for view in range(coding.views)], 1)


@pytest.mark.parametrize(
    ("values", "entries", "expected"),
    [
        # Factors 24 + 30 numbers; 6 entries, whose places of 20 take 5 bits each: 4 bytes.
        ("int8", 2, 24 + 30 + 2 * 6 + 6 + 4 + 2 * 3),
        ("int8", 0, 24 + 30 + 2 * 6),
        ("fp16", 2, 2 * (24 + 30) + 2 * 6 + 4),
        ("fp16", 0, 2 * (24 + 30)),
    ],
)
def test_bytes_by_hand_are_those_of_the_parts(values, entries, expected):
    coding = Coding(3, 4, 5, 2, entries, values)
    assert coding.width == 5
    assert coding.bytes == expected
    matrices = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    parts = coding.encode(matrices.split(2))
    assert sum(part.nbytes for part in parts.values()) == expected
    coding.check(parts)
    assert {stored.name: stored.kind for stored in coding.tensors(parts)} == {
        name: "indices" if name == "positions" else "values" for name in coding.shapes()
    }


def test_int8_keeps_what_it_can_say():
    """Rows 127 and -50 by columns 127 and 20, in parts of 127: whole numbers, and exact."""
    left, right = torch.tensor([127.0, -50, 0]), torch.tensor([127.0, 20])
    matrices = (3 * left[:, None] * right / 127**2).double()[None]
    coding = Coding(1, 3, 2, 1, 0, "int8")
    parts = coding.encode([matrices])
    assert parts["left"].flatten().abs().tolist() == [127, 50, 0]
    assert parts["right"].flatten().abs().tolist() == [127, 20]
    assert parts["amplitudes"].tolist() == [[3.0]]
    assert dense(coding, parts).allclose(matrices.float(), atol=1e-6)


@pytest.mark.parametrize("values", ["int8", "fp16"])
def test_a_spike_is_kept_beside_one_term(values):
    matrices = torch.ones(2, 8, 6, dtype=torch.float64)
    matrices[0, 2, 5] = 11
    matrices[1, 7, 0] = -5
    coding = Coding(2, 8, 6, 1, 1, values)
    parts = coding.encode([matrices])
    assert coding.positions(parts).tolist() == [[2 * 6 + 5], [7 * 6]]
    assert dense(coding, parts).allclose(matrices.float(), atol=0.01)
    without = replace(coding, entries=0)
    assert not dense(without, without.encode([matrices])).allclose(matrices.float(), atol=1)


@pytest.mark.parametrize(("values", "wrong"), [("fp16", 2e-3), ("int8", 3e-2)])
def test_all_terms_give_all_back_and_fewer_the_best(values, wrong):
    matrices = torch.randn(3, 4, 7, generator=torch.Generator().manual_seed(1)).double()
    whole = Coding(3, 4, 7, 4, 0, values)
    assert (dense(whole, whole.encode([matrices])) - matrices).abs().max() < wrong
    two = replace(whole, rank=2)
    left, strengths, right = torch.linalg.svd(matrices, full_matrices=False)
    best = left[:, :, :2] * strengths[:, None, :2] @ right[:, :2]
    assert (dense(two, two.encode([matrices])) - best).abs().max() < wrong


def test_nothing_is_kept_as_nothing():
    coding = Coding(2, 4, 5, 2, 3, "int8")
    assert dense(coding, coding.encode([torch.zeros(2, 4, 5, dtype=torch.float64)])).eq(0).all()


def test_parts_that_cannot_be_are_refused():
    coding = Coding(2, 4, 5, 1, 1, "int8")
    matrices = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(2)).double()
    parts = coding.encode([matrices])
    for other, message in [
        (replace(coding, entries=0), r"hold \['amplitudes', 'entries'.* not \['amplitudes', 'l"),
        (replace(coding, rank=2), r"labels' left are not torch.int8 \(2, 4, 2\)"),
        (replace(coding, views=3), r"labels' left are not torch.int8 \(2, 3, 1\)"),
    ]:
        with pytest.raises(ArtefactError, match=message):
            other.check(parts)
    with pytest.raises(ArtefactError, match=r"entries are not torch.int8 \(2, 1\)"):
        coding.check({**parts, "entries": parts["entries"].half()})
    coding.check({**parts, "positions": pack(torch.tensor([0, 19]), 5)})
    with pytest.raises(ArtefactError, match="positions lie outside"):
        coding.check({**parts, "positions": pack(torch.tensor([0, 20]), 5)})
