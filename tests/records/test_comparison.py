from itertools import pairwise

import numpy as np
import pytest
from synthetic import CELL, TESTS, compared, missing, record, repeats

from benchmark.records.comparison import Row, comparisons
from benchmark.report.leaderboard import rank_texts, tables


def ranks(*found) -> dict[str, int | None]:
    return {row.method: row.rank for row in compared(*found).rows}


def methods(found) -> list[list[str]]:
    return sorted(sorted(row.method for row in c.rows) for c in comparisons(found))


PLAIN = [*repeats("hard", [0.5, 0.52]), record("hello")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dataset", "mnist"),
        ("student", "resnet18"),
        ("recipe", "cpu"),
        ("teacher", "other"),
    ],
)
def test_only_like_is_compared_with_like(name, value):
    other = record("hello", **{name: value})
    assert methods([*PLAIN, other]) == [["hard", "hello"], ["hello"]]


def test_a_teacher_with_another_accuracy_is_another():
    other, same = record("hello", 5), record("hello", 6)
    other["inputs"]["teacher_accuracy"] = 0.9502
    same["inputs"]["teacher_accuracy"] = 0.950001  # titles show as much
    assert methods([*PLAIN, other, same]) == [["hard", "hello"], ["hello"]]
    titles = [c.setting.title for c in comparisons([*PLAIN, other, same])]
    assert len({*titles}) == 2


def test_other_ipcs_stand_apart_and_their_methods_are_missing():
    small, large = comparisons([*repeats("soft", [0.1, 0.2], ipc=1), *PLAIN])
    assert (small.setting.ipc, large.setting.ipc) == (1, 10)
    assert {row.method: (row.n, row.asked) for row in small.rows} == {
        "soft": (2, 2),
        "hard": (0, 2),
        "hello": (0, 2),
    }
    assert [(row.method, row.n) for row in large.rows] == [("hard", 2), ("hello", 1), ("soft", 0)]


def test_off_protocol_never_shares_a_comparison_and_is_not_ranked():
    changed = {"name": "quick", "epochs": 61}
    good, bad = [0.80, 0.81, 0.82], [0.50, 0.52, 0.51]
    off = [
        *repeats("soft", good, on_protocol=False, recipe=changed),
        *repeats("hard", bad, on_protocol=False, recipe=changed),
    ]
    more = record("lpqld", on_protocol=False, recipe={**changed, "epochs": 62})
    found = comparisons([*repeats("soft", good), *repeats("hard", bad), *off, more])
    assert {c.setting.on_protocol: [r.rank for r in c.rows] for c in found if len(c.rows) == 2} == {
        True: [1, 2],
        False: [None, None],
    }
    assert len(found) == 3
    (both,) = (c for c in found if len(c.rows) == 2 and not c.setting.on_protocol)
    assert both.pairs[0, 1].differ  # told, but not ranked
    assert "OFF-PROTOCOL" in both.setting.title
    assert rank_texts(both) == ["-", "-"]


def test_a_tie_by_hand():
    # Gaps 0.01, -0.01, 0.02: mean 0.006667, deviation 0.015275, t = 0.755929, with 2 degrees of
    # freedom p = 1 - t / sqrt(t^2 + 2) = 0.5286. The other two gaps are 0.30, 0.29, 0.31, with
    # t = 51.96, and 0.29, 0.30, 0.29, with t = 88: p = 0.00037 and 0.00013.
    comparison = compared(
        *repeats("hard", [0.50, 0.52, 0.51]),
        *repeats("lpqld", [0.79, 0.82, 0.80]),
        *repeats("soft", [0.80, 0.81, 0.82]),
    )
    assert [(row.method, row.rank) for row in comparison.rows] == [
        ("soft", 1),
        ("lpqld", 1),
        ("hard", 3),
    ]
    assert comparison.pairs[0, 1].p == pytest.approx(0.5286, abs=1e-4)
    assert comparison.pairs[0, 2].p_repeats == pytest.approx(0.000370, abs=1e-6)
    assert comparison.pairs[1, 2].p_repeats == pytest.approx(0.000129, abs=1e-6)
    # Corrected for three pairs: the second smallest times 3/2.
    assert comparison.pairs[0, 2].p == pytest.approx(1.5 * 0.000370, abs=2e-6)
    assert rank_texts(comparison) == ["1=", "1=", "3"]


