import torch

from benchmark.labels.packed import FILE
from benchmark.methods.hard import Hard


def test_labels_blend_by_the_mix_by_hand(task):
    views = task.plan.batch(0, 0)
    weight = views.mix_weight[0].item()
    assert 0 < weight < 1
    targets = Hard.fit(task, Hard.Options()).targets(views, torch.empty(0), 0)
    assert targets.shape == (len(views), 10)
    for row, own, partner in zip(targets, views.index, views.index[views.partner], strict=True):
        expected = [0.0] * 10
        expected[int(own) % 10] += weight
        expected[int(partner) % 10] += 1 - weight
        assert torch.allclose(row, torch.tensor(expected))


def test_nothing_is_shipped_but_the_manifest(task, tmp_path):
    source = Hard.fit(task, Hard.Options())
    (tmp_path / "saved").mkdir()
    source.save(tmp_path / "saved")
    (file,) = (tmp_path / "saved").iterdir()
    assert file.name == FILE
    assert source.storage().total == source.storage().container == file.stat().st_size < 200
