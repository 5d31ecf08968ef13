"""Tensors that outgrow memory: where they lie, and that all of them is gone through."""

import sys
from pathlib import Path

import pytest
import torch

from benchmark.labels import scratch
from benchmark.labels.scratch import RESIDENT_BYTES, chunks, scratch_tensor


def mapped(tensor: torch.Tensor, folder) -> bool:
    """Whether a file of the folder stands behind a tensor's first byte."""
    at = tensor.data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, stop = (int(end, 16) for end in line.split()[0].split("-"))
        if start <= at < stop:
            return str(folder) in line
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_ones_lie_in_files_without_a_name_and_small_ones_in_memory(tmp_path):
    small = scratch_tensor(tmp_path, torch.float64, RESIDENT_BYTES // 16, 2)
    large = scratch_tensor(tmp_path, torch.float64, RESIDENT_BYTES // 16 + 1, 2)
    assert not mapped(small, tmp_path)
    assert mapped(large, tmp_path)
    assert not mapped(scratch_tensor(None, torch.float64, *large.shape), tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not large.any()
    large[-1] = torch.tensor([1.0, 2.0])
    assert large.sum() == 3


@pytest.mark.parametrize(
    ("rows", "size", "expected"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (0, 3, [])]
)
def test_chunks_are_all_rows_in_order(rows, size, expected, monkeypatch):
    monkeypatch.setattr(scratch, "CHUNK_BYTES", 10 * size + 9)
    found = list(chunks(rows, 10))
    assert [part.stop - part.start for part in found] == expected
    assert [row for part in found for row in range(rows)[part]] == list(range(rows))
    assert len(list(chunks(3, 10**9))) == 3  # a row that is more than a chunk
