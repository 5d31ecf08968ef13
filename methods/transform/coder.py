"""The coder: each batch's labels are predicted from those before it, and the rest is coded.

Labels are centred over the classes, divided by their root mean square, and turned into few
coefficients by an orthonormal basis. What the labels decoded so far say of them, by a
`ViewKernel` of the images that all have, is subtracted; the residual is rounded to whole steps,
with a dead zone around zero, and range-coded. The decoder decodes the same labels, so it predicts
the same: no predictor is shipped. (A prediction decides no probability of the range coder, so
that rounding, which may differ between machines in the last digits, cannot lead it astray.)
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmark.data.views import ViewBatch
from benchmark.labels.label_basis import centred, power_of, principal, shipped, span
from benchmark.labels.range_coding import MOST, Decoder, Encoder
from benchmark.labels.view_kernel import NOISE, Regression, Seen, ViewKernel

GROWTH = 1.4  # times as many labels as the predictor was fitted to have it fitted anew
MOST_LEARNED = 4096  # labels that it is fitted to


class Predictions:
    """What each next batch's coefficients are expected to be.

    Args:
        kernel: None predicts nothing.
        dims: coefficients of a label.
        noise: power of the rounding, as a share of the labels'.
    """

    def __init__(self, kernel: ViewKernel | None, dims: int, noise: float = 0.0) -> None:
        self._kernel, self._dims = kernel, dims
        self._regression = Regression(NOISE + noise)
        self._next, self._rows = 0, torch.empty(0)
        self._new: list[_Learned] = []  # that it is not fitted to yet

    def of(self, count: int) -> Tensor:
        """Of the plan's next batch, of so many views; float64 (B, dims)."""
        if self._kernel is not None:
            self._rows = self._regression.rows(self._kernel.planned(self._next))
            if self._rows.shape[1]:
                return self._regression.of(self._rows)
        return torch.zeros(count, self._dims, dtype=torch.float64)

    def learn(self, labels: Tensor) -> None:
        """Take in that batch's coefficients as they were decoded."""
        number, self._next = self._next, self._next + 1
        known = len(self._regression) + sum(len(each.labels) for each in self._new)
        if self._kernel is None or known >= MOST_LEARNED:
            return
        seen = self._kernel.planned(number)
        among = [seen.kernel(other) for other in (*(each.seen for each in self._new), seen)]
        self._new.append(_Learned(seen, labels, self._rows, torch.cat(among, 1)))
        known += len(labels)
        if known >= min(GROWTH * len(self._regression), MOST_LEARNED):
            self._fit(known - len(self._regression))

    def _fit(self, count: int) -> None:
        """Fit it to the batches learned since, of so many views."""
        new, self._new = self._new, []
        among = torch.zeros(count, count, dtype=torch.float64)
        last = 0
        for each in new:
            first, last = last, last + len(each.labels)
            among[first:last, :last] = each.among
        rows = torch.cat([each.rows for each in new])
        labels = torch.cat([each.labels for each in new])
        self._regression.learn(Seen.joined([each.seen for each in new]), rows, among, labels)


@dataclass(frozen=True)
class _Learned:
    """A batch; its kernel with the views fitted to, and with those learned since and itself."""

    seen: Seen
    labels: Tensor
    rows: Tensor
    among: Tensor


@dataclass(frozen=True)
class Transform:
    """The basis, and how coefficients are rounded.

    Attributes:
        basis: orthonormal rows, float64 (dims, C).
        power: root mean square of a centred logit.
        step: of the quantiser, as a share of `power`.
        most: largest magnitude of a whole number.
    """

    basis: Tensor
    power: float
    step: float
    most: int

    @property
    def noise(self) -> float:
        """Power of the rounding, as a share of a coefficient's."""
        return self.step**2 / 12

    def coefficients(self, logits: Tensor) -> Tensor:
        """Of labels (B, C), float64 (B, dims)."""
        return centred(logits) @ self.basis.T / self.power

    def logits(self, coefficients: Tensor) -> Tensor:
        """Of coefficients (B, dims), float32 (B, C)."""
        return (coefficients @ self.basis * self.power).float()


