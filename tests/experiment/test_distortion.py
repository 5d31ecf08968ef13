"""`distortion`: labels beside the teacher's, without a student."""

import math
from typing import Any, cast

import pytest
from tiny import WORDS, reloaded, run_main, tiny_task
from torch import Tensor, nn

from benchmark.core import plugins
from benchmark.experiment.distortion import look
from benchmark.labels.contract import method
from benchmark.models.classifier import Classifier
from benchmark.records import measurements


@pytest.fixture(autouse=True)
def _no_plugins(monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})


def seen(tmp_path, *words: object) -> list[Any]:
    code, out, err = run_main("distortion", *WORDS, "--work", tmp_path, *words)
    assert code == 0, err
    assert out.startswith("DISTORTION | digits, IPC 2, ")
    return measurements.read([tmp_path])


def test_the_teachers_own_labels_lose_nothing_and_hard_ones_much(tmp_path):
    found = {r["cell"]["method"]: r for r in seen(tmp_path, "--methods", "soft,hard,teacher")}
    for name in ("soft", "teacher"):
        assert found[name]["loss"]["divergence"] == pytest.approx(0, abs=1e-4)
        assert found[name]["loss"]["squared_error"] == pytest.approx(0, abs=1e-4)
    assert found["hard"]["loss"]["squared_error"] is None
    assert found["hard"]["loss"]["divergence"] > 0.1
    assert found["hard"]["bytes"] < found["soft"]["bytes"]
    spectrum = [found["soft"]["spectrum"][k] for k in ("1", "2", "4", "8", "10")]
    assert spectrum == sorted(spectrum)
    assert spectrum[-1] == pytest.approx(1)
    assert found["soft"]["spectrum"].keys() == {"1", "2", "4", "8", "10"}


def test_more_bytes_lose_less(tmp_path):
    found = seen(tmp_path, "--methods", "transform", "--budget", "400,800", "--no-controls")
    small, large = sorted(found, key=lambda r: r["bytes"])
    assert small["bytes"] <= 400 < large["bytes"] <= 800
    assert {r["cell"]["method"] for r in found} == {
        "transform[budget=400]",
        "transform[budget=800]",
    }
    assert measurements.collect([tmp_path], tmp_path / "published" / "distortion.jsonl") == (2, 2)
    out = tmp_path / "tables"
    code, told, err = run_main("leaderboard", tmp_path / "published", "--out", out)
    assert code == 0, err
    assert told.startswith("DISTORTION | digits, IPC 2, ")
    assert not (out / "site" / "speed.html").exists()  # no time was taken


class Doubled(nn.Module):
    """A teacher whose logits are another's times two."""

    def __init__(self, teacher: nn.Module) -> None:
        super().__init__()
        self.teacher = teacher

    def forward(self, pixels: Tensor) -> Tensor:
        return 2 * self.teacher(pixels)


def test_figures_are_those_worked_out_by_hand(tmp_path):
    """Labels of half the logits: a quarter of the power is wrong, the same classes come first."""
    task = tiny_task(tmp_path / "scratch")
    soft = method("soft")
    source = reloaded(soft.fit(task, soft.Options()), tmp_path / "labels")
    teacher = cast(Classifier, task.teacher)
    found = look(source, cast(Classifier, Doubled(teacher)))
    assert found.loss["squared_error"] == pytest.approx(0.25, abs=1e-3)
    assert found.loss["agreement"] == 1
    assert found.loss["divergence"] > 0.001
    assert found.looked_at == task.shape.labels  # of four epochs all are looked at
    assert math.isclose(found.spectrum["10"], 1.0)
    same = look(source, teacher).loss
    assert same["divergence"] == pytest.approx(0, abs=1e-5)
    assert same["squared_error"] == pytest.approx(0, abs=1e-5)