def test_both_tests_must_find_it():
    # One test image makes all of the gap, in every repeat: other images might not show it.
    base = np.arange(TESTS) < 50
    more = base.copy()
    more[50] = True
    found = [record("some", seed, right=base) for seed in range(3)]
    found += [record("other", seed, right=more) for seed in range(3)]
    comparison = compared(*found)
    assert comparison.pairs[0, 1].p_repeats == 0.0
    assert comparison.pairs[0, 1].p_images == pytest.approx(0.32, abs=0.01)  # t = 1
    assert ranks(*found) == {"some": 1, "other": 1}


def test_a_row_with_too_few_repeats_has_no_rank_and_takes_none_away():
    best, less = repeats("soft", [0.8, 0.8, 0.8]), repeats("hard", [0.5, 0.5, 0.5])
    assert ranks(*best, *less, record("hello", 0, 0.9)) == {"hello": None, "soft": 1, "hard": 2}
    lone = compared(record("hello"))
    assert rank_texts(lone) == ["n too small"]


def test_pairs_are_of_the_same_seeds():
    # Alone, these means are far apart; the repeats that both have are too few.
    one = [record("soft", seed, 0.8) for seed in range(3)]
    two = [record("hard", seed, 0.5) for seed in range(2, 5)]
    comparison = compared(*one, *two)
    assert comparison.pairs[0, 1].n == 1
    assert [row.rank for row in comparison.rows] == [1, None]
    assert [(row.n, row.asked) for row in comparison.rows] == [(3, 5), (3, 5)]


def test_a_row_that_is_better_where_both_were_measured_ranks_no_lower():
    # The first mean is higher only by two seeds that the other row lacks.
    one = repeats("soft", [0.50, 0.51, 0.50, 0.99, 0.99])
    two = repeats("hard", [0.60, 0.61, 0.61])
    assert ranks(*one, *two) == {"soft": 1, "hard": 1}
    assert compared(*one, *two).pairs[0, 1].differ


def test_draws_of_the_images_are_repeats():
    found = [
        record(method, seed, accuracy, images=f"random[draw={draw}]" if draw else "random")
        for method, accuracy in (("hard", 0.5), ("soft", 0.6))
        for draw in range(2)
        for seed in range(2)
    ]
    comparison = compared(*found, *repeats("hard", [0.4], images="random[a=1,draw=3,b=2]"))
    assert [(r.images, r.method, r.n, r.asked, r.rank) for r in comparison.rows] == [
        ("random", "soft", 4, 4, 1),
        ("random", "hard", 4, 4, 2),
        ("random[a=1,b=2]", "hard", 1, 1, None),
    ]
    assert comparison.pairs[0, 1].n == 4
    assert list(comparison.rows[0].correct) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_draw_with_more_seeds_counts_once():
    def of(method, draw, seed, accuracy):
        return record(method, seed, accuracy, images=f"random[draw={draw}]" if draw else "random")

    plain = [of(method, d, d, a) for method, a in (("hard", 0.3), ("soft", 0.5)) for d in range(3)]
    more = [of("soft", 0, seed, 0.9) for seed in range(3, 12)]
    comparison = compared(*plain, *more)
    soft, hard = comparison.rows
    assert [(row.method, row.n, row.asked, row.rank) for row in (soft, hard)] == [
        ("soft", 3, 3, 1),
        ("hard", 3, 3, 2),
    ]
    assert soft.accuracy[0] == pytest.approx((0.86 + 0.5 + 0.5) / 3)
    also = [of("hard", 0, seed, 0.9) for seed in range(3, 12)]
    pair = compared(*plain, *more, *also).pairs[0, 1]
    assert pair.n == 3
    assert pair.difference == pytest.approx((0.02 + 0.2 + 0.2) / 3)


