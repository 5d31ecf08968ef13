import torch

from benchmark.labels.label_basis import centred, orthonormal, power_of, principal, shipped, span


def test_labels_in_few_directions_come_back_from_as_many_numbers():
    torch.manual_seed(0)
    logits = centred(torch.randn(200, 3) @ torch.randn(3, 12) + torch.randn(200, 1))
    axes = span(logits, 3)
    axes = axes @ principal(logits @ axes)
    basis = orthonormal(shipped(axes))
    torch.testing.assert_close(basis @ basis.T, torch.eye(3, dtype=torch.float64))
    assert basis.sum(1).abs().max() < 1e-9
    back = logits @ basis.T @ basis
    assert (back - logits).square().sum() < 1e-3 * logits.square().sum()  # as int8 can
    powers = (logits @ basis.T).square().sum(0)
    assert (powers[:-1] > powers[1:]).all()


def test_the_power_is_that_of_a_logit_and_never_zero():
    assert power_of(torch.tensor([[3.0, -3.0], [3.0, -3.0]])) == 3.0
    assert power_of(torch.zeros(2, 2)) > 0
