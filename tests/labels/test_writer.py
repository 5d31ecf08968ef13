from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.labels.packing import MAX_WIDTH, pack, unpack
from benchmark.labels.writer import Joined, PackedWriter, TensorWriter


@pytest.mark.parametrize(
    ("dtype", "row"),
    [
        (torch.float16, ()),
        (torch.bfloat16, (3,)),
        (torch.float32, (2, 5)),
        (torch.uint8, ()),
        (torch.int32, (4,)),
        (torch.bool, (2,)),
    ],
)
def test_rows_come_back_as_they_were_added(tmp_path, dtype, row):
    writer = TensorWriter(tmp_path / "rows", dtype, row)
    added = [(9 * torch.randn(count, *row)).to(dtype) for count in (3, 0, 1, 5)]
    for rows in added:
        writer.add(rows)
    stored, whole = writer.stored(), torch.cat(added)
    assert (stored.dtype, stored.shape, len(stored)) == (dtype, whole.shape, 9)
    assert stored[:].equal(whole)
    for start, stop in ((0, 9), (2, 4), (8, 9), (5, 5), (9, 9), (7, 20)):
        assert stored[start:stop].equal(whole[start:stop])
        assert stored[start:stop].dtype == dtype
    assert stored.flat()[:].equal(whole.flatten())
    assert writer.mapped().equal(whole)
    assert stored.file.stat().st_size == whole.nbytes


def test_rows_of_several_files_are_read_as_one_tensor(tmp_path):
    whole = torch.arange(36.0).view(12, 3)
    parts = []
    for number, (file, held) in enumerate([((0, 5), (2, 5)), ((5, 6), (0, 1)), ((6, 12), (0, 4))]):
        writer = TensorWriter(tmp_path / f"{number}", torch.float32, (3,))
        writer.add(whole[slice(*file)])
        parts.append((writer.stored(), slice(*held)))
    joined, expected = Joined(parts), whole[2:10]
    assert (joined.dtype, joined.shape, len(joined)) == (torch.float32, expected.shape, 8)
    for start in range(9):
        for stop in range(start, 10):
            assert joined[start:stop].equal(expected[start:stop])
    flat = joined.flat()
    assert flat.shape == (24,)
    assert flat[4:20].equal(expected.flatten()[4:20])


def test_added_rows_are_converted_and_may_be_strided(tmp_path):
    writer = TensorWriter(tmp_path / "rows", torch.float16, (4,))
    rows = torch.randn(4, 6, requires_grad=True)
    writer.add(rows.T)
    assert writer.stored()[:].equal(rows.detach().T.half())


def test_a_file_that_was_cut_is_not_read_as_if_it_were_whole(tmp_path):
    writer = TensorWriter(tmp_path / "rows", torch.float32)
    writer.add(torch.arange(4.0))
    (tmp_path / "rows").write_bytes(b"\1" * 12)
    assert len(writer.stored()[1:3]) == 2
    with pytest.raises(OSError, match="ends before row 4"):
        writer.stored()[1:4]


def test_nothing_added(tmp_path):
    writer = TensorWriter(tmp_path / "rows", torch.float32, (3,))
    stored = writer.stored()
    assert stored.shape == (0, 3)
    assert stored[:].shape == writer.mapped().shape == (0, 3)
    packed = PackedWriter(tmp_path / "packed", 5).stored()
    assert packed.shape == (0,)
    assert unpack(packed, 5, 0, 0).tolist() == []


def test_rows_of_another_shape_are_refused(tmp_path):
    writer = TensorWriter(tmp_path / "rows", torch.float32, (3,))
    for shape in ((2, 4), (3,), (2, 3, 1)):
        with pytest.raises(ValueError, match=r"rows must have the shape \(3,\), got"):
            writer.add(torch.zeros(shape))
    writer.add(torch.ones(2, 3))
    assert writer.stored()[:].tolist() == [[1, 1, 1], [1, 1, 1]]


def test_a_slice_in_memory_outlives_the_file(tmp_path):
    writer = TensorWriter(tmp_path / "rows", torch.float32)
    writer.add(torch.arange(4.0))
    rows = writer.stored()[1:3]
    (tmp_path / "rows").unlink()
    rows += 1
    assert rows.tolist() == [2, 3]


def test_a_spool_may_be_left_unfinished(tmp_path):
    # As a failing fit does: no file stays open, and the next fit starts anew.
    TensorWriter(tmp_path / "rows", torch.float32).add(torch.ones(5))
    again = TensorWriter(tmp_path / "rows", torch.float32)
    again.add(torch.zeros(2))
    assert again.stored()[:].tolist() == [0, 0]


@st.composite
def chunks(draw):
    width = draw(st.integers(1, MAX_WIDTH))
    values = st.integers(0, 2**width - 1)
    return width, draw(st.lists(st.lists(values, max_size=21), max_size=6)), draw(st.randoms())


@given(chunks())
def test_integers_of_any_width_in_chunks_of_any_size(drawn):
    width, parts, random = drawn
    values = [value for part in parts for value in part]
    with TemporaryDirectory() as folder:
        writer = PackedWriter(Path(folder) / "packed", width)
        for part in parts:
            writer.add(torch.tensor(part, dtype=torch.int64))
        stored = writer.stored()
        assert stored[:].equal(pack(torch.tensor(values, dtype=torch.int64), width))
        start = random.randint(0, len(values))
        stop = random.randint(start, len(values))
        assert unpack(stored, width, start, stop - start).tolist() == values[start:stop]


def test_packed_values_may_have_any_shape_and_type(tmp_path):
    writer = PackedWriter(tmp_path / "packed", 4)
    writer.add(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    writer.add(torch.tensor([True]))
    writer.add(torch.tensor([15], dtype=torch.uint8))
    assert unpack(writer.stored(), 4, 0, 6).tolist() == [1, 2, 3, 4, 1, 15]


def test_values_that_do_not_fit_the_width_are_refused(tmp_path):
    writer = PackedWriter(tmp_path / "packed", 3)
    with pytest.raises(ValueError, match="do not fit 3 bits"):
        writer.add(torch.tensor([0, 1, 2, 3, 4, 5, 6, 8]))
    writer.stored()