def test_missing_cells_are_asked_for():
    absent = [missing("lpqld", 0), missing("lpqld", 1), missing("hello", 1), missing("soft", 0)]
    absent[-1]["dataset"] = "mnist"
    comparison = compared(*PLAIN, missing=absent)
    assert {row.method: (row.n, row.asked) for row in comparison.rows} == {
        "hard": (2, 2),
        "hello": (1, 2),
        "lpqld": (0, 2),
    }
    assert comparison.rows[-1].rank is None
    assert rank_texts(comparison)[-1] == ""


def test_cells_that_failed_are_told_from_those_that_are_missing():
    lost = [missing("lpqld", 0), missing("hello", 1), missing("hard", 0)]
    comparison = compared(*PLAIN, missing=[missing("lpqld", 1)], failed=lost)
    assert {row.method: (row.n, row.asked, row.failed) for row in comparison.rows} == {
        "hard": (2, 2, 0),  # measured after all
        "hello": (1, 2, 1),
        "lpqld": (0, 2, 1),
    }


def test_options_that_a_label_hides_tell_rows_apart():
    two = [record("hello", 0, options={"rank": rank, "same": 1}) for rank in (4, 8)]
    other = record("hello", 0, ipc=1, options={"rank": 8, "same": 1})
    small, large = comparisons([*two, other], [missing("hello", 1)])
    assert [(row.method, row.asked) for row in small.rows] == [("hello", 1)]
    assert sorted((row.method, row.asked) for row in large.rows) == [
        ("hello (rank=4)", 2),
        ("hello (rank=8)", 2),
    ]


def version(commit, *seeds: int, accuracy: float = 0.5) -> list:
    found = [record("hard", seed, accuracy, key=f"{commit}-{seed}") for seed in seeds]
    for made in found:
        made["environment"] = {**made["environment"], "commit": commit}
    return found


def test_of_several_versions_the_one_with_most_repeats_counts():
    old, new = version("aaa", 0, 1), version("bbb", 1, 2, 3)
    comparison = compared(*new, *old, *version(None, 3))
    (row,) = comparison.rows
    assert [record["key"] for record in row.records] == ["aaa-0", "bbb-1", "bbb-2", "bbb-3"]
    assert sorted(record["key"] for record in comparison.left_out) == ["None-3", "aaa-1"]
    assert len(comparison.records) == 4


def test_other_test_sets_make_no_pairs():
    other = repeats("lpqld", [0.7] * 3)
    for made in other:
        made["result"]["test_images"] -= 1
    comparison = compared(*other, *repeats("hard", [0.5] * 3))
    assert [pair.n for pair in comparison.pairs.values()] == [0]
    assert [row.rank for row in comparison.rows] == [1, None]


def test_the_largest_repeat_is_what_a_row_ships():
    row = compared(record("soft", 0, total=900), record("soft", 1, total=1_000)).rows[0]
    assert row.storage["total"] == 1_000


def test_the_order_of_records_does_not_matter():
    found = [*PLAIN, *repeats("soft", [0.3, 0.6, 0.5]), *repeats("lpqld", [0.5, 0.5, 0.52])]
    assert compared(*found) == compared(*found[::-1])


def test_ten_thousand_records():
    draw = np.random.Generator(np.random.PCG64(0))
    found = [
        record(f"m{m}", seed, right=draw.random(1000) < 0.2 + m / 200, dataset=f"d{d}", ipc=ipc)
        for d in range(20)
        for ipc in (1, 10)
        for m in range(50)
        for seed in range(5)
    ]
    made = comparisons(found)
    assert len(found) == 10_000
    assert len(made) == 40
    assert all(len(c.rows) == 50 and len(c.pairs) == 50 * 49 // 2 for c in made)
    for comparison in made:
        ranked = [row.rank for row in comparison.rows if row.rank is not None]
        assert ranked == sorted(ranked)
        assert ranked[0] == 1
        means = [row.accuracy[0] for row in comparison.rows]
        assert all(a >= b for a, b in pairwise(means))
    assert len(tables(made)) == 5 * 40


def test_a_row_is_named_by_images_and_method():
    assert Row("rded", "hard", (), 3).name == ("rded", "hard")
    assert CELL["images"] == "rded"
