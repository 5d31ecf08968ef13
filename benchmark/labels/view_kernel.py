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

from dataclasses import dataclass

import numpy as np
import scipy.sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.rendering import render
from ..data.views import SAMPLE, ViewBatch, ViewPlan, permutation, random_words
from .view_function import Design, ViewFunction

PIXELS = 32  # a side, to which larger views are shrunk
FILTERS, POOLED = 128, 4  # filters; cells a side that their answers are pooled to
PATCH, STRIDE = 8, 2  # at 32 pixels
FEATURES = 512  # principal features that are kept
VIEWS = 1000  # of the plan's first, by which features are centred, scaled and turned
WHITENING = 0.1  # added to the patches' variances, where images have variance 1
LOOKS = 3.0  # power of what pixels explain, as a share of the labels' power
NOISE = 0.03  # power of what neither explains


class ViewKernel:
    """The kernel of one set of images.

    Args:
        pixels: of the images, uint8 (N, channels, R, R), on the CPU.
        plan: whose first views say what is usual.
        function: the geometry; of no class and image for pixels alone.
    """

    def __init__(self, pixels: Tensor, plan: ViewPlan, function: ViewFunction) -> None:
        self._pixels, self._function = pixels, function
        scaled = pixels.float() / 255
        self._mean = scaled.mean((0, 2, 3), keepdim=True)
        self._std = scaled.std() + 1e-6
        self._filters = _whitened_patches(self._shrunk((scaled - self._mean) / self._std))
        epochs = range(-(-VIEWS // plan.images))
        usual = torch.cat([self._answers(views) for e in epochs for views in plan.epoch(e)])[:VIEWS]
        self._usual = usual.mean(0)
        self._spread = (usual.std(0) + 1e-6) * usual.shape[1] ** 0.5
        whole = ((usual - self._usual) / self._spread).double()
        powers, axes = torch.linalg.eigh(whole @ whole.T)
        kept = powers > 1e-6 * powers[-1]
        powers, axes = powers[kept][-FEATURES:], axes[:, kept][:, -FEATURES:]
        self._turn = (whole.T @ axes / powers.sqrt()).float()

    def views(self, views: ViewBatch) -> "Seen":
        """A batch as the kernel sees it."""
        seen = (self._answers(views) - self._usual) / self._spread
        return Seen(_sparse(self._function.design([views])), (seen @ self._turn).double())

    def _answers(self, views: ViewBatch) -> Tensor:
        """Pooled answers of all filters, both ways, float32 (B, 2 FILTERS POOLED^2)."""
        pixels = self._shrunk((render(self._pixels, views) - self._mean) / self._std)
        stride = max(1, self._filters.shape[-1] * STRIDE // PATCH)
        answers = F.conv2d(pixels, self._filters, stride=stride)
        # Half the spread of an answer is not heard: patches are white, so it is that of all.
        heard = torch.cat([F.relu(answers - 0.5), F.relu(-answers - 0.5)], 1)
        return F.avg_pool2d(heard, max(1, heard.shape[-1] // POOLED)).flatten(1)

    def _shrunk(self, pixels: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(pixels, PIXELS) if pixels.shape[-1] > PIXELS else pixels


@dataclass(frozen=True)
class Seen:
    """Views as the kernel sees them.

    Attributes:
        geometry: rows of the function's design, (n, size).
        features: of their pixels, float64 (n, k).
    """

    geometry: scipy.sparse.csr_matrix
    features: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def kernel(self, other: "Seen") -> Tensor:
        """Of all pairs of views, float64 (n, m)."""
        ours, theirs = self.features, other.features
        squares = ours.square().sum(1)[:, None] + theirs.square().sum(1)
        apart = (squares - 2 * ours @ theirs.T).clamp_min(0)
        shared = torch.from_numpy((self.geometry @ other.geometry.T).toarray())
        return shared + LOOKS * (-apart / 2).exp()

    @classmethod
    def joined(cls, parts: "list[Seen]") -> "Seen":
        geometry = scipy.sparse.csr_matrix(scipy.sparse.vstack([p.geometry for p in parts]))
        return cls(geometry, torch.cat([p.features for p in parts]))


def solve(kernel: Tensor, labels: Tensor, noise: float) -> Tensor:
    """Weights (n, k) by which labels of views with this kernel explain those of others.

    Args:
        kernel: of the views whose labels (n, k) are known, (n, n).
        noise: power of what is in no other label, as a share of the labels'.
    """
    root = torch.linalg.cholesky(kernel + noise * torch.eye(len(kernel), dtype=kernel.dtype))
    return torch.cholesky_solve(labels, root)


def _sparse(design: Design) -> scipy.sparse.csr_matrix:
    rows, entries = design.columns.shape
    starts = np.arange(0, rows * entries + 1, entries)
    values, columns = design.values.flatten().numpy(), design.columns.flatten().numpy()
    return scipy.sparse.csr_matrix((values, columns, starts), shape=(rows, design.size))


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
