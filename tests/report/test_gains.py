import pytest
from synthetic import HELLO, compared, record, repeats

from benchmark.report.gains import ALL, LABELS, Gain, gains, pareto
from benchmark.report.in_all import form_of, in_all
from benchmark.report.leaderboard import tables


def of(*records) -> dict[str, Gain]:
    return {gain.row.method: gain for gain in gains(compared(*records))}


def test_what_bytes_and_seconds_buy_is_worked_out_by_hand():
    found = of(*repeats("hard", [0.5, 0.52]), *repeats("ld", [0.6, 0.62, 0.9], total=2_000))
    ld, hard = found["ld"], found["hard"]
    assert ld.over_hard == pytest.approx(0.10)  # over the two repeats that both have
    assert ld.per_kilobyte == pytest.approx(5.0)
    # 10 images a class of 10 classes, 50 a batch, 60 epochs: two steps each. The bare step's
    # median is 15 ms, the ratios of paired repeats 1.5 and 1.
    epochs = len(ld.row.records[0]["result"]["train_loss"])
    whole = 0.015 * 2 * epochs
    assert ld.seconds == pytest.approx((whole, 1.25 * whole, 1.5 * whole))
    assert ld.per_second == pytest.approx(10 / (1.25 * whole))
    assert (hard.over_hard, hard.per_kilobyte, hard.per_second) == (None, None, None)
    assert hard.seconds == ld.seconds


def test_a_machine_that_was_slow_for_one_row_changes_no_quotient():
    slow = record("ld", 0, 0.6, total=2_000)
    slow["throughput"] |= {"seconds_bare_step": [0.1, 0.2], "seconds_step": [0.15, 0.2]}
    found = of(record("hard"), slow)
    assert found["ld"].seconds == pytest.approx(found["hard"].seconds)


def test_what_records_do_not_tell_is_not_there():
    old = record("ld", 0, 0.6)
    del old["inputs"]["classes"]
    found = of(record("hard"), old)["ld"]
    assert (found.seconds, found.per_second) == (None, None)
    assert found.per_kilobyte is not None
    assert of(record("ld", 0, 0.6))["ld"].over_hard is None
    other = of(record("hard", 1), record("ld", 0, 0.6))["ld"]
    assert other.over_hard is None  # no repeat that both have


def test_what_must_be_there_moves_the_frontier():
    """hello ships less than soft, but its prior is there too."""
    found = of(record("hard", 0, 0.5), HELLO, record("soft", 0, 0.6, 12_300), record("ld", 0, 0.3))
    assert found["hello"].in_all == 3_000 + 6_000 + 7_400_000
    assert found["hello"].frontiers == (LABELS,)
    assert found["soft"].frontiers == (ALL,)
    assert found["hard"].frontiers == (LABELS, ALL)
    assert found["ld"].frontiers == ()


def test_real_images_are_on_no_frontier():
    (gain,) = gains(compared(record("hard", images="random")))
    assert gain.frontiers == ()


def test_images_count_alike_in_all_rows():
    old = record("ld", 0, 0.6)
    del old["storage"]["images_png"]
    (row,) = compared(old).rows
    assert (in_all(row, "PNG"), in_all(row, "JPEG"), in_all(row, "raw")) == (None, 3_500, 8_500)
    found = of(record("hard"), old)
    assert {gain.in_all for gain in found.values()} == {8_500}
    assert form_of(gain.row for gain in found.values()) == "raw"
    (table,) = (t for t in tables([compared(record("hard"), old)]) if t.kind == "frontier")
    assert table.below.startswith("In all: images as raw pixels")
    (table,) = (t for t in tables([compared(record("hard"))]) if t.kind == "frontier")
    assert table.below == ""


def test_a_teacher_that_must_run_counts():
    online = record("teacher", 0, 0.6)
    online["storage"]["teacher"] = 40_000
    assert of(online)["teacher"].in_all == 500 + 6_000 + 40_000


def test_pareto_keeps_the_first_of_equals():
    found = [(3, 0.5), (1, 0.4), (2, 0.5), (4, 0.45)]
    kept = pareto(found, lambda p: p[0], lambda p: p[1])
    assert kept == [(1, 0.4), (2, 0.5)]
