import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark.labels.packing import MAX_WIDTH, pack, packed_bytes, unpack, width_for


@st.composite
def packings(draw):
    width = draw(st.integers(1, MAX_WIDTH))
    values = draw(st.lists(st.integers(0, 2**width - 1), max_size=70))
    start = draw(st.integers(0, len(values)))
    count = draw(st.integers(0, len(values) - start))
    return width, values, start, count


@given(packings())
def test_any_window_comes_back(packing):
    width, values, start, count = packing
    packed = pack(torch.tensor(values, dtype=torch.long), width)
    assert packed.dtype == torch.uint8
    assert len(packed) == packed_bytes(len(values), width)
    assert unpack(packed, width, start, count).tolist() == values[start : start + count]


def test_windows_across_blocks():
    values = torch.arange((1 << 20) + 9) % 1000
    packed = pack(values, 10)
    assert unpack(packed, 10, (1 << 20) - 3, 12).tolist() == values[(1 << 20) - 3 :].tolist()


class Disk:
    """A byte string that keeps account of what was read."""

    def __init__(self, data):
        self.data, self.read = data, []

    def __getitem__(self, rows):
        self.read.append((rows.start, rows.stop))
        return self.data[rows]


@given(packings())
def test_no_more_is_read_than_the_window_lies_in(packing):
    width, values, start, count = packing
    disk = Disk(pack(torch.tensor(values, dtype=torch.long), width))
    assert unpack(disk, width, start, count).tolist() == values[start : start + count]
    ((low, high),) = disk.read
    assert low == start * width // 8
    assert high == -(-(start + count) * width // 8)


def test_lowest_bit_first():
    assert pack(torch.tensor([1, 0, 3]), 2).tolist() == [0b110001]
    assert pack(torch.tensor([[0x3FF, 0], [1, 2]]), 10).tolist() == [0xFF, 0x03, 0x10, 0x80, 0]


@pytest.mark.parametrize(("values", "width"), [(1, 1), (2, 1), (3, 2), (200, 8), (1000, 10)])
def test_width_for(values, width):
    assert width_for(values) == width


def test_bytes():
    assert packed_bytes(4, 10) == 5
    assert packed_bytes(3, 10) == 4
    assert packed_bytes(0, 10) == 0


@pytest.mark.parametrize("value", [-1, 8])
def test_values_that_do_not_fit(value):
    with pytest.raises(ValueError, match=f"values from .*{value}.* do not fit 3 bits"):
        pack(torch.tensor([1, value]), 3)


@pytest.mark.parametrize("width", [0, 26])
def test_widths_out_of_range(width):
    with pytest.raises(ValueError, match=f"width must be in 1..25, got {width}"):
        pack(torch.tensor([0]), width)
