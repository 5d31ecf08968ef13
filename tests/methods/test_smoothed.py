from dataclasses import replace

import pytest
import torch

from benchmark.core.errors import UserError
from benchmark.core.options import build
from benchmark.methods.smoothed import Smoothed


def test_labels_blend_by_the_mix_by_hand(task):
    # Four views of images 3, 8, 3 and 15 (classes 3, 8, 3, 5); a quarter of each is its partner.
    views = replace(
        task.plan.batch(0, 0),
        index=torch.tensor([3, 8, 3, 15]),
        partner=torch.tensor([1, 0, 3, 3]),
        mix_box=torch.tensor([[0.0, 0.5, 0.5, 0.5]] * 4),
        mix_opacity=torch.ones(4),
    )
    targets = Smoothed.fit(task, Smoothed.Options(amount=0.2)).targets(views, torch.empty(0), 0)
    expected = torch.full((4, 10), 0.02)
    expected[0, 3] = expected[1, 8] = expected[2, 3] = 0.8 * 0.75 + 0.02
    expected[0, 8] = expected[1, 3] = expected[2, 5] = 0.8 * 0.25 + 0.02
    expected[3, 5] = 0.8 + 0.02
    assert torch.allclose(targets, expected)


@pytest.mark.parametrize("amount", ["-0.1", "1"])
def test_amounts_that_are_refused(amount):
    with pytest.raises(UserError, match=r"amount must be in \[0, 1\), got"):
        build(Smoothed.Options, {"amount": amount}, "smoothed")
