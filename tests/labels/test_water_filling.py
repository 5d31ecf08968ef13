import math

import pytest
import torch

from benchmark.labels.water_filling import filled, geometric_bits


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.9])
def test_bits_are_the_entropy_of_a_two_sided_geometric_distribution(ratio):
    numbers = torch.arange(-500, 501).abs().double()
    chances = (1 - ratio) / (1 + ratio) * ratio**numbers
    entropy = -float(torch.special.xlogy(chances, chances).sum()) / math.log(2)
    mean = float((chances * numbers).sum())
    assert float(geometric_bits(torch.tensor(mean))) == pytest.approx(entropy, rel=1e-4)


def test_a_direction_of_zeros_takes_no_bits_and_what_rounding_leaves_is_not_saved():
    numbers = torch.tensor([[3.0, 0.2], [-1.1, -0.2]]).double()
    weights = torch.tensor([[0.5], [0.5]]).double()
    lost = numbers.square().mean(0)
    bits, saved = filled([(numbers, weights)], lost, [1.0, 0.1], 0.5)
    assert geometric_bits(torch.tensor(0.0)) == 0
    assert bits[0, 0] == bits[0, 1] == geometric_bits(torch.tensor(2.0).double())
    assert bits[1, 1] > bits[1, 0] > bits[0, 0]
    power = float(lost[0])
    assert saved[0].tolist() == pytest.approx([power - 0.005] * 2)  # 1.1 is rounded to 1
    assert saved[1].tolist() == pytest.approx([power, power + 0.04])


def test_rows_in_blocks_are_those_in_one_go():
    torch.manual_seed(0)
    numbers, weights = torch.randn(7, 3).double(), torch.rand(7, 1).double()
    lost = numbers.square().sum(0)
    whole = filled([(numbers, weights)], lost, [1.0, 0.1], 0.5)
    blocks = zip(numbers.split(2), weights.split(2), strict=True)
    for found, expected in zip(filled(blocks, lost, [1.0, 0.1], 0.5), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=0)
