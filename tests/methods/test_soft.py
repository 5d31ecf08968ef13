from dataclasses import replace

import torch
from tiny import reloaded, tiny_task  # type: ignore[import-not-found]

from benchmark.data.rendering import render
from benchmark.labels import artefact, packed
from benchmark.methods.soft import Soft


def test_targets_are_the_teachers_logits_on_the_replayed_views(task, tmp_path):
    source = reloaded(Soft.fit(task, Soft.Options()), tmp_path / "saved")
    for epoch in range(task.plan.epochs):
        for views in source.views(epoch):
            pixels = render(task.images.pixels, views)
            logits = task.teacher(pixels)
            targets = source.targets(views, pixels, epoch)
            assert targets.dtype == torch.float32
            assert targets.equal(logits.half().float())
            assert logits.std() > 0.1  # or equality would say little


def test_targets_are_the_same_before_and_after_saving(task, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MOST_BYTES", 0)
    monkeypatch.setattr(artefact, "SHARD_BYTES", 500)  # 1,600 bytes of labels
    source = Soft.fit(task, Soft.Options())
    loaded = reloaded(source, tmp_path / "saved")
    assert len(list((tmp_path / "saved").glob("*.safetensors"))) == 4
    for epoch in (3, 0, 2):
        for views in source.views(epoch):
            found = loaded.targets(views, torch.empty(0), epoch)
            assert found.equal(source.targets(views, torch.empty(0), epoch))


def test_stored_labels_are_given_in_the_plans_order(task):
    source = Soft.fit(replace(task, plan=replace(task.plan, epochs=2)), Soft.Options())
    given = list(source.stored_labels())
    assert [(v.epoch, v.batch) for v, _ in given] == [(e, b) for e in range(2) for b in range(3)]
    for views, logits in given:
        assert logits.equal(source.targets(views, torch.empty(0), views.epoch))


def test_bytes_are_those_of_every_label_of_every_view(task):
    ledger = Soft.fit(task, Soft.Options()).storage()
    assert ledger.values == task.shape.soft_bytes == 4 * 20 * 10 * 2
    assert ledger.indices == ledger.views == ledger.weights == 0


def test_all_views_of_an_epoch_are_new(task):
    source = Soft.fit(task, Soft.Options())
    crops = [torch.cat([v.crop for v in source.views(epoch)]) for epoch in (0, 1)]
    assert not crops[0].equal(crops[1])


def test_labels_of_weak_teachers_are_the_mean_of_their_logits(tmp_path):
    task = tiny_task(tmp_path / "scratch")

    class Half(torch.nn.Module):
        def forward(self, pixels):
            return task.teacher(pixels) / 2  # type: ignore[misc]

    weak = [task.teacher, Half()]
    plain = Soft.fit(task, Soft.Options())
    one = plain.logits[0:20].float()
    (tmp_path / "other").mkdir()
    other = replace(task, snapshot_source=lambda: weak, scratch=tmp_path / "other")  # type: ignore[arg-type]
    mean = Soft.fit(other, Soft.Options(teachers="trajectory")).logits[0:20].float()
    torch.testing.assert_close(mean, 0.75 * one, rtol=2e-3, atol=2e-3)
