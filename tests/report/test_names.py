import pytest

from benchmark.report.names import label, short_name, short_names, size


@pytest.mark.parametrize(
    ("method", "short"),
    [
        ("lpqld[budget=40x]", "LPQLD 40x"),
        ("lpqld[calibrate=false,budget=40x]", "LPQLD 40x"),
        ("transform[budget=8000]", "Transform coder 8 kB"),
        ("transform[budget=2500000]", "Transform coder 2.5 MB"),
        ("hello[epochs=3]", "HeLlO"),
        ("hard", "Hard labels"),
        ("ld_rr (epochs=3)", "LD-RR"),
        ("elsewhere[budget=4 kB]", "elsewhere 4 kB"),
    ],
)
def test_a_short_name_is_the_title_and_the_size(method, short):
    assert short_name(method) == short


def test_names_of_one_table_are_apart():
    methods = ["lpqld[budget=40x]", "lpqld[calibrate=false,schedule=none,budget=40x]", "soft"]
    methods += [
        "hello[epochs=3]",
        "hello[epochs=4]",
        "ld (epochs=3, lr=0.1)",
        "ld (epochs=4, lr=0.1)",
    ]
    assert [*short_names(methods).values()] == [
        "LPQLD 40x",
        "LPQLD 40x, calibrate=false, schedule=none",
        "Soft labels",
        "HeLlO, epochs=3",
        "HeLlO, epochs=4",
        "LD, epochs=3",
        "LD, epochs=4",
    ]


def test_a_label_falls_into_its_parts():
    parts = label("lpqld[k=4,budget=40x] (epochs=3)")
    assert (parts.family, parts.budget, parts.others) == ("lpqld", "40x", ("k=4", "epochs=3"))
    assert label("hard").options == ()
    assert label("odd]name[x").options == ("[x",)


def test_sizes_have_few_figures():
    assert [size(n) for n in (0, 999, 1000, 999_499, 999_500, 7_400_000)] == [
        *("0 B", "999 B", "1 kB", "999 kB", "1 MB", "7.4 MB"),
    ]
