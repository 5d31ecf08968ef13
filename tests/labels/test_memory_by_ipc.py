"""Relabelling and fitting take no more memory for more images per class, at 1,000 classes."""

import sys

import pytest
from memory_by_ipc import CLASSES, apart

FEW, MANY = 10, 30  # fewer fill no buffer
LABELS = 2 * CLASSES * CLASSES * (MANY - FEW)  # bytes of fp16 logits that are more


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.long
@pytest.mark.parametrize("name", ["soft", "vqae", "label_function"])
def test_three_times_the_images_take_no_more_memory(name, monkeypatch):
    """Coefficients of a label function take 90 and 260 MB, and so does all that solves for them."""
    monkeypatch.setenv("LABELBENCH_SHARD_BYTES", "2000000")  # ten batches
    few, many = (apart(name, ipc, side=8, epochs=1) for ipc in (FEW, MANY))
    assert (few.labels, many.labels) == (FEW * CLASSES, MANY * CLASSES)
    assert few.peak > few.before  # or it was not looked at
    grown = (many.peak - many.before) - (few.peak - few.before)
    assert grown < LABELS / 5
    assert many.peak < 1.1 * few.peak
