from dataclasses import replace

import pytest
import torch

from benchmark.data.recipe import Augmentation
from benchmark.data.views import ViewPlan
from benchmark.labels.ridge import fit
from benchmark.labels.view_function import ViewBasis, ViewFunction

CUTMIX = Augmentation(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1.0))


def plan(augmentation=CUTMIX, images=6):
    return ViewPlan(0, images, 8, 3, 200, augmentation)


def views_of(made, epochs):
    return [made.batch(e, b) for e in epochs for b in range(made.batches)]


def function(augmentation=CUTMIX, classes=3):
    return ViewFunction(ViewBasis.of(augmentation), torch.arange(6) % 3, classes)


def test_columns_are_those_worked_out_by_hand():
    """A box of a quarter of the area in the upper left corner, the second view mirrored."""
    views = replace(
        plan().batch(0, 0),
        index=torch.tensor([4, 2, 0]),
        partner=torch.tensor([1, 0, 2]),
        flip=torch.tensor([False, True, False]),
        mix_box=torch.tensor([[0.0, 0.0, 0.5, 0.5]]).expand(3, 4),
    )
    design = function().design([views])
    dense = torch.zeros(3, design.size, dtype=torch.float64)
    dense.scatter_(1, design.columns, design.values)
    ones, shares = 0.8**0.5, [0.8**0.5, 0.8**0.5 / 4, 0.8**0.5 / 2]  # 1, a quarter, its root
    assert ones == shares[0]
    by_hand = torch.zeros(3, 3, dtype=torch.float64)
    by_hand[0, 1] = by_hand[1, 2] = by_hand[2, 0] = 1  # classes of images 4, 2 and 0
    for number, share in enumerate(shares):
        torch.testing.assert_close(dense[:, 3 * number : 3 * number + 3], by_hand * share)
    partners = by_hand[[1, 0, 2]]
    for number, share in enumerate(shares):
        torch.testing.assert_close(dense[:, 9 + 3 * number : 12 + 3 * number], partners * share)
    own = dense[:, 18:].view(3, -1, 6)
    assert [own[row, 0].nonzero().item() for row in range(3)] == [4, 2, 0]
    offset = -0.25  # of the box's centre, down and right
    numbers = torch.tensor(
        [
            0.3**0.5,
            0.4**0.5 / 4,
            *[0.3**0.5 / 4 * offset, 0.3**0.5 / 4 * offset**2] * 2,
            0.025**0.5 * -1,
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(own[0, :7, 4], numbers)
    assert own[1, 6, 2] == pytest.approx(0.025**0.5)  # mirrored
    partner = torch.tensor([0.05**0.5, 0.4**0.5 / 4, 0.1**0.5 / 2, 0.025**0.5], dtype=torch.float64)
    torch.testing.assert_close(own[0, 7:, 2], partner)


@pytest.mark.parametrize(
    ("augmentation", "entities"),
    [
        (CUTMIX, [3] * 6 + [6] * 11),
        (replace(CUTMIX, mix="none"), [3] + [6] * 2),
        (replace(CUTMIX, mix="mixup", flip=0.0), [3] * 6 + [6] * 5),
        (Augmentation(mix="none", flip=0.0), [3] + [6] * 4),
        (Augmentation(), [3] * 6 + [6] * 17),
    ],
)
def test_only_what_the_plan_varies_has_coefficients(augmentation, entities):
    made = function(augmentation).design(views_of(plan(augmentation), range(2)))
    assert list(made.entities) == entities
    assert made.columns.shape == made.values.shape == (12, len(entities))
    assert made.columns.max() < made.size == sum(entities)
    assert (made.values.square().sum(0) > 0).all()  # none is idle


def test_labels_that_are_such_a_function_are_found_on_unseen_views():
    torch.manual_seed(0)
    made = function()
    seen = made.design(views_of(plan(), range(60)))
    unseen = made.design(views_of(plan(), range(150, 200)))
    truth = torch.randn(seen.size, 2, dtype=torch.float64)
    found = unseen.times(fit(seen, seen.times(truth)))
    exact = unseen.times(truth)
    assert (found - exact).square().sum() < 0.02 * exact.square().sum()


def test_images_that_show_no_class_have_coefficients_of_their_own_alone():
    made = ViewFunction(ViewBasis.of(CUTMIX), torch.full((6,), -1), 0)
    assert set(made.design(views_of(plan(), [0])).entities) == {6}
