"""Robust PCA by hand: what is low-rank and what is sparse is told apart, and factors are best."""

import pytest
import torch

from benchmark.methods.score.rpca import factors, robust_pca


def test_a_spike_on_an_even_matrix_is_found():
    spiked = torch.ones(1, 8, 6, dtype=torch.float64)
    spiked[0, 2, 5] += 10
    low, sparse = robust_pca(spiked)
    assert low.allclose(torch.ones_like(low), atol=1e-5)
    expected = torch.zeros_like(sparse)
    expected[0, 2, 5] = 10
    assert sparse.allclose(expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(60, 50), (50, 60)])
def test_a_low_rank_and_a_sparse_matrix_come_apart_again(shape):
    """As Candès et al. prove for most: rank 2 of 50, one entry in twenty."""
    draw = torch.Generator().manual_seed(3)
    left, right = (torch.randn(5, n, 2, generator=draw, dtype=torch.float64) for n in shape)
    exact = left @ right.mT
    spikes = torch.rand(exact.shape, generator=draw) < 0.05
    signs = torch.randint(0, 2, exact.shape, generator=draw) * 2 - 1
    beside = 5.0 * signs * spikes
    low, sparse = robust_pca(exact + beside)
    assert 600 < spikes.sum() < 900
    assert low.allclose(exact, atol=1e-4)
    assert (sparse.abs() > 1).equal(spikes)
    assert torch.linalg.matrix_rank(low, rtol=1e-5).eq(2).all()


def test_nothing_stays_nothing_beside_others():
    both = torch.zeros(2, 4, 5, dtype=torch.float64)
    both[1] = 3
    for part, filled in zip(robust_pca(both), (3.0, 0.0), strict=True):
        assert part[0].eq(0).all()
        assert part[1].allclose(torch.tensor(filled, dtype=torch.float64), atol=1e-5)
    left, right = factors(both[:1], 2)
    assert (left @ right).eq(0).all()
    assert left.isfinite().all()


@pytest.mark.parametrize("turned", [False, True])
def test_the_best_terms_are_kept_and_shared_alike(turned):
    diagonal = torch.zeros(1, 3, 4, dtype=torch.float64)
    diagonal[0, [0, 1, 2], [2, 0, 1]] = torch.tensor([1.0, 9.0, 4.0], dtype=torch.float64)
    left, right = factors(diagonal.mT if turned else diagonal, 2)
    assert left.shape[2] == right.shape[1] == 2
    kept = diagonal.clone()
    kept[0, 0, 2] = 0  # the least of the three
    product = left @ right
    assert (product.mT if turned else product).allclose(kept, atol=1e-9)
    for lengths in (left.norm(dim=1), right.norm(dim=2)):
        assert lengths.tolist()[0] == pytest.approx([3.0, 2.0])  # roots of 9 and 4
