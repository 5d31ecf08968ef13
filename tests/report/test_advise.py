import shlex

import pytest
from synthetic import record

from benchmark.core.errors import UserError
from benchmark.records.comparison import comparisons
from benchmark.report.advise import Question, advise


def measured(method, accuracy, total, seeds=3, **changes):
    """Repeats a point apart."""
    return [
        record(method, seed, accuracy + 0.01 * (seed - 1), total=total, **changes)
        for seed in range(seeds)
    ]


HARD = measured("hard", 0.50, 500)
SMALL = measured("lpqld[budget=1000]", 0.70, 1000)
LARGE = measured("lpqld[budget=9000]", 0.80, 9000)
SOFT = measured("soft", 0.90, 90_000)
RECORDS = [*HARD, *SMALL, *LARGE, *SOFT]


def asked(records, size, **question):
    return advise(comparisons(records), Question("digits", size, **question))


def test_the_best_that_fits_and_what_more_bytes_would_buy():
    (answer,) = asked(RECORDS, 1000)
    assert answer.best.method == "lpqld[budget=1000]"
    assert answer.as_good == ()  # hard is shown to be worse
    assert answer.more.method == "lpqld[budget=9000]"  # the next, not the best
    assert "take lpqld[budget=1000] on rded images: 70.0 ± 2.5 % (n = 3), 1,000 B" in answer.text()
    (answer,) = asked(RECORDS, 10**6)
    assert answer.best.method == "soft"
    assert answer.more is None


def test_what_is_not_shown_to_be_worse_is_named():
    near = measured("hello", 0.70, 900)
    (answer,) = asked([*RECORDS, *near], 1000)
    names = {answer.best.method, *(row.method for row in answer.as_good)}
    assert names == {"lpqld[budget=1000]", "hello"}


def test_a_method_that_needs_a_prior_can_be_ruled_out():
    hello = measured("hello", 0.75, 900, prior="embedded")
    for one in hello:
        one["storage"]["prior"] = 7_400_000
    (answer,) = asked([*RECORDS, *hello], 1000)
    assert answer.best.method == "hello"
    assert "beside embedded (7,400,000 B)" in answer.text()
    (answer,) = asked([*RECORDS, *hello], 1000, without_prior=True)
    assert answer.best.method == "lpqld[budget=1000]"
    assert not any(row.prior for row in answer.as_good)


def test_where_nothing_fits_it_says_what_is_smallest():
    (answer,) = asked(RECORDS, 100)
    assert answer.best is None
    assert answer.more.method == "hard"
    assert "nothing that was measured fits; the smallest takes 500 B" in answer.text()


def test_few_repeats_are_said_to_be_few():
    (answer,) = asked(measured("hard", 0.5, 500, seeds=1), 1000)
    assert "too few repeats to say how sure that is" in answer.text()


def test_each_comparison_answers_for_itself():
    other = [*measured("hard", 0.3, 500, ipc=1), *measured("ld", 0.95, 600, ipc=50)]
    found = asked([*RECORDS, *other], 1000)
    assert [(a.setting.ipc, a.best.method) for a in found] == [
        (50, "ld"),
        (10, "lpqld[budget=1000]"),
        (1, "hard"),
    ]
    (answer,) = asked([*RECORDS, *other], 1000, ipc=1)
    assert answer.setting.ipc == 1


def test_methods_never_measured_come_with_the_command_that_does():
    (answer,) = asked(RECORDS, 1000)
    assert "hello" in answer.unmeasured
    assert not {"hard", "lpqld", "soft"} & set(answer.unmeasured)
    words = shlex.split(answer.measure)
    assert words[:4] == ["python", "-m", "benchmark", "run"]
    given = dict(zip(words[4::2], words[5::2], strict=True))
    assert given["--dataset"] == "digits"
    assert given["--budget"] == "1000"
    assert given["--methods"].split(",") == list(answer.unmeasured)


def test_what_was_not_measured_at_all_is_refused_with_what_was():
    with pytest.raises(UserError, match=r"measured of digits, IPC 3\. There are: digits"):
        asked(RECORDS, 1000, ipc=3)
