from pathlib import Path

import pytest
from tiny import run_main

from benchmark.cli.advise import byte_count
from benchmark.core.errors import UserError

RECORDS = Path(__file__).parents[2] / "results" / "digits-quick.jsonl"


@pytest.mark.parametrize(
    ("text", "count"), [("500", 500), ("10kB", 10_000), ("1.5 MB", 1_500_000), ("2KiB", 2048)]
)
def test_bytes_have_units(text, count):
    assert byte_count(text) == count


@pytest.mark.parametrize("text", ["", "kB", "10 k", "-5", "10kb"])
def test_what_is_no_number_of_bytes_is_refused(text):
    with pytest.raises(UserError, match="valid: a number, and after it one of B, kB"):
        byte_count(text)


def test_the_published_records_answer():
    words = ("--dataset", "digits", "--bytes", "4kB", "--records", RECORDS)
    code, out, _ = run_main("advise", *words)
    assert code == 0
    assert "take lpqld on rded images: 91.0 ± 1.3 % (n = 5), 3,661 B" in out
    assert "not shown to be worse: hard on random images" in out


def test_a_dataset_without_records_is_refused():
    words = ("--dataset", "digit", "--bytes", "4kB", "--records", RECORDS)
    code, out, err = run_main("advise", *words)
    assert (code, out) == (2, "")
    assert "Nothing was measured of digit. There are: digits, IPC 10" in " ".join(err.split())
