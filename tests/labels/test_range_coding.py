import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.labels import range_coding
from benchmark.labels.range_coding import AdaptiveModels, Decoder, Encoder


def encoded(blocks, most):
    coder = Encoder(blocks[0].shape[1], most)
    for block in blocks:
        coder.add(block)
    return coder.data()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 40))
def test_what_is_decoded_is_what_was_coded(seed, lanes, most):
    drawn = np.random.default_rng(seed)
    blocks = [drawn.integers(-most, most + 1, (n, lanes)) for n in drawn.integers(1, 9, 5)]
    coder = Decoder(encoded(blocks, most), lanes, most)
    for block in blocks:
        np.testing.assert_array_equal(coder.take(len(block)), block)


def test_streams_that_were_cut_are_read_one_after_the_other():
    """With the models as they were: what each takes is little more than its share of one."""
    drawn = np.random.default_rng(0)
    blocks = [np.rint(drawn.laplace(0, 2, (50, 3))).astype(int) for _ in range(40)]
    most = int(max(abs(block).max() for block in blocks))
    encoder = Encoder(3, most)
    streams = []
    for number, block in enumerate(blocks, 1):
        encoder.add(block)
        if number % 15 == 0 or number == 40:
            streams.append(encoder.cut())
    assert len(streams) == 3
    assert sum(map(len, streams)) <= len(encoded(blocks, most)) + 3 * 8
    decoder = Decoder(streams[0], 3, most)
    for number, block in enumerate(blocks):
        if number and number % 15 == 0:
            decoder.go_on(streams[number // 15])
        np.testing.assert_array_equal(decoder.take(50), block)


def test_a_stream_takes_little_more_than_its_entropy():
    drawn = np.random.default_rng(0)
    widths = np.array([3.0, 1.0, 0.3])
    blocks = [np.rint(drawn.laplace(0, widths, (50, 3))).astype(int) for _ in range(40)]
    rows = np.concatenate(blocks)
    bits = 0.0
    for lane in range(3):
        _, counts = np.unique(rows[:, lane], return_counts=True)
        bits -= float((counts * np.log2(counts / len(rows))).sum())
    data = encoded(blocks, int(abs(rows).max()))
    assert bits / 8 < len(data) < 1.05 * bits / 8


def test_a_lane_whose_size_follows_the_one_before_takes_less():
    drawn = np.random.default_rng(0)
    first = drawn.choice([0, 8], 4000) * drawn.choice([-1, 1], 4000)
    second = np.where(first == 0, 0, drawn.integers(-8, 9, 4000))
    both = np.stack([first, second], 1).reshape(40, 100, 2)
    apart = np.stack([first, drawn.permutation(second)], 1).reshape(40, 100, 2)
    assert len(encoded(both, 8)) < 0.9 * len(encoded(apart, 8))


def test_chances_are_those_worked_out_by_hand():
    """Fresh: mean magnitude 2 / 4, so the ratio r with 2 r / (1 - r^2) <= 1/2: 15/64."""
    models = AdaptiveModels(1, 2)
    ratio = np.array([15 / 64]) ** [2, 1, 0, 1, 2]
    np.testing.assert_allclose(models.probabilities(0)[0], ratio / ratio.sum(), rtol=1e-4)
    models.learn(np.array([[0]] * 24))  # as many as the prior counts; of 28 in all, sizes are 2
    ratio = np.array([2 / 64]) ** [2, 1, 0, 1, 2]
    by_hand = (ratio / ratio.sum() + [0, 0, 1, 0, 0]) / 2
    np.testing.assert_allclose(models.probabilities(0)[0], by_hand, rtol=1e-3)
    np.testing.assert_allclose(models.probabilities(0)[1], AdaptiveModels(1, 2).probabilities(0)[1])


def test_levels_are_the_sizes_of_the_lanes_before():
    sizes = np.array([[1, 0, 1, 5, 0, 0, 0, 0, 0]])
    assert range_coding.levels(sizes).tolist() == [[0, 1, 1, 2, 3, 3, 3, 3, 0]]


def test_bytes_are_pinned():
    """Shipped labels depend on them."""
    rows = (np.arange(60).reshape(20, 3) * 7 % 11 - 5) // np.array([1, 2, 4])
    found = encoded([rows[:8], rows[8:]], 5).hex()
    assert found == "ffbb1c00007cc79f6688b29dd1fb06b6db3c2925dc55083e45377928"


@pytest.mark.parametrize("most", [0, 2**15 + 1])
def test_magnitudes_out_of_range_are_refused(most):
    with pytest.raises(ValueError, match=r"most must be in 1\.\.32768"):
        AdaptiveModels(2, most)
