import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.core.errors import UserError
from benchmark.models.gradients import Batch, Gradients
from benchmark.models.training import Optimisation, Training

ROWS, MOST = 11, 3


class Holds(nn.Module):
    """Memory for so many rows at once; `late` finds out only on the way back."""

    def __init__(self, most=MOST, late=False):
        super().__init__()
        self.most, self.late, self.seen = most, late, []

    def forward(self, x):
        self.seen.append(len(x))
        if len(x) <= self.most:
            return x
        if self.late and torch.is_grad_enabled():
            return Late.apply(x)
        raise torch.OutOfMemoryError(f"{len(x)} rows")


class Late(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise torch.OutOfMemoryError("on the way back")


def network(holds, dropout=0.0, norm=None):
    torch.manual_seed(3)
    layers = [nn.Linear(4, 8), norm or nn.LayerNorm(8), nn.Dropout(dropout), nn.Linear(8, 5)]
    return nn.Sequential(*layers[:3], holds, layers[3])


def batch(module, memory, step=0):
    """A loss that mixes all rows, and remembers how far it went."""
    inputs = torch.randn(ROWS, 4, generator=torch.Generator().manual_seed(step))

    def loss(logits):
        memory["steps"] = memory.get("steps", torch.tensor(0)) + 1
        return F.cross_entropy(logits, logits.detach().roll(1, 0).softmax(1)) * memory["steps"]

    return Batch(ROWS, lambda rows: module(inputs[rows]), loss)


def trained(module, steps=6):
    memory = {}
    training = Training(module, Optimisation(1, steps, "sgd", lr=0.1), "student", memory=memory)
    training.descend(batch(module, memory, step) for step in range(steps))
    return training, memory


def weights(module):
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


@pytest.mark.parametrize("late", [False, True])
def test_parts_step_as_the_whole_batch_does(late, capsys):
    """Of a loss between rows, with a memory, in uneven parts; the step that failed counts once."""
    whole, module = network(Holds(ROWS)), network(holds := Holds(late=late))
    expected, kept = trained(whole)
    made, memory = trained(module)
    torch.testing.assert_close(weights(module), weights(whole), rtol=0, atol=1e-6)
    torch.testing.assert_close(made.total, expected.total)
    assert int(memory["steps"]) == int(kept["steps"]) == 6
    assert (made.gradients.parts, expected.gradients.parts) == (4, 1)
    assert holds.seen.count(ROWS) == 1  # later steps do not try again
    assert set(holds.seen[-4:]) == {2, 3}
    told = capsys.readouterr().err.splitlines()
    assert [line.partition(";")[0] for line in told] == [
        f"student: out of memory on cpu with {ROWS} views at once"
    ] * 2
    assert told[1].endswith("from here on in 4 parts a step, with the same gradients")


def test_both_passes_of_a_part_have_the_same_masks():
    """Of dropout; those of several parts differ from each other."""
    module = network(Holds(), dropout=0.5)
    twin = copy.deepcopy(module)
    torch.manual_seed(5)
    gradients = Gradients(module, "student", {}, parts=4)
    gradients.of(batch(module, {}))
    torch.manual_seed(5)
    whole = batch(twin, {})
    logits = torch.cat([whole.logits(slice(*at)) for at in ((0, 2), (2, 5), (5, 8), (8, 11))])
    whole.loss(logits).backward()
    for found, expected in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad)


def test_what_is_drawn_after_a_step_done_again_is_what_it_would_have_been():
    drawn = []
    for most in (ROWS, MOST):
        torch.manual_seed(5)
        trained(network(Holds(most)), steps=1)
        drawn.append(torch.rand(3))
    assert drawn[0].equal(drawn[1])


def test_batch_norm_in_training_is_not_seen_in_parts():
    module = network(Holds(), norm=nn.BatchNorm1d(8))
    with pytest.raises(
        UserError, match="take a smaller network, a device with more memory, or sev"
    ):
        trained(module)
    module[1].eval()  # as it is, it looks at no other row
    gradients = Gradients(module, "student", {})
    gradients.of(batch(module, {}))
    assert gradients.parts == 4


def test_a_row_that_memory_does_not_hold_is_told():
    with pytest.raises(torch.OutOfMemoryError, match="1 rows"):
        trained(network(Holds(0)))


def test_other_errors_are_not_tried_again():
    module = network(Holds())
    fails = Batch(ROWS, lambda rows: module(torch.ones(2, 7)), lambda logits: logits.sum())
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        Gradients(module, "student", {}).of(fails)
