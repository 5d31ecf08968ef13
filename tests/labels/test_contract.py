from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import pictures, reloaded, shipped, tiny_task

from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.images import ResidentImages
from benchmark.data.recipe import Augmentation, Objective
from benchmark.labels.contract import divergence
from benchmark.labels.task import TaskShape
from benchmark.methods.hard import Hard
from benchmark.methods.soft import Soft


@pytest.fixture
def task(tmp_path):
    return tiny_task(tmp_path / "scratch")


def test_sizes_of_a_task(task):
    assert task.shape == TaskShape(10, images=20, batches=3, epochs=4, resolution=8)
    assert (task.shape.labels, task.shape.soft_bytes) == (80, 1600)


def test_the_fit_alone_sees_teacher_and_training_set(task):
    assert len(task.fitting()) == 3
    with pytest.raises(RuntimeError, match="only there during fit"):
        shipped(task).fitting()


@pytest.mark.parametrize("method", [Hard, Soft])
def test_artefacts_of_something_else_are_refused(task, tmp_path, method):
    reloaded(method.fit(task, method.Options()), tmp_path / "saved")
    names = task.images.class_names
    relabelled = task.images.labels.flip(0)
    wrong = {
        "other classes than nought, one, two": {
            "images": ResidentImages(task.images.pixels, task.images.labels, ("nought", *names[1:]))
        },
        "other classes than one, zero, two": {
            "images": ResidentImages(
                task.images.pixels, task.images.labels, (names[1], names[0], *names[2:])
            )
        },
        "made for the images of SHA-256": {"images": pictures(20, seed=5)},
        rf"not for these \({pictures(19).digest[:16]}": {"images": pictures(19)},
        "for the images of": {"images": ResidentImages(task.images.pixels, relabelled, names)},
        "made for another view plan": {"plan": replace(task.plan, seed=1)},
        "another view plan: .*'epochs': 4.*, not .*'epochs': 5": {
            "plan": replace(task.plan, epochs=5)
        },
        "another view plan: ": {"plan": replace(task.plan, augmentation=Augmentation((0.5, 1.0)))},
    }
    for message, change in wrong.items():
        with pytest.raises(ArtefactError, match=message):
            method.load(tmp_path / "saved", replace(shipped(task), **change))


def test_storage_is_the_same_before_and_after_saving(task, tmp_path):
    source = Soft.fit(task, Soft.Options())
    before = source.storage()
    assert source.folder is None
    (tmp_path / "saved").mkdir()
    source.save(tmp_path / "saved")
    size = sum(path.stat().st_size for path in (tmp_path / "saved").iterdir())
    assert source.storage() == before
    assert before.total == before.as_dict()["total"] == size


def test_methods_of_one_size_refuse_a_budget(task):
    with pytest.raises(UserError, match="hard has no setting that changes its size"):
        Hard.resolve_options(Hard.Options(), task.shape, 10**9)
    assert Hard.resolve_options(Hard.Options(), task.shape, None) == Hard.Options()


def loss_of(task, method, objective, targets, logits):
    source = method(replace(task, objective=objective), method.Options(), *[None][: method is Soft])
    return source.loss(logits, targets, task.plan.batch(0, 0), 0).item()


def test_losses_by_hand(task):
    logits, wanted = torch.randn(7, 10), torch.randn(7, 10)
    views = task.plan.batch(0, 0)
    entropy = -(task.hard_labels(views) * logits.log_softmax(1)).sum(1).mean().item()
    kept, student = (wanted / 4).softmax(1), (logits / 4).log_softmax(1)
    softened = (kept * (kept.log() - student)).sum(1).mean().item()
    squared = ((wanted - logits) ** 2).mean().item()
    sharp = wanted.softmax(1)
    plain = (sharp * (sharp.log() - logits.log_softmax(1))).sum(1).mean().item()

    def found(method, targets, **objective):
        return loss_of(task, method, Objective(**objective), targets, logits)

    assert found(Soft, wanted, temperature=4) == pytest.approx(softened, rel=1e-5)
    assert found(Soft, wanted, loss="mse") == pytest.approx(squared, rel=1e-5)
    assert found(Hard, sharp, temperature=4) == pytest.approx(plain, rel=1e-5)
    assert found(Hard, sharp, loss="mse") == pytest.approx(plain, rel=1e-5)
    assert found(Soft, wanted, temperature=4, rescale=True) == pytest.approx(
        16 * softened, rel=1e-5
    )
    # Probabilities are compared at temperature 1; squared errors know none.
    assert found(Hard, sharp, temperature=4, rescale=True) == pytest.approx(plain, rel=1e-5)
    assert found(Soft, wanted, loss="mse", rescale=True) == pytest.approx(squared, rel=1e-5)
    scaled = found(Soft, wanted, temperature=4, rescale=True, ce_weight=0.5)
    assert scaled == pytest.approx(16 * softened + 0.5 * entropy, rel=1e-5)
    both = found(Soft, wanted, temperature=4, ce_weight=0.5)
    assert both == pytest.approx(softened + 0.5 * entropy, rel=1e-5)


def test_divergence_of_equals_is_nil():
    logits = torch.randn(5, 10)
    assert divergence(logits, logits + 3, 2.0).item() == pytest.approx(0, abs=1e-6)
    assert divergence(logits, 2 * logits, 2.0).item() > 1e-3


def test_logits_become_probabilities_for_other_loops(task):
    logits = torch.randn(5, 10)
    objective = Objective(temperature=4)
    soft = Soft(replace(task, objective=objective), None, logits)
    assert torch.allclose(soft.probabilities(logits), F.softmax(logits / 4, 1))
    hard = Hard(replace(task, objective=objective), None)
    assert hard.probabilities(logits) is logits
