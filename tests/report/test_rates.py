import pytest
from present import present
from synthetic import record

from benchmark.records.comparison import comparisons
from benchmark.report.leaderboard import tables
from benchmark.report.rates import rates, without_budget


def measured(method, *points, seeds=3):
    """Of (bytes, accuracy); a budget for each."""
    return [
        record(f"{method}[budget={size}]", seed, accuracy, total=size)
        for size, accuracy in points
        for seed in range(seeds)
    ]


def control(method, accuracy, total, seeds=3):
    return [record(method, seed, accuracy, total=total) for seed in range(seeds)]


LPQLD = measured("lpqld", (1000, 0.4), (2000, 0.45), (4000, 0.5))
HALF = measured("transform", (500, 0.4), (1000, 0.45), (2000, 0.5))
CONTROLS = [*control("hard", 0.3, 500), *control("soft", 0.5, 100_000)]


def of(*records):
    (comparison,) = comparisons(records)
    return {rate.method: rate for rate in rates(comparison)}


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("lpqld[budget=40x]", "lpqld"),
        ("lpqld[budget=40x,k=2]", "lpqld[k=2]"),
        ("lpqld[calibrate=false,budget=1000,k=2]", "lpqld[calibrate=false,k=2]"),
        ("lpqld[calibrate=false,budget=1000]", "lpqld[calibrate=false]"),
        ("soft", "soft"),
    ],
)
def test_a_curve_is_a_method_without_its_budget(label, name):
    assert without_budget(label) == name


def test_half_the_bytes_of_lpqld():
    found = of(*LPQLD, *HALF, *CONTROLS)
    assert found.keys() == {"lpqld", "transform"}  # controls have one size each
    assert found["lpqld"].against is None
    assert present(found["transform"].against).bytes == pytest.approx(-0.5)
    assert present(found["transform"].against).bytes_interval == pytest.approx((-0.5, -0.5))
    # 95 % of 20 points over 30 %: 49 %, between 1,000 and 2,000 bytes.
    saves = {method: 1 + present(rate.saves.bytes) for method, rate in found.items()}
    assert 0.01 < saves["transform"] < 0.02
    assert saves["lpqld"] == pytest.approx(2 * saves["transform"])
    low, high = present(found["lpqld"].saves.interval)
    assert low == pytest.approx(high)


def test_what_was_not_measured_is_not_there():
    found = of(*HALF, *CONTROLS)
    assert found["transform"].against is None
    assert of(*LPQLD, *CONTROLS[:3])["lpqld"].saves.why_not == "all labels not measured"
    none = of(*LPQLD)["lpqld"].saves
    assert (none.bytes, none.why_not) == (None, "hard labels and all labels not measured")
    weak = measured("ld", (500, 0.31), (900, 0.33))
    assert of(*weak, *CONTROLS)["ld"].saves.why_not == "not reached: 15 % at most"


def test_the_table_says_it_in_per_cent_and_points():
    (comparison,) = comparisons([*LPQLD, *HALF, *CONTROLS])
    (table,) = [t for t in tables([comparison]) if t.kind == "rates"]
    first = table.frame.iloc[0].to_dict()
    assert first["method"] == "transform"
    assert first["bytes"] == "500 to 2,000"
    assert first["bytes against lpqld"] == "-50 % (-50 to -50)"
    assert first["points against lpqld"].startswith("+")
    assert first["bytes against soft, at 95 % of its gain"].startswith("-98.")
    assert next(t.kind for t in tables([comparison])) == "rates"  # what it all comes to


def test_curves_that_do_not_meet_say_so():
    far = measured("hello", (10**6, 0.7), (10**7, 0.8))
    (comparison,) = comparisons([*LPQLD, *far])
    (table,) = [t for t in tables([comparison]) if t.kind == "rates"]
    row = table.frame[table.frame["method"] == "hello"].iloc[0]
    assert row["bytes against lpqld"] == (
        "no accuracy in common: 70.0 to 80.0 % against 40.0 to 50.0 %"
    )
    assert row["points against lpqld"] == (
        "no bytes in common: 1,000,000 to 10,000,000 B against 1,000 to 4,000 B"
    )
    assert row["bytes in all against lpqld"] == "-"


def test_all_bytes_count_images_and_prior():
    """Half of lpqld's label bytes is little of all bytes, which are mostly images and prior."""
    found = of(*LPQLD, *HALF)["transform"]
    assert present(found.against).bytes == pytest.approx(-0.5)
    # Of 6,500 to 8,000 bytes against 7,000 to 10,000, images as PNG.
    assert -0.2 < present(present(found.in_all).bytes) < -0.05
    heavy = [
        record(f"hello[budget={size}]", s, a, total=size, prior="embedded")
        for size, a in ((500, 0.4), (1000, 0.45), (2000, 0.5))
        for s in range(3)
    ]
    for made in heavy:
        made["storage"]["prior"] = 7_400_000
    hello = of(*LPQLD, *heavy)["hello"]
    assert present(hello.against).bytes == pytest.approx(-0.5)
    assert present(present(hello.in_all).bytes) > 100


def test_a_curve_is_the_same_whatever_the_order_of_its_records():
    one, two = of(*LPQLD, *HALF, *CONTROLS), of(*CONTROLS[::-1], *HALF[::-1], *LPQLD[::-1])
    assert one == two


def test_without_curves_there_is_no_table():
    (comparison,) = comparisons(CONTROLS)
    assert "rates" not in [t.kind for t in tables([comparison])]
