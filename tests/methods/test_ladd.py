from dataclasses import replace

import pytest
import torch
from tiny import reloaded

from benchmark.data.rendering import render
from benchmark.labels.image_labels import ImageLabels
from benchmark.methods.ladd import LADD, Options, boxes


def fitted(task, budget=None, **options):
    return LADD.fit(task, LADD.resolve_options(Options(**options), task.shape, budget))


def test_sub_images_lie_evenly_from_edge_to_edge():
    """Of 8 pixels a side 5: three places with 0, 1.5 (so 2) and 3 pixels before them."""
    found = boxes(3, 0.625, 8) * 8
    assert found.tolist() == [[y, x, 5, 5] for y in (0, 2, 3) for x in (0, 2, 3)]
    assert boxes(1, 0.5, 8).tolist() == [[0.25, 0.25, 0.5, 0.5]]


def test_targets_are_the_labels_of_what_is_shown(task, tmp_path):
    """Without mixing: the teacher's of the sub-image's pixels, or the image's class."""
    augmentation = replace(task.plan.augmentation, mix="none", flip=0.0)
    plain = replace(task, plan=replace(task.plan, augmentation=augmentation))
    source = reloaded(fitted(plain, n=2), tmp_path / "saved")
    seen = 0
    for epoch in range(4):
        for views in source.views(epoch):
            found = source.targets(views, torch.empty(0), epoch)
            with torch.no_grad():
                exact = task.teacher(render(task.images.pixels, views)).softmax(1)
            local = source.shown(views) < 4
            torch.testing.assert_close(found[local], exact[local], atol=5e-3, rtol=0)
            assert found[~local].equal(task.hard_labels(views)[~local])
            seen += int(local.sum())
    assert 25 < seen < 55  # half of 80


def test_mixed_views_are_blended_by_area(task, tmp_path):
    source = reloaded(fitted(task, n=2, local=0.0), tmp_path / "saved")
    views = next(iter(source.views(0)))
    found = source.targets(views, torch.empty(0), 0)
    torch.testing.assert_close(found, task.hard_labels(views))


def test_bytes_are_those_of_n_by_n_labels_an_image_and_budgets_take_fewer(task, tmp_path):
    options = LADD.resolve_options(Options(n=3), task.shape, None)
    ledger = reloaded(LADD.fit(task, options), tmp_path / "all").storage()
    assert ledger.total - ledger.container == LADD.label_bytes(options, task.shape)
    one = ImageLabels.label_bytes.__func__(LADD, options, task.shape)
    assert LADD.label_bytes(options, task.shape) == 9 * one
    few = LADD.resolve_options(Options(n=3), task.shape, 2800)
    assert few.n < 3 or few.form != options.form
    assert reloaded(LADD.fit(task, few), tmp_path / "few").storage().total <= 2800


def test_no_more_sub_images_than_places(task):
    assert LADD.resolve_options(Options(n=9), task.shape, None).n == 4  # of 5 pixels in 8


@pytest.mark.parametrize("options", [{"n": 0}, {"side": 0.0}, {"local": 1.5}, {"temperature": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        Options(**options)
