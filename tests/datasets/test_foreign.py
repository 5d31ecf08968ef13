import json

import pytest
import torch
from tiny import run_main, run_tiny  # type: ignore[import-not-found]

from benchmark.core.errors import UserError
from benchmark.data.images import UNLABELLED, ResidentImages
from benchmark.datasets.distilled import foreign

QUICK = ("--methods", "soft", "--controls")


def test_the_first_of_a_shuffled_pass(monkeypatch):
    class Task:
        ipc, seed = 2, 0

        class dataset:
            class_names = ("a", "b", "c")
            train = ResidentImages(
                torch.zeros(3, 1, 4, 4, dtype=torch.uint8), torch.arange(3), "abc"
            )

        class Other:
            train = ResidentImages(
                torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1).expand(-1, 1, 4, 4),
                torch.zeros(12, dtype=torch.int64),
                ("x",),
            )

    Task.others = {"others": Task.Other}  # type: ignore[attr-defined]
    made = foreign.Foreign(foreign.Options("others")).make(Task)  # type: ignore[arg-type]
    assert made.labels.tolist() == [UNLABELLED] * 6
    assert not made.labelled
    assert made.class_names == ("a", "b", "c")
    values = made.pixels[:, 0, 0, 0].tolist()
    assert len(set(values)) == 6
    other = foreign.Foreign(foreign.Options("others", draw=1)).make(Task)  # type: ignore[arg-type]
    assert other.pixels[:, 0, 0, 0].tolist() != values
    Task.ipc = 5
    with pytest.raises(UserError, match=r"needs 15 images, but others has 12: .* at most 4"):
        foreign.Foreign(foreign.Options("others")).make(Task)  # type: ignore[arg-type]


def test_channels_and_size_follow_the_task():
    grey = torch.full((2, 1, 8, 8), 100, dtype=torch.uint8)
    assert foreign.fitted(grey, 3, 16).shape == (2, 3, 16, 16)
    assert foreign.fitted(grey, 3, 16).unique().tolist() == [100]
    red = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    red[:, 0] = 200
    assert foreign.fitted(red, 1, 4).unique().tolist() == [60]


def test_students_learn_from_foreign_images(tmp_path, monkeypatch):
    """Digits stand in for another dataset; no record of hard labels is made for them."""
    table = run_tiny(tmp_path, "--images", "foreign[dataset=digits]", *QUICK)
    records = [json.loads(p.read_text()) for p in (tmp_path / "records").glob("*.json")]
    shown = {(r["cell"]["images"], r["cell"]["method"]) for r in records}
    assert ("foreign:digits", "soft") in shown
    assert ("foreign:digits", "hard") not in shown
    assert ("random", "hard") in shown
    assert "foreign:digits" in table


def test_the_other_dataset_stands_after_a_colon():
    code, _, err = run_main(
        "run",
        "--dataset",
        "digits",
        "--images",
        "foreign:nowhere",
        "--methods",
        "soft",
        "--dry-run",
    )
    assert code == 2
    assert "Unknown dataset 'nowhere'" in err


def test_hard_labels_of_foreign_images_are_refused(tmp_path):
    code, _, err = run_main(
        *("run", "--dataset", "digits", "--images", "foreign[dataset=digits]", "--no-controls"),
        *("--methods", "hard", "--students", "convnet-d2-w8", "--teacher", "convnet-d2-w8"),
        *("--ipc", "1", "--seeds", "1", "--recipe", "quick", "--set", "teacher.epochs=1"),
        *("--work", tmp_path),
    )
    assert code == 2
    assert "show none of the classes" in err


def test_a_dataset_must_be_named():
    with pytest.raises(ValueError, match=r"as in foreign:omniglot:Latin"):
        foreign.Options()
