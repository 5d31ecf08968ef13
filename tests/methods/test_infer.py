from dataclasses import replace

import pytest
import torch
from tiny import reloaded

from benchmark.methods.infer import Infer, Options


def test_labels_are_the_plain_images_logits_interpolated(task, tmp_path):
    options = Infer.resolve_options(Options(), task.shape, None)
    source = reloaded(Infer.fit(task, options), tmp_path / "saved")
    with torch.no_grad():
        plain = task.teacher(task.images.pixels.float() / 255)
    plain = plain - plain.mean(1, keepdim=True)
    for views in source.views(2):
        found = source.targets(views, torch.empty(0), 2)
        torch.testing.assert_close(found, task.mixed(plain, views), atol=0.05, rtol=0)
        assert found.std() > 0.5


@pytest.mark.parametrize("form", ["fp16", "int8", "top-k"])
def test_bytes_are_foretold(task, tmp_path, form):
    options = Infer.resolve_options(Options(form=form, k=3), task.shape, None)
    ledger = reloaded(Infer.fit(task, options), tmp_path / "saved").storage()
    assert ledger.total - ledger.container == Infer.label_bytes(options, task.shape)


def test_classes_that_top_k_leaves_out_get_little(task, tmp_path):
    options = Infer.resolve_options(Options(form="top-k", k=2), task.shape, None)
    plan = replace(task.plan, augmentation=replace(task.plan.augmentation, mix="none"))
    source = reloaded(Infer.fit(replace(task, plan=plan), options), tmp_path / "saved")
    found = source.targets(next(iter(source.views(0))), torch.empty(0), 0)
    assert ((found > found.mean(1, keepdim=True)).sum(1) == 2).all()
