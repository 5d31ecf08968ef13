from dataclasses import replace

import pytest
import torch
from tiny import NETWORK, reloaded  # type: ignore[import-not-found]

from benchmark.core.errors import UserError
from benchmark.core.options import build
from benchmark.methods.ld_rr import LDRR

QUICK = LDRR.Options(learners=(NETWORK, "lenet"), epochs=3, outer_batch=20, window=2, label_lr=0.02)


def fitted(task, **options):
    """A source as the harness makes one."""
    return LDRR.fit(task, LDRR.resolve_options(replace(QUICK, **options), task.shape, None))


def test_students_get_the_learned_labels(task, tmp_path):
    source = fitted(task)
    assert (source.labels - torch.full((20, 10), 0.1)).abs().max() > 0.01
    loaded = reloaded(source, tmp_path / "saved")
    torch.testing.assert_close(loaded.labels, source.labels)
    assert source.notes["chosen"]["steps"].keys() == {NETWORK, "lenet"}


def test_the_penalty_changes_the_labels(task):
    assert not fitted(task).labels.equal(fitted(task, ridge=100.0).labels)


def test_attention_serves_too(task):
    source = fitted(task, learners=("deit-tiny",), epochs=1)
    assert source.labels.isfinite().all()


@pytest.mark.parametrize("ridge", [0.0, -1.0])
def test_a_penalty_must_be_positive(ridge):
    with pytest.raises(UserError, match="ridge must be positive"):
        build(LDRR.Options, {"ridge": ridge}, "ld_rr")
