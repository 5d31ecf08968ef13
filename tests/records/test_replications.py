import json

import pytest
from synthetic import record, repeats, world

from benchmark.records.comparison import comparisons
from benchmark.records.replications import replications
from benchmark.records.worlds import places
from benchmark.report.latex import latex
from benchmark.report.leaderboard import Table, tables
from benchmark.report.tables import as_json

HERE, THERE = world(), world(device="cpu", hardware="AMD EPYC", threads=2)


def elsewhere(made, accuracies, place=THERE, **changes):
    """The same cells in another world, where the teacher came out a little different."""
    found = repeats(made[0]["cell"]["method"], accuracies, world=place, **changes)
    for one, other in zip(made, found, strict=False):
        other["key"] = one["key"]
        other["inputs"] = {**other["inputs"], "teacher_accuracy": 0.94}
    return found


HARD = repeats("hard", [0.50, 0.52, 0.51])
SOFT = repeats("soft", [0.80, 0.81, 0.82])


def made(*found) -> Table:
    (table,) = (t for t in tables(comparisons(found)) if t.kind == "replications")
    return table


def test_worlds_stand_in_comparisons_of_their_own():
    found = comparisons([*HARD, *elsewhere(HARD, [0.49, 0.50, 0.49])])
    assert [c.setting.title.partition("(")[2] for c in found] == [
        "94.00%), AMD EPYC, 2 threads, torch 1.0, fp32",
        "95.00%), NVIDIA Test, torch 1.0, fp32",
    ]
    assert all(row.n == 3 for c in found for row in c.rows)


def test_precisions_stand_in_comparisons_of_their_own():
    low = repeats("soft", [0.8] * 3, precision="bf16")
    assert [len(c.rows) for c in comparisons([*HARD, *low])] == [1, 1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, {"NVIDIA Test, torch 1.0"}),
        ({"torch": "2.0"}, {"NVIDIA Test, torch 1.0", "NVIDIA Test, torch 2.0"}),
        (
            {"numpy": "2.0", "python": "3.11.7"},
            {
                "NVIDIA Test, torch 1.0, numpy 1.0, python 3.12.1",
                "NVIDIA Test, torch 1.0, numpy 2.0, python 3.11.7",
            },
        ),
    ],
)
def test_a_world_says_what_tells_it_from_others(changes, words):
    found = comparisons([record("hard"), record("soft", world=world(**changes))])
    assert {c.setting.place for c in found} == words


def test_one_thread_is_one_thread():
    assert places({"x": world(device="cpu", threads=1)}) == {
        "x": "NVIDIA Test, 1 thread, torch 1.0"
    }


def test_how_far_worlds_differ_by_hand():
    # Gaps 0.10, 0.09, 0.11 are shown (t = 17.3); gaps 0.00, -0.01, 0.01 have the mean 0.
    table = made(
        *HARD, *elsewhere(HARD, [0.40, 0.43, 0.40]), *SOFT, *elsewhere(SOFT, [0.80, 0.82, 0.81])
    )
    assert table.title == "digits, IPC 10, convnet-d3, recipe quick, teacher resnet18, fp32"
    assert table.frame.to_dict("records") == [
        {
            **{"images": "rded", "method": "hard", "n": "3", "world 1 %": "41.00"},
            **{"world 2 %": "51.00", "largest difference": "10.00", "shown": "yes"},
        },
        {
            **{"images": "rded", "method": "soft", "n": "3", "world 1 %": "81.00"},
            **{"world 2 %": "81.00", "largest difference": "0.00", "shown": "no"},
        },
    ]
    assert table.below == (
        "World 1: AMD EPYC, 2 threads, torch 1.0; world 2: NVIDIA Test, torch 1.0."
    )


def test_only_what_both_have_is_held_against_each_other():
    table = made(*HARD, *elsewhere(HARD[:1], [0.40]), *SOFT)
    assert table.frame.to_dict("records") == [
        {
            **{"images": "rded", "method": "hard", "n": "1", "world 1 %": "40.00"},
            **{"world 2 %": "50.00", "largest difference": "10.00", "shown": "n too small"},
        },
    ]


def test_three_worlds_and_rows_that_one_of_them_lacks():
    third = world(torch="2.0")
    table = made(
        *HARD,
        *elsewhere(HARD, [0.50, 0.52, 0.51]),
        *elsewhere(HARD, [0.40, 0.43, 0.40], third),
        *SOFT,
        *elsewhere(SOFT, [0.80, 0.82, 0.81]),
    )
    assert table.frame["world 3 %"].tolist() == ["41.00", "-"]
    assert table.frame["largest difference"].tolist() == ["10.00", "0.00"]
    assert table.frame["shown"].tolist() == ["yes", "no"]


def test_other_keys_are_no_replications():
    other = repeats("soft", [0.7] * 3, world=THERE)
    for number, one in enumerate(other):
        one["key"] = f"{number:024x}"
    assert replications(comparisons([*SOFT, *other])) == []
    assert not any(t.kind == "replications" for t in tables(comparisons([*SOFT, *other])))


def test_they_are_listed_wherever_tables_are():
    found = comparisons([*HARD, *elsewhere(HARD, [0.40, 0.43, 0.40])])
    (several,) = json.loads(json.dumps(as_json(found)))["replications"]
    assert several["rows"][0]["n"] == 3
    assert several["rows"][0]["differ"] is True
    table = made(*HARD, *elsewhere(HARD, [0.40, 0.43, 0.40]))
    assert table.markdown().startswith("### Replications: digits, IPC 10")
    assert r"\caption{Replications: digits" in latex(table)
    assert table.name.endswith("-replications")


def test_the_order_of_records_does_not_matter():
    found = [*HARD, *elsewhere(HARD, [0.4, 0.43, 0.4]), *SOFT, *elsewhere(SOFT, [0.8, 0.8, 0.8])]
    one, two = (replications(comparisons(some)) for some in (found, found[::-1]))
    assert one == two
