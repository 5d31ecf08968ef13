import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from benchmark.labels.reuse import calibrated, label_temperature


def temperatures(schedule, epochs=300, floor=2.0, decay=0.7, interval=30):
    """By epoch from 1, as the paper counts."""
    found = [
        label_temperature(schedule, 20.0, floor, decay, interval, epoch, epochs)
        for epoch in range(epochs)
    ]
    return [None, *found]


def test_step_by_the_papers_numbers():
    found = temperatures("step")
    by_hand = [20, 14, 9.8, 6.86, 4.802, 3.3614, 2.35298, 2, 2, 2]
    for step, value in enumerate(by_hand):
        for epoch in (max(1, 30 * step), 30 * step + 29):
            assert found[epoch] == pytest.approx(value), epoch
    assert found[209] > 2.35
    assert found[210] == found[300] == 2


def test_reversed_step_rises_to_the_start():
    found = temperatures("step_reverse")
    assert found[1:] == sorted(found[1:])
    assert [found[e] for e in (1, 90, 91, 240, 241, 270, 271, 300)] == pytest.approx(
        [2, 2, 2.35298, 9.8, 14, 14, 20, 20]
    )


def test_cosine_falls_along_a_half_cosine():
    found = temperatures("cosine")
    for epoch in (1, 75, 150, 299, 300):
        assert found[epoch] == pytest.approx(2 + 9 * (1 + math.cos(math.pi * epoch / 300)))
    assert found[150] == pytest.approx(11)
    assert found[300] == pytest.approx(2)
    reverse = temperatures("cosine_reverse")
    assert reverse[1:] == pytest.approx([22 - t for t in found[1:]])


def test_no_schedule_keeps_the_start():
    assert set(temperatures("none")[1:]) == {20.0}


@given(
    st.sampled_from(["step", "cosine", "step_reverse", "cosine_reverse"]),
    st.integers(1, 400),
    st.floats(0.1, 20),
    st.floats(0.01, 1),
    st.integers(1, 100),
)
def test_temperatures_stay_between_floor_and_start(schedule, epochs, floor, decay, interval):
    found = temperatures(schedule, epochs, floor, decay, interval)[1:]
    assert min(found) >= floor - 1e-9
    assert max(found) <= 20 + 1e-9
    assert found == sorted(found, reverse=not schedule.endswith("reverse"))


def optimum(logits, targets):
    """The temperature of least divergence among 0.01, 0.02, ..., 1.00, one at a time."""
    divergences = {
        t / 100: F.kl_div(F.log_softmax(logits * 100 / t, 1), targets, reduction="batchmean").item()
        for t in range(1, 101)
    }
    return min(divergences, key=divergences.__getitem__)


def test_calibration_is_the_brute_force_optimum_of_the_last_batch_before():
    torch.manual_seed(0)
    memory, before, found = {}, None, []
    for epoch, true in enumerate((0.37, 0.82, 3.0, 0.004, 0.11)):
        expected = 1.0 if before is None else optimum(*before)
        for of_batch in (0.55, 0.2, true):  # only the last counts
            logits = torch.randn(6, 10, requires_grad=True)
            targets = F.softmax(logits.detach() / of_batch, 1)
            temperature = calibrated(memory, logits, targets, epoch)
            assert temperature.item() == pytest.approx(expected)
            assert not temperature.requires_grad
        before = logits.detach(), targets
        found.append(temperature.item())
    assert found == pytest.approx([1.0, 0.37, 0.82, 1.0, 0.01])


def test_calibration_on_labels_with_dropped_classes():
    torch.manual_seed(0)
    logits = torch.randn(8, 50)
    kept = (5 * logits + torch.randn(8, 50)).topk(3, 1)
    targets = torch.zeros(8, 50).scatter_(1, kept.indices, kept.values.softmax(1))
    memory = {}
    assert calibrated(memory, logits, targets, 0).item() == 1.0
    found = calibrated(memory, torch.randn(8, 50), targets, 1).item()
    assert found == pytest.approx(optimum(logits, targets))
    assert 0.01 < found < 1


def test_calibration_in_low_precision():
    logits = torch.randn(6, 10).bfloat16()
    targets = F.softmax(logits.float() / 0.4, 1)
    memory = {}
    calibrated(memory, logits, targets, 0)
    assert calibrated(memory, logits, targets, 1).item() == pytest.approx(0.4)
