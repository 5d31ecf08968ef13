import pytest
from synthetic import HELLO, TITLE, record, repeats, world
from tiny import run_main

from benchmark.core.errors import UserError
from benchmark.records import store
from benchmark.records.comparison import comparisons
from benchmark.report.compare import pairs_of

SOFT, HARD = [0.80, 0.81, 0.82], [0.50, 0.52, 0.51]
FOUND = [
    *repeats("soft", SOFT, total=12_300),
    *repeats("lpqld[k=2]", [0.79, 0.82, 0.80]),
    *repeats("hard", HARD),
    *repeats("hard", [0.60, 0.61, 0.60], images="path:my/images"),
    HELLO,
]


def names(found, first: str, second: str) -> list[str]:
    return [
        f"{pair.setting.dataset} {pair.first.images} {pair.first.method} "
        f"{pair.second.images} {pair.second.method}"
        for pair in pairs_of(comparisons(found), first, second)
    ]


def verdict(first: str, second: str) -> str:
    (pair,) = pairs_of(comparisons(FOUND), first, second)
    return pair.verdict


def test_verdicts():
    assert verdict("soft", "rded/hard") == "rded/soft is better."
    assert verdict("rded/hard", "soft") == "rded/soft is better."
    assert verdict("soft", "lpqld[k=2]") == "They cannot be told apart."
    assert verdict("hello", "soft") == "n too small: 1 of at least 3 pairs of repeats."


def test_the_text_by_hand():
    (pair,) = pairs_of(comparisons(FOUND), "rded/hard", "soft")
    # Gaps -0.30, -0.29, -0.31: deviation 0.01, half 4.302653 * 0.01 / sqrt(3) = 0.02484; t is
    # 51.96, p = 1 - t / sqrt(t^2 + 2) = 0.00037.
    assert pair.text().splitlines() == [
        TITLE,
        "  rded/hard  51.00 % ± 2.48, n 3, 500 bytes",
        "  rded/soft  81.00 % ± 2.48, n 3, 12,300 bytes",
        "  difference -30.00 points, 95 % interval -32.48 to -27.52, over 3 pairs of repeats",
        f"  p over repeats 0.00037, over test images {pair.pair.p_images:.2g}, "
        "the larger, corrected, 0.00037",
        "  step over bare step 1.25 and 1.25, so 1.00 times as long",
        "  rded/soft is better.",
    ]


def test_only_the_pairs_asked_for_are_corrected_together():
    other = [*repeats("soft", SOFT, dataset="mnist"), *repeats("hard", HARD, dataset="mnist")]
    found = comparisons([*FOUND, *other])
    one, two = pairs_of(found, "rded/hard", "soft")
    raw = max(p for p in (one.pair.p_repeats, one.pair.p_images) if p is not None)
    assert (one.pair.p, two.pair.p) == (raw, raw)  # two equal ones: times 2/2
    table = next(c for c in found if c.setting.dataset == "digits")
    in_table = [pair.p for pair in table.pairs.values() if pair.p_repeats == one.pair.p_repeats]
    assert raw not in in_table


def test_a_name_alone_is_taken_on_the_others_images_or_on_all():
    soft = repeats("soft", SOFT, images="path:my/images")
    assert sorted(names([*FOUND, *soft], "hard", "soft")) == [
        "digits path:my/images hard path:my/images soft",
        "digits rded hard rded soft",
    ]
    assert names([*FOUND, *soft], "hard", "rded/soft") == ["digits rded hard rded soft"]


def test_a_method_without_options_is_all_of_its_settings():
    more = repeats("lpqld[k=4]", [0.70, 0.72, 0.71])
    assert names([*FOUND, *more], "lpqld", "rded/hard") == [
        "digits rded lpqld[k=2] rded hard",
        "digits rded lpqld[k=4] rded hard",
    ]
    assert names([*FOUND, *more], "rded/lpqld", "lpqld[k=4]") == [
        "digits rded lpqld[k=2] rded lpqld[k=4]"
    ]
    # One that has a row by itself is that row alone.
    plain = repeats("lpqld", [0.70, 0.72, 0.71])
    assert names([*FOUND, *more, *plain], "lpqld", "soft") == ["digits rded lpqld rded soft"]


def test_many_pairs_are_a_table(tmp_path):
    for made in [*FOUND, *(r for k in range(4, 12) for r in repeats(f"lpqld[k={k}]", HARD))]:
        store.write(tmp_path / "records", made)
    code, out, _ = run_main("compare", "lpqld", "soft", tmp_path)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == f"COMPARE | {TITLE}, images rded"
    assert lines[1].split() == ["A", "B", "difference", "95", "%", "interval", "n", "p", "better"]
    assert lines[3].split()[:3] == ["lpqld[k=10]", "soft", "-30.00"]  # records by name
    assert lines[3].endswith("B")
    assert len(lines) == 3 + 9 + 2
    assert "corrected for the 9 above" in lines[-1]


def test_slashes_in_names_do_no_harm():
    assert names(FOUND, "path:my/images/hard", "rded/hard") == [
        "digits path:my/images hard rded hard"
    ]
    inside = repeats("lpqld[path=a/b]", SOFT, images="path:my/images")
    assert names([*FOUND, *inside], "path:my/images/lpqld[path=a/b]", "hard") == [
        "digits path:my/images lpqld[path=a/b] path:my/images hard"
    ]


def test_other_worlds_are_never_compared():
    other = repeats("soft", SOFT, world=world(hardware="Other"))
    with pytest.raises(UserError, match="'soft' and 'hard' stand together in no comparison"):
        pairs_of(comparisons([*other, *repeats("hard", HARD)]), "soft", "hard")


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("sof", "hard", r"Unknown method or IMAGES/METHOD 'sof'. Did you mean 'soft'.*, lpqld,"),
        ("soft", "rded/hrd", r"'rded/hrd'. Did you mean 'rded/hard'"),
        ("soft", "soft", r"'soft' and 'soft' are the same"),
        ("path:my/images/hard", "path:my/images/hard", "are the same"),
        ("mine", "soft", "'mine' and 'soft' stand together in no comparison"),
    ],
)
def test_names_that_cannot_be_compared(first, second, words):
    lone = record("mine", dataset="mnist")
    with pytest.raises(UserError, match=words):
        pairs_of(comparisons([*FOUND, lone]), first, second)


def test_a_missing_row_is_no_method_to_compare():
    small = repeats("ld", [0.5], ipc=1)
    assert names([*FOUND, *small, *repeats("soft", [0.4], ipc=1)], "ld", "soft") == [
        "digits rded ld rded soft"
    ]


def test_the_command(tmp_path):
    for made in FOUND:
        store.write(tmp_path / "records", made)
    code, out, _ = run_main("compare", "soft", "rded/hard", tmp_path)
    assert code == 0
    assert "  rded/soft is better.\n" in out
    assert "corrected for the 1 above by Benjamini and Hochberg" in out
    code, out, err = run_main("compare", "soft", "hrd", tmp_path)
    assert (code, out) == (2, "")
    assert err.startswith("error: Unknown method")
