import re
import shlex
from pathlib import Path

import pytest
from tiny import run_main

ROOT = Path(__file__).parents[2]
RECORDS = ROOT / "results" / "digits-quick.jsonl"


def advised(*words, bytes="4kB", dataset="digits", records=RECORDS):
    return run_main("advise", "--dataset", dataset, "--bytes", bytes, "--records", records, *words)


def test_the_published_records_answer():
    """As the published table: lpqld 91.04 ± 1.31, 3,661 B; hard 2 ranks below."""
    code, out, err = advised("--images", "rded")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "take lpqld 91.04 1.31 5 3,661 -" in lines
    assert "Shown to be worse within the bytes: hard." in lines
    assert "Measured at more than 4,000 B only: teacher[weights=int8] (12,533 B), soft " in out
    assert "hello" in next(line for line in lines if line.startswith("Measured at more"))


def test_the_published_records_of_cifar10_answer_without_a_prior():
    words = ("--ipc", "10", "--student", "convnet-d3-bn", "--images", "rded", "--without-prior")
    records = ROOT / "results" / "cifar10-h100.jsonl"
    code, out, _ = advised(*words, bytes="10kB", dataset="cifar10", records=records)
    assert code == 0
    full = " ".join(out.partition("(81.76%)")[2].split())
    best = "lpqld[calibrate=false,quantise=none,schedule=none,budget="
    assert f"take {best}100x] 43.39 2.79 5 5,066 -" in full
    assert f"more bytes: better {best}40x] 50.88 1.87 5 14,069 +7.49 ± 1.36" in full
    assert "Ruled out, since a prior is needed: hello." in full


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bytes": "100"}, "Nothing that was measured of digits fits in 100 B. The smallest"),
        ({"bytes": "10kb"}, "The budget '10kb' is neither a number of bytes nor a ratio like 40x"),
        ({"dataset": "digit"}, "Unknown dataset among the records 'digit'. Did you mean 'digits'"),
    ],
)
def test_what_has_no_answer_is_refused(changes, message):
    code, out, err = advised(**changes)
    assert (code, out) == (2, "")
    assert message in " ".join(err.split())


def test_help_names_units():
    code, out, _ = run_main("advise", "--help")
    assert code == 0
    words = " ".join(out.replace("│", " ").split())
    for unit in ("4096 (bytes)", "10kB (10,000)", "2KiB (2,048)", "40x of the full labels"):
        assert unit in words


def test_the_example_in_the_documentation_prints_what_it_shows(monkeypatch):
    """What stands below `...` names methods that come and go."""
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```\n\$ python -m benchmark (advise .*?)\n\.\.\.\n```", page, re.S)
    words, _, shown = example.partition("\n")
    monkeypatch.chdir(ROOT)
    code, out, _ = run_main(*shlex.split(words))
    assert code == 0
    assert len(shown.splitlines()) > 6
    assert out.startswith(shown)
