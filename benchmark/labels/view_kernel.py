"""Which views have labels alike: a kernel over their geometry and their pixels.

Whoever has the images and some labels of views can tell much of the next view's label. Two views
are alike by the geometry that they share, as `ViewFunction` has it: linear in each class's and
image's coefficients, whose prior is its. And they are alike by what they look like: a Gaussian of
the distance between features of their pixels, those of Coates, Lee and Ng, "An Analysis of
Single-Layer Networks in Unsupervised Feature Learning" (AISTATS 2011): filters are whitened
patches of the images themselves, rectified both ways and pooled; no network is trained, and
nothing but the images is needed. Labels of unseen views are then those of a Gaussian process
(Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, algorithm 2.1).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.rendering import render
from ..data.views import SAMPLE, ViewBatch, ViewPlan, permutation, random_words
from .view_function import Design, ViewFunction

if TYPE_CHECKING:
    import scipy.sparse

PIXELS = 32  # a side, to which larger views are shrunk
FILTERS, POOLED = 128, 4  # filters; cells a side that their answers are pooled to
PATCH, STRIDE = 8, 2  # at 32 pixels
FEATURES = 512  # principal features that are kept
SAMPLED = 2**23  # numbers of as many images, evenly spread, at most, that patches are drawn from
VIEWS = 1000  # of the plan's first, by which features are centred, scaled and turned
WHITENING = 0.1  # added to the patches' variances, where images have variance 1
LOOKS = 3.0  # power of what pixels explain, as a share of the labels' power
NOISE = 0.03  # power of what neither explains
KEPT = 4096  # views of the plan that are remembered as they were seen


class ViewKernel:
    """The kernel of one set of images.

    Args:
        pixels: of the images, uint8 (N, channels, R, R), on the CPU.
        plan: whose first views say what is usual.
        function: the geometry; of no class and image for pixels alone.
    """

    def __init__(self, pixels: Tensor, plan: ViewPlan, function: ViewFunction) -> None:
        self._pixels, self._plan, self._function = pixels, plan, function
        scaled = _sampled(pixels).float() / 255
        self._mean = scaled.mean((0, 2, 3), keepdim=True)
        self._std = scaled.std() + 1e-6
        self._filters = _whitened_patches(self._shrunk((scaled - self._mean) / self._std))
        first = [(views, self._answers(views)) for views in _first(plan, VIEWS)]
        usual = torch.cat([answers for _, answers in first])[:VIEWS]
        self._usual = usual.mean(0)
        self._spread = (usual.std(0) + 1e-6) * usual.shape[1] ** 0.5
        whole = ((usual - self._usual) / self._spread).double()
        powers, axes = torch.linalg.eigh(whole @ whole.T)
        kept = powers > 1e-6 * powers[-1]
        powers, axes = powers[kept][-FEATURES:], axes[:, kept][:, -FEATURES:]
        self._turn = (whole.T @ axes / powers.sqrt()).float()
        self._kept = {number: self._seen(*each) for number, each in enumerate(first)}

    def views(self, views: ViewBatch) -> "Seen":
        """A batch as the kernel sees it."""
        return self._seen(views, self._answers(views))

    def planned(self, number: int) -> "Seen":
        """The plan's batch of this number, counted from its first; remembered if it is early."""
        if number in self._kept:
            return self._kept[number]
        seen = self.views(self._plan.batch(*divmod(number, self._plan.batches)))
        if number * self._plan.batch_size < KEPT:
            self._kept[number] = seen
        return seen

    def _seen(self, views: ViewBatch, answers: Tensor) -> "Seen":
        features = ((answers - self._usual) / self._spread) @ self._turn
        return Seen(_sparse(self._function.design([views])), features.double())

    def _answers(self, views: ViewBatch) -> Tensor:
        """Pooled answers of all filters, both ways, float32 (B, 2 FILTERS POOLED^2)."""
        pixels = self._shrunk((render(self._pixels, views) - self._mean) / self._std)
        stride = max(1, self._filters.shape[-1] * STRIDE // PATCH)
        answers = F.conv2d(pixels, self._filters, stride=stride).permute(0, 2, 3, 1).contiguous()
        width = max(1, answers.shape[1] // POOLED)
        side = answers.shape[1] // width
        # Sums over windows, both ways, place by place: all channels of a place lie side by side.
        up = answers.new_zeros(len(answers), side, side, answers.shape[3])
        down = torch.zeros_like(up)
        for row in range(width):
            for column in range(width):
                place = answers[:, row : side * width : width, column : side * width : width]
                # Half the spread of an answer is not heard: patches are white, so it is of all.
                up += F.relu(place - 0.5)
                down += F.relu(-place - 0.5)
        heard = torch.stack([up, down], 1) / width**2
        return heard.permute(0, 1, 4, 2, 3).flatten(1)

    def _shrunk(self, pixels: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(pixels, PIXELS) if pixels.shape[-1] > PIXELS else pixels


@dataclass(frozen=True)
class Seen:
    """Views as the kernel sees them.

    Attributes:
        geometry: rows of the function's design, (n, size).
        features: of their pixels, float64 (n, k).
    """

    geometry: "scipy.sparse.csr_matrix"
    features: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def kernel(self, other: "Seen") -> Tensor:
        """Of all pairs of views, float64 (n, m)."""
        squares = self.squares[:, None] + other.squares
        apart = squares.sub_(2 * self.features @ other.features.T).clamp_min_(0)
        shared = torch.from_numpy((self.geometry @ other.geometry.T).toarray())
        return shared.add_(apart.div_(-2).exp_().mul_(LOOKS))

    @cached_property
    def squares(self) -> Tensor:
        """Of the features' lengths, float64 (n,)."""
        return self.features.square().sum(1)

    @classmethod
    def joined(cls, parts: "list[Seen]") -> "Seen":
        from scipy import sparse

        geometry = sparse.csr_matrix(sparse.vstack([p.geometry for p in parts]))
        return cls(geometry, torch.cat([p.features for p in parts]))


class Regression:
    """A Gaussian process whose known views grow; see `of` and `learn`.

    Its triangular root (Cholesky's) is extended by the new views' rows, not made anew.

    Args:
        noise: power of what is in no other label, as a share of the labels'.
    """

    def __init__(self, noise: float) -> None:
        self._noise = noise
        self._fitted: Seen | None = None
        self._root = self._turned = self._weights = torch.empty(0, 0, dtype=torch.float64)

    def __len__(self) -> int:
        """Views that it is fitted to."""
        return len(self._fitted) if self._fitted else 0

    def rows(self, seen: Seen) -> Tensor:
        """The kernel of views and those it is fitted to, float64 (B, n)."""
        if self._fitted is None:
            return torch.empty(len(seen), 0, dtype=torch.float64)
        return seen.kernel(self._fitted)

    def of(self, rows: Tensor) -> Tensor:
        """What labels of views with these `rows` are expected to be, float64 (B, k)."""
        return rows @ self._weights

    def learn(self, seen: Seen, rows: Tensor, among: Tensor, labels: Tensor) -> None:
        """Fit it to further views as well.

        Args:
            rows: of these views, (m, n).
            among: the kernel of these views themselves, (m, m); its lower half is enough.
            labels: theirs, float64 (m, k).
        """
        if self._fitted is None:
            self._turned = labels.new_empty(0, labels.shape[1])
        known, count = len(self), len(seen)
        left = torch.linalg.solve_triangular(self._root, rows.T, upper=False).T
        rest = among + self._noise * torch.eye(count, dtype=among.dtype) - left @ left.T
        corner = torch.linalg.cholesky(rest)
        root = among.new_zeros(known + count, known + count)
        root[:known, :known], root[known:, :known], root[known:, known:] = self._root, left, corner
        turned = labels - left @ self._turned
        turned = torch.linalg.solve_triangular(corner, turned, upper=False)
        self._root, self._turned = root, torch.cat([self._turned, turned])
        self._weights = torch.linalg.solve_triangular(root.T, self._turned, upper=True)
        self._fitted = Seen.joined([self._fitted, seen]) if self._fitted else seen


def _sampled(images: Tensor) -> Tensor:
    """Images, or some of them where they are many, so that memory does not grow with them."""
    count = min(len(images), max(1, SAMPLED // images[0].numel()))
    return images if count == len(images) else images[torch.arange(count) * len(images) // count]


def _first(plan: ViewPlan, count: int) -> Iterator[ViewBatch]:
    """The plan's first batches, of so many views or a few more."""
    for epoch in range(-(-count // plan.images)):
        for views in plan.epoch(epoch):
            if count <= 0:
                return
            yield views
            count -= len(views)


def _sparse(design: Design) -> "scipy.sparse.csr_matrix":
    from scipy import sparse  # it takes a while to import, and looking at a grid needs none of it

    rows, entries = design.columns.shape
    starts = np.arange(0, rows * entries + 1, entries)
    values, columns = design.values.flatten().numpy(), design.columns.flatten().numpy()
    return sparse.csr_matrix((values, columns, starts), shape=(rows, design.size))


def _whitened_patches(images: Tensor) -> Tensor:
    """Patches drawn from the images, as filters that whiten, (FILTERS, channels, P, P).

    An answer to a usual patch has variance 1.
    """
    side = max(2, images.shape[-1] * PATCH // PIXELS)
    patches = F.unfold(images, side, stride=max(1, side // 4)).transpose(1, 2).flatten(0, 1)
    patches = (patches - patches.mean(1, keepdim=True)).double()
    powers, axes = torch.linalg.eigh(patches.T @ patches / len(patches))
    whiten = axes @ torch.diag((powers + WHITENING).rsqrt()) @ axes.T
    drawn = permutation(random_words(0, 0, 0, SAMPLE, len(patches)))[:FILTERS]
    white = patches[torch.from_numpy(drawn)] @ whiten
    filters = white / white.norm(dim=1, keepdim=True).clamp_min(1e-6) @ whiten
    return filters.float().view(len(filters), images.shape[1], side, side)
