"""The vector-quantised autoencoder by hand: its decoder, its codebook, its loss, and a fit."""

import math

import pytest
import torch
import torch.nn.functional as F

from benchmark.data.recipe import Objective
from benchmark.methods.vqae.autoencoder import (
    Autoencoder,
    Decoder,
    fit_autoencoder,
    prepared,
    reconstruction,
    shapes,
)
from benchmark.methods.vqae.options import Options

CPU = torch.device("cpu")


def one_number(entries=2, codes=1):
    return Autoencoder(Options(codes=codes, entries=entries, width=1, hidden=2), 2)


def test_the_decoder_by_hand():
    decoder = Decoder(
        book=torch.tensor([[2.0, -1.0]]),
        inner=torch.tensor([[1.0, 1.0]]),
        inner_bias=torch.tensor([0.0]),
        outer=torch.tensor([[2.0], [-1.0]]),
        outer_bias=torch.tensor([0.0, 1.0]),
    )
    one = 0.5 * (1 + math.erf(2**-0.5))  # GELU of 2 - 1
    four = 4 * 0.5 * (1 + math.erf(4 * 2**-0.5))  # and of 2 + 2
    found = decoder.logits(torch.tensor([[0, 1], [0, 0]]))
    assert found.flatten().tolist() == pytest.approx([2 * one, 1 - one, 2 * four, 1 - four])


def test_the_decoder_that_is_shipped_gives_labels_at_their_own_power():
    torch.manual_seed(0)
    options = Options(codes=2, entries=4, width=3, hidden=5)
    made = Autoencoder(options, 6)
    made.book.normal_()
    decoder = made.decoder(7.0)
    assert [tuple(t.shape) for t in decoder.tensors()] == shapes(options, 6)
    indices = torch.tensor([[0, 3], [2, 2]])
    torch.testing.assert_close(decoder.logits(indices), 7 * made.decoded(made.book[indices]))


def test_indices_are_of_the_nearest_entries():
    made = one_number(entries=4, codes=3)
    made.book[:, 0] = torch.tensor([0.0, 10.0, 4.0, -5.0])
    latents = torch.tensor([[6.9, 7.1, -2.4], [-2.6, 100.0, 2.1]])[..., None]
    assert made.indices(latents).tolist() == [[2, 1, 0], [3, 1, 2]]


def test_k_means_fills_the_codebook():
    made = one_number()
    points = torch.tensor([0.0, 1, 10, 11, 12])[:, None, None]
    made.start(points, torch.Generator().manual_seed(0))
    assert made.book.flatten().sort().values.tolist() == [0.5, 11]
    assert sorted(made.uses.tolist()) == [2, 3]
    torch.testing.assert_close(made.sums, made.book * made.uses[:, None])


def test_entries_follow_a_moving_average():
    made = one_number()
    made.book[:, 0] = torch.tensor([0.0, 8.0])
    made.uses.fill_(1.0)
    made.sums.copy_(made.book)
    latents = torch.tensor([7.0, 9.0, 11.0])[:, None, None]
    made.follow(latents, made.indices(latents))
    assert made.uses.tolist() == pytest.approx([0.99, 0.99 + 0.03])
    assert made.book.flatten().tolist() == pytest.approx([0, (0.99 * 8 + 0.27) / 1.02])


def test_idle_entries_move_to_latents_and_others_stay():
    made = one_number()
    made.book[:, 0] = torch.tensor([0.0, 8.0])
    made.uses.copy_(torch.tensor([0.1, 9.9]))  # a fiftieth of the usual use, and twice it
    made.restart(torch.tensor([3.0, 3.0])[:, None, None], torch.Generator())
    assert made.book.flatten().tolist() == [3.0, 8.0]
    assert made.uses.tolist() == pytest.approx([5.0, 9.9])
    assert made.sums.flatten().tolist()[0] == pytest.approx(15.0)


def test_the_loss_is_the_students_own():
    exact = torch.tensor([[math.log(3.0), 0.0]]) * 20
    # At T = 20 the label says (3/4, 1/4), the decoded one (1/2, 1/2), at a power of 4.
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    found = reconstruction(torch.zeros(1, 2), exact, 4.0, Objective())
    assert found.item() == pytest.approx(divergence * (20 / 4) ** 2, rel=1e-5)
    # A label that is halved has half the temperature's effect.
    scaled = reconstruction(torch.zeros(1, 2), 2 * exact, 4.0, Objective(label_scale=0.5))
    assert scaled.item() == pytest.approx(divergence * (40 / 4) ** 2, rel=1e-5)
    squared = reconstruction(torch.zeros(1, 2), exact, 4.0, Objective(loss="mse"))
    assert squared.item() == pytest.approx((20 * math.log(3) / 4) ** 2 / 2, rel=1e-5)


def test_at_high_temperature_the_loss_is_half_the_squared_error():
    draw = torch.Generator().manual_seed(0)
    exact, decoded = torch.randn(2, 50, 10, generator=draw)
    exact, decoded = (prepared(logits, Objective()) for logits in (exact, decoded))
    found = reconstruction(decoded, 3 * exact, 3.0, Objective(temperature=500.0))
    assert found.item() == pytest.approx(F.mse_loss(decoded, exact).item() / 2, rel=0.02)


def test_labels_are_centred_where_the_loss_does_not_see_their_mean():
    labels = torch.tensor([[1.0, 2.0, 6.0]]).half()
    assert prepared(labels, Objective()).tolist() == [[-2, -1, 3]]
    assert prepared(labels, Objective(loss="mse")).equal(labels)
    assert prepared(labels, Objective()).dtype == torch.float16


@pytest.mark.parametrize("loss", ["kl", "mse"])
def test_labels_of_few_kinds_are_learned(loss):
    """Six kinds, an entry for each: what is left is small, and no kinds share one."""
    torch.manual_seed(3)
    kinds = 4 * torch.randn(6, 10)
    which = torch.randint(0, 6, (600,))
    labels = prepared(kinds[which], Objective(loss=loss))
    power = float(labels.square().mean().sqrt())
    options = Options(codes=1, entries=16, width=4, hidden=32, steps=200, epochs=1)
    made, losses = fit_autoencoder(labels, power, options, Objective(loss=loss), 0, CPU)
    indices = made.indices(made.latents(labels / power))
    wrong = prepared(made.decoder(power).logits(indices), Objective(loss=loss)) - labels
    assert wrong.square().mean() < 0.05 * power**2
    assert losses[-1] < 0.1 * losses[0]
    pairs = set(zip(which.tolist(), indices.flatten().tolist(), strict=True))
    assert len(pairs) == len({index for _, index in pairs})
    again, _ = fit_autoencoder(labels, power, options, Objective(loss=loss), 0, CPU)
    assert again.book.equal(made.book)


def test_there_may_be_fewer_labels_than_entries():
    labels = prepared(torch.randn(5, 10, generator=torch.Generator().manual_seed(0)), Objective())
    options = Options(codes=2, entries=64, hidden=8, steps=1, epochs=1)
    made, losses = fit_autoencoder(labels, 1.0, options, Objective(), 0, CPU)
    assert made.book.isfinite().all()
    assert len(losses) == 1