@dataclass(frozen=True)
class Coded:
    """Coded labels.

    Attributes:
        batches: that `data` holds.
        squared_error: as a share of the labels' power.
    """

    data: bytes
    batches: int
    squared_error: float


def encode(
    labels: Iterable[tuple[ViewBatch, Tensor]],
    transform: Transform,
    kernel: ViewKernel | None,
    rounding: float,
    room: int,
) -> Coded:
    """Code batches of labels for as long as they fit.

    Args:
        labels: views and logits (B, C) of the plan's batches, from its first on.
        rounding: what is added before rounding down; less than a half makes a dead zone.
        room: bytes; 0 for as many as it takes.
    """
    dims = len(transform.basis)
    coder, expected = Encoder(dims, transform.most), Predictions(kernel, dims, transform.noise)
    data, count, wrong, power = b"", 0, 0.0, 0.0
    for views, logits in labels:
        exact, predicted = transform.coefficients(logits), expected.of(len(views))
        rest = (exact - predicted) / transform.step
        whole = rest.sign() * (rest.abs() + rounding).floor().clamp_max(transform.most)
        coder.add(whole.long().numpy())
        longer = coder.data()
        if room and len(longer) > room:
            break
        data, count = longer, count + 1
        decoded = predicted + whole * transform.step
        expected.learn(decoded)
        wrong += float((transform.logits(decoded) - centred(logits)).square().sum())
        power += float(centred(logits).square().sum())
    return Coded(data, count, wrong / power if power else 0.0)


def decode(
    data: bytes, batches: Iterable[ViewBatch], transform: Transform, kernel: ViewKernel | None
) -> Iterator[Tensor]:
    """The coefficients of each batch in order, float64 (B, dims)."""
    dims = len(transform.basis)
    coder = Decoder(data, dims, transform.most)
    expected = Predictions(kernel, dims, transform.noise)
    for views in batches:
        whole = torch.from_numpy(coder.take(len(views))).double()
        decoded = expected.of(len(views)) + whole * transform.step
        expected.learn(decoded)
        yield decoded


def basis_of(
    labels: Sequence[tuple[ViewBatch, Tensor]], kernel: ViewKernel | None, dims: int
) -> tuple[Tensor, float]:
    """A basis for labels, and the root mean square of their centred logits.

    It spans the `dims` directions in which labels have most power; along them, its axes are the
    principal ones of what labels of the first half leave of those of the second.

    Args:
        labels: views and logits (B, C) of the plan's batches, from its first on.

    Returns:
        int8 (dims, C), which `orthonormal` makes a basis; and the power, above 0.
    """
    logits = centred(torch.cat([rows for _, rows in labels]))
    power, directions = power_of(logits), span(logits, dims)
    rest = unpredicted(labels, logits @ directions / power, kernel)
    return shipped(directions @ principal(rest)), power


def unpredicted(
    labels: Sequence[tuple[ViewBatch, Tensor]], coefficients: Tensor, kernel: ViewKernel | None
) -> Tensor:
    """What labels of the first half leave of those of the second, float64 (m, k).

    Args:
        labels: of the plan's batches, from its first on.
        coefficients: theirs, (n, k), which come back where nothing is predicted.
    """
    if kernel is None or len(labels) < 2:
        return coefficients
    seen = [kernel.planned(number) for number in range(len(labels))]
    half, regression = len(labels) // 2, Regression(NOISE)
    known, rest = Seen.joined(seen[:half]), Seen.joined(seen[half:])
    first, second = coefficients[: len(known)], coefficients[len(known) :]
    regression.learn(known, regression.rows(known), known.kernel(known), first)
    return second - regression.of(regression.rows(rest))


def largest(logits: Tensor, basis: Tensor, power: float, step: float) -> int:
    """A magnitude that residuals of such labels seldom pass; what does is cut off."""
    most = float((centred(logits) @ basis.T).abs().max()) / power / step
    return min(MOST, int(1.5 * most) + 2)
