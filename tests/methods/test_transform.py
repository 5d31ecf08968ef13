from dataclasses import replace
from statistics import fmean

import pytest
import torch
from tiny import reloaded, shipped

from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.rendering import render
from benchmark.labels import artefact, view_kernel
from benchmark.labels.artefact import Artefact
from benchmark.labels.label_basis import centred
from benchmark.methods import transform
from benchmark.methods.transform import STEPS, TransformCoder
from benchmark.methods.transform.options import Options


@pytest.fixture(autouse=True)
def few_views(monkeypatch):
    """Features are centred and turned by few views, which is quick."""
    monkeypatch.setattr(view_kernel, "VIEWS", 100)
    monkeypatch.setattr(view_kernel, "FEATURES", 50)


def fitted(task, budget=None, **options):
    resolved = TransformCoder.resolve_options(Options(**options), task.shape, budget)
    return TransformCoder.fit(task, resolved)


def error(source, task):
    """Squared error of all coded labels, as a share of their power."""
    wrong = power = 0.0
    for number in range(source.pool.size):
        logits = task.teacher(render(task.images.pixels, source.pool.batch(number)))
        exact = centred(logits.half())
        wrong += float((source.logits(number) - exact).square().sum())
        power += float(exact.square().sum())
    return wrong / power


def test_labels_come_back_as_near_as_the_step_says(task, tmp_path):
    """Rounding to steps of s of a share: an error of about s squared / 12 of each coefficient."""
    for number, step in enumerate((0.5, 0.1, 0.02)):
        source = fitted(task, step=step, rounding=0.5)
        loaded = reloaded(source, tmp_path / f"{number}")
        found = error(loaded, task)
        assert found == pytest.approx(source.notes["squared_error"], rel=1e-3)
        assert 0.5 < found / (0.9 * step**2 / 12) < 1.2


@pytest.mark.parametrize("predict", [True, False])
def test_what_is_loaded_is_what_was_coded(task, tmp_path, predict):
    source = fitted(task, predict=predict)
    loaded = reloaded(source, tmp_path / "saved")
    assert loaded.extra == source.extra
    torch.testing.assert_close(loaded.coefficients, source.coefficients)
    views, logits = next(loaded.stored_labels())
    assert logits.equal(loaded.targets(views, torch.empty(0), 3))


def test_prediction_saves_bytes_and_changes_no_label_by_more_than_rounding(task):
    longer = replace(task, plan=replace(task.plan, epochs=40))
    with_it, without = fitted(longer), fitted(longer, predict=False)
    assert len(with_it.code) < 0.97 * len(without.code)
    assert fmean([error(with_it, longer), error(without, longer)]) < 0.04


def test_a_budget_is_met_with_as_many_batches_as_fit(task, tmp_path):
    longer = replace(task, plan=replace(task.plan, epochs=100))
    sizes = []
    for number, budget in enumerate((1800, 2600)):
        source = fitted(longer, budget)
        source.save(_folder(tmp_path / f"{number}"))
        assert budget - 400 < source.storage().total <= budget
        sizes.append(source.extra.batches)
    assert sizes[0] < sizes[1] < longer.plan.steps


def test_where_all_batches_fit_the_step_is_finer(task, tmp_path):
    coarse, fine = fitted(task, 2000), fitted(task, 4000)
    assert coarse.extra.batches == fine.extra.batches == task.plan.steps
    assert fine.extra.step < coarse.extra.step < STEPS[-1]
    assert fine.notes["squared_error"] < coarse.notes["squared_error"]
    fine.save(_folder(tmp_path / "saved"))
    assert fine.storage().total <= 4000


def test_bytes_buy_views_up_to_a_number_and_then_finer_labels(task, monkeypatch):
    longer = replace(task, plan=replace(task.plan, epochs=30))
    monkeypatch.setattr(transform, "ENOUGH", 5)  # 13 batches of 8 for 20 images
    coarse, fine = fitted(longer, 1400), fitted(longer, 2400)
    assert coarse.extra.step == STEPS[-1]
    assert fine.extra.step < coarse.extra.step
    assert 13 <= fine.extra.batches < longer.plan.steps
    named = fitted(longer, 2400, step=0.6)  # who names a step has it
    assert named.extra.step == 0.6
    assert named.extra.batches > fine.extra.batches


def test_a_budget_too_small_for_a_batch_is_refused(task):
    with pytest.raises(UserError, match=r"budget of 1,100 bytes: the least it can take is about"):
        fitted(task, 1100)
    resolved = TransformCoder.resolve_options(Options(bytes=4), task.shape, None)
    with pytest.raises(UserError, match="does not hold one batch"):
        TransformCoder.fit(task, resolved)


def test_every_epoch_shows_coded_batches_some_mirrored(task, tmp_path):
    longer = replace(task, plan=replace(task.plan, epochs=40))
    source = reloaded(fitted(longer, batches=5), tmp_path / "saved", seed=7)
    mirrored = []
    for epoch in range(40):
        shown = list(source.views(epoch))
        assert len(shown) == longer.plan.batches
        for views in shown:
            stored = source.pool.batch(views.batch)
            mirrored.append(not views.flip.equal(stored.flip))
            same = stored.mirrored() if mirrored[-1] else stored
            assert views.flip.equal(same.flip)
            assert views.mix_box.equal(same.mix_box)
            assert source.targets(views, torch.empty(0), epoch).equal(source.logits(views.batch))
    assert 40 < sum(mirrored) < 80  # of 120
    again = [v.batch for v in source.views(3)]
    assert again == [v.batch for v in source.views(3)]


@pytest.mark.parametrize(("mirror", "flip"), [(False, 0.5), (True, 0.0)])
def test_nothing_is_mirrored_where_it_may_not_be(task, tmp_path, mirror, flip):
    augmentation = replace(task.plan.augmentation, flip=flip)
    other = replace(task, plan=replace(task.plan, augmentation=augmentation))
    source = reloaded(fitted(other, mirror=mirror), tmp_path / "saved")
    for views in (v for epoch in range(4) for v in source.views(epoch)):
        assert views.flip.equal(source.pool.batch(views.batch).flip)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": 13}, "transform.batches is 13, but there are 12"),
        ({"dims": 10}, "labels of 10 classes have 9 once they are centred"),
    ],
)
def test_options_that_do_not_fit_the_task_are_refused(task, options, message):
    with pytest.raises(UserError, match=message):
        fitted(task, **options)


@pytest.mark.parametrize("options", [{"step": -0.1}, {"rounding": 0.6}, {"bytes": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        Options(**options)


@pytest.mark.parametrize(
    "change",
    [
        {"code": torch.zeros(7, dtype=torch.uint8)},
        {"code": torch.zeros(8, dtype=torch.int8)},
        {"basis": torch.zeros(9, 9, dtype=torch.int8)},
        {"basis": None},
    ],
)
def test_tensors_that_do_not_fit_are_refused(task, tmp_path, change):
    source = fitted(task)
    source.save(_folder(tmp_path / "saved"))
    whole = artefact.read(tmp_path / "saved")
    tensors = {n: t for n, t in {**whole.tensors, **change}.items() if t is not None}
    with pytest.raises(ArtefactError, match="The labels'"):
        TransformCoder.restore(
            shipped(task), source.options, Artefact(whole.folder, whole.manifest, tensors)
        )


def test_few_dims_keep_most_of_the_power(task):
    found = [fitted(task, dims=d, step=0.02).notes["squared_error"] for d in (2, 5, 9)]
    assert found[0] > found[1] > found[2]
    assert found[2] < 1e-3


def _folder(path):
    path.mkdir()
    return path
