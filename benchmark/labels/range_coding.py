"""Adaptive range coding of whole numbers around zero, such as quantised residuals.

Numbers come in rows of lanes (coefficients). Each lane has models of its own, one for each level
of how large its row's numbers were so far; a model is a two-sided geometric distribution of the
mean magnitude that it has seen, mixed with the counts. Models adapt after every block of rows,
on both sides alike, so none is shipped.

All that decides a probability is whole-number arithmetic and one division, so that a stream is
read alike on any machine. The coder itself is that of the package `constriction`.
"""

from typing import Any

import constriction
import numpy as np

STREAM: Any = vars(constriction)["stream"]  # the package tells no types
STEPS = 64  # ratios of the geometric distributions: 0, 1/64, ..., 63/64
LEVELS = 4  # contexts of a lane: by the sum of the magnitudes of the lanes before it
WINDOW = 4  # lanes before it that are looked at
UNIT = 2**20  # weight of the geometric distribution's middle
PRIOR = 24  # numbers that the geometric distribution counts as, beside those seen
SEEN, SIZE = 4, 2  # a fresh model's numbers, and the sum of their magnitudes
MOST = 2**15  # largest magnitude
FAMILY = STREAM.model.Categorical(perfect=False)


class AdaptiveModels:
    """The models of all lanes, as they are after the blocks so far.

    Args:
        lanes: numbers of a row.
        most: largest magnitude of any.
    """

    def __init__(self, lanes: int, most: int) -> None:
        if not 1 <= most <= MOST:
            raise ValueError(f"most must be in 1..{MOST}, got {most}")
        self.most = most
        self._shapes = _geometric(most)
        self._counts = np.zeros((lanes, LEVELS, 2 * most + 1), np.int64)
        self._seen = np.full((lanes, LEVELS), SEEN, np.int64)
        self._sizes = np.full((lanes, LEVELS), SIZE, np.int64)

    def probabilities(self, lane: int) -> np.ndarray:
        """Of each number from -most to most, at each level, float64 (LEVELS, 2 most + 1)."""
        shape = self._shapes[_ratio(self._sizes[lane], self._seen[lane])]
        total = shape.sum(1, keepdims=True)
        weights = self._counts[lane] * total + PRIOR * shape
        return weights / weights.sum(1, keepdims=True)

    def learn(self, rows: np.ndarray) -> None:
        """Take in a block of rows, (B, lanes)."""
        sizes = np.abs(rows)
        lanes = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
        at = lanes, levels(sizes)
        np.add.at(self._counts, (*at, rows + self.most), 1)
        np.add.at(self._seen, at, 1)
        np.add.at(self._sizes, at, sizes)


def levels(sizes: np.ndarray) -> np.ndarray:
    """Each lane's level, from the magnitudes (B, lanes) of the lanes before it."""
    before = np.cumsum(np.pad(sizes, ((0, 0), (1, 0))), 1)[:, :-1]
    near = before - np.pad(before, ((0, 0), (WINDOW, 0)))[:, : before.shape[1]]
    return np.minimum(near, LEVELS - 1)


class Encoder:
    """Blocks of rows, to a string of bytes."""

    def __init__(self, lanes: int, most: int) -> None:
        self._models = AdaptiveModels(lanes, most)
        self._coder = STREAM.queue.RangeEncoder()

    def add(self, rows: np.ndarray) -> None:
        """Append a block of rows, whole numbers (B, lanes) within the largest magnitude."""
        level = levels(np.abs(rows))
        for lane in range(rows.shape[1]):
            chances = self._models.probabilities(lane)[level[:, lane]]
            symbols = (rows[:, lane] + self._models.most).astype(np.int32)
            self._coder.encode(symbols, FAMILY, chances)
        self._models.learn(rows)

    def data(self) -> bytes:
        """All blocks so far; more can be added."""
        return self._coder.get_compressed().astype("<u4", copy=False).tobytes()

    def cut(self) -> bytes:
        """All blocks so far; those to come are a stream of their own, with the same models."""
        data, self._coder = self.data(), STREAM.queue.RangeEncoder()
        return data


class Decoder:
    """The blocks of a string of bytes that an `Encoder` gave, in order."""

    def __init__(self, data: bytes, lanes: int, most: int) -> None:
        self._models = AdaptiveModels(lanes, most)
        self._lanes = lanes
        self.go_on(data)

    def go_on(self, data: bytes) -> None:
        """Read the next stream of an encoder that was `cut`."""
        words = np.frombuffer(data, "<u4").astype(np.uint32)
        self._coder = STREAM.queue.RangeDecoder(words)

    def take(self, count: int) -> np.ndarray:
        """The next block of `count` rows, int64 (count, lanes); nonsense from damaged bytes."""
        rows, most = np.zeros((count, self._lanes), np.int64), self._models.most
        for lane in range(self._lanes):
            level = levels(np.abs(rows))[:, lane]
            chances = self._models.probabilities(lane)[level]
            rows[:, lane] = self._coder.decode(FAMILY, chances) - most
        self._models.learn(rows)
        return rows


def _geometric(most: int) -> np.ndarray:
    """Weights of -most..most for every ratio, whole numbers (STEPS, 2 most + 1), none zero."""
    side = np.full((STEPS, most + 1), UNIT, np.int64)
    for size in range(1, most + 1):
        side[:, size] = side[:, size - 1] * np.arange(STEPS) // STEPS
    side = np.maximum(side, 1)
    return np.concatenate([side[:, :0:-1], side], 1)


def _ratio(sizes: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """The largest ratio r / STEPS whose mean magnitude, 2 r / (1 - r^2), is not above the seen."""
    steps = np.arange(STEPS)
    return (2 * steps * STEPS * seen[:, None] <= sizes[:, None] * (STEPS**2 - steps**2)).sum(1) - 1
