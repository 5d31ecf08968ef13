"""DSA: each kind by what it must do, and by how its draws are addressed."""

import math

import pytest
import torch
import torch.nn.functional as F

from benchmark.data import siamese
from benchmark.data.siamese import AUGMENT, DRAWS, Siamese

ALL = tuple(AUGMENT)


def pixels(count=64, side=32):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def draws(count=64):
    return torch.rand(DRAWS, count, generator=torch.Generator().manual_seed(1))


def test_without_kinds_pixels_are_left_alone():
    shown = pixels()
    assert Siamese((), 0)(shown, 0, 0) is shown


def test_a_batch_draws_one_kind_by_its_address_and_all_come_up():
    shown, seen = pixels(4, 8), {}
    for epoch in range(60):
        augmented = Siamese(ALL, 0)(shown, epoch, 0)
        assert torch.equal(augmented, Siamese(ALL, 0)(shown, epoch, 0))
        for kind in ALL:
            words = siamese.random_words(0, epoch, 0, siamese.DSA, 1 + DRAWS * 4)
            numbers = torch.from_numpy(siamese.unit(words[1:])).float().view(DRAWS, -1)
            if torch.equal(augmented, AUGMENT[kind](shown, numbers)):
                seen[kind] = seen.get(kind, 0) + 1
    assert seen.keys() == set(ALL)
    assert not torch.equal(Siamese(ALL, 0)(shown, 0, 0), Siamese(ALL, 1)(shown, 0, 0))


def test_a_shift_moves_by_whole_pixels_and_leaves_zeros():
    shown, numbers = pixels(), draws()
    moved = siamese.crop(shown, numbers)
    down, right = ((numbers[:2] * 9).floor().long() - 4).tolist()
    for image, i, j, result in zip(shown, down, right, moved, strict=True):
        padded = F.pad(image, (4, 4, 4, 4))
        assert torch.equal(result, padded[:, 4 + i : 36 + i, 4 + j : 36 + j])
    assert {*down, *right} == set(range(-4, 5))


def test_a_hole_of_half_the_side_may_hang_over_the_edge():
    holes = (siamese.cutout(torch.ones(64, 3, 32, 32), draws()) == 0)[:, 0]
    assert holes.sum((1, 2)).max() <= 16 * 16
    assert (holes.any(1).sum(1) >= 8).all()
    assert len({tuple(hole.nonzero()[0].tolist()) for hole in holes}) > 32


def test_every_other_image_is_mirrored():
    shown, numbers = pixels(), draws()
    flipped = siamese.flip(shown, numbers)
    mirrored = numbers[0] < 0.5
    assert 16 < int(mirrored.sum()) < 48
    assert torch.equal(flipped[mirrored], shown[mirrored].flip(3))
    assert torch.equal(flipped[~mirrored], shown[~mirrored])


@pytest.mark.parametrize("kind", ["scale", "rotate"])
def test_maps_at_the_middle_of_their_range_change_nothing(kind):
    shown = pixels(2)
    # A factor of one; an angle of none.
    middle = (1 - 1 / 1.2) / (1.2 - 1 / 1.2) if kind == "scale" else 0.5
    same = AUGMENT[kind](shown, torch.full((DRAWS, 2), middle))
    torch.testing.assert_close(same, shown, rtol=0, atol=1e-4)


def test_a_turn_is_of_at_most_15_degrees():
    shown = torch.zeros(1, 1, 65, 65)
    shown[0, 0, 32, 60] = 1.0
    turned = siamese.rotate(shown, torch.ones(DRAWS, 1))[0, 0]
    row, column = divmod(int(turned.argmax()), 65)
    assert math.degrees(math.atan2(abs(row - 32), column - 32)) == pytest.approx(15, abs=1.5)


def test_colours_keep_what_the_order_of_the_three_says():
    shown, numbers = pixels(), draws()
    bright, saturated, contrasted = numbers[:, :, None, None, None]
    expected = shown + bright - 0.5
    grey = expected.mean(1, keepdim=True)
    expected = grey + (expected - grey) * saturated * 2
    level = expected.mean((1, 2, 3), keepdim=True)
    expected = level + (expected - level) * (contrasted + 0.5)
    torch.testing.assert_close(siamese.color(shown, numbers), expected)
