from dataclasses import replace

import pytest
import torch
from tiny import NETWORK, pictures, reloaded  # type: ignore[import-not-found]

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.core.options import build
from benchmark.labels.label_learning import run as running
from benchmark.labels.shared_cache import Shared
from benchmark.methods.ld import LD

QUICK = LD.Options(
    learners=(NETWORK,), epochs=3, outer_batch=20, window=2, label_lr=0.02, network_lr=0.01
)
NOTHING = torch.empty(0)


def fitted(task, **options):
    """A source as the harness makes one."""
    return LD.fit(task, LD.resolve_options(replace(QUICK, **options), task.shape, None))


def test_students_get_the_learned_labels(task, tmp_path):
    source = fitted(task, form="fp16")
    even = torch.full((20, 10), 0.1)
    assert (source.labels - even).abs().max() > 0.01
    loaded = reloaded(source, tmp_path / "saved")
    torch.testing.assert_close(loaded.labels, source.labels)
    for views in loaded.views(0):
        targets = loaded.targets(views, NOTHING, 0)
        torch.testing.assert_close(targets, task.mixed(source.labels, views))
        torch.testing.assert_close(targets.sum(1), torch.ones(len(views)))


def test_records_tell_of_the_fit(task):
    notes = fitted(task, inner_steps=2).notes
    assert len(notes["outer_error"]) == len(notes["outer_loss"]) == 3
    assert notes["validation"] == [notes["chosen"]]
    assert notes["chosen"]["epoch"] == 3
    assert 0 <= notes["chosen"]["held_out_error"] <= 1
    for name, steps in notes["resets"]:
        assert name == NETWORK
        assert steps > 0


def test_forms_of_shipping_share_one_learning(task, tmp_path, monkeypatch):
    started = []
    learn = running.Run.learn
    monkeypatch.setattr(
        running.Run, "learn", lambda self, file: (started.append(1), learn(self, file))[1]
    )
    task = replace(task, shared=Shared(Cache(tmp_path / "stages"), {}))
    whole, small = fitted(task), fitted(task, form="top-k", k=3)
    assert len(started) == 1
    assert whole.notes == small.notes
    fitted(task, inner_lr=0.5)
    fitted(replace(task, images=pictures(20, seed=5)))
    assert len(started) == 3


def test_settings_left_open_are_decided_before_the_fit(task):
    options = LD.resolve_options(LD.Options(), task.shape, None)
    assert (options.inner_batch, options.window) == (10, 50)
    assert LD.resolve_options(options, task.shape, None) == options


def test_networks_that_cannot_be_used(task):
    with pytest.raises(UserError, match="swin-tiny answers differently when asked again"):
        fitted(task, learners=("swin-tiny",))
    with pytest.raises(UserError, match="at least 32 pixels a side, not 8"):
        fitted(task, learners=("convnet-d5",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner_lr": 0}, "inner_lr must be positive"),
        ({"inner_steps": 0}, "inner_steps must be at least 1"),
        ({"k": 0}, "k must be at least 1"),
        ({"learners": "lenet,lenet7"}, "Unknown network 'lenet7'"),
    ],
)
def test_options_that_make_no_sense(change, message):
    with pytest.raises(UserError, match=message):
        build(LD.Options, change, "ld")
