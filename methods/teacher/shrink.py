"""A network in fewer bytes: small weights left out, or weights as products of two factors.

A state holds what is shipped, by name: a weight under its own, or its two factors under
`NAME:0` and `NAME:1`, as torch's parametrisations call them.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from benchmark.core.progress import track
from benchmark.labels.weights import cut, flat

STEPS = 16

Weights = Mapping[str, Tensor]
Shapes = Mapping[str, torch.Size]


def whole(network: nn.Module) -> dict[str, Tensor]:
    """All tensors of a network, on the CPU, but for what only counts its training steps."""
    return {
        name: value.detach().cpu()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def matrices(network: nn.Module) -> dict[str, torch.Size]:
    """Names and shapes of the weights that can be shrunk: those of two or more dimensions."""
    return {name: p.shape for name, p in network.named_parameters() if p.ndim > 1}


class Pruning:
    """The largest weights by absolute value are kept, over all layers together.

    Han, Mao and Dally, Deep Compression, ICLR 2016, arXiv 1510.00149.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.row = flat(list(weights.values()))
        self.order = self.row.abs().argsort(descending=True, stable=True)

    def at(self, share: float) -> dict[str, Tensor]:
        """The weights with zeros for all but this share of them; at least one is kept."""
        kept = self.order[: max(1, round(share * len(self.row)))]
        row = torch.zeros_like(self.row)
        row[kept] = self.row[kept]
        shapes = [weight.shape for weight in self.weights.values()]
        return dict(zip(self.weights, cut(row, shapes), strict=True))


class LowRank:
    """Each weight, as a matrix (out, rest), becomes the product of two factors.

    Truncated singular value decomposition: Denton et al., Exploiting Linear Structure Within
    Convolutional Networks, NeurIPS 2014, arXiv 1404.0736.
    """

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.parts = {
            name: torch.linalg.svd(weight.float().flatten(1), full_matrices=False)
            for name, weight in weights.items()
        }

    def at(self, share: float) -> dict[str, Tensor]:
        """Factors of the ranks that `rank` gives; a weight too small for any stays whole."""
        state = {}
        for name, weight in self.weights.items():
            if r := rank(weight.shape, share):
                left, values, right = self.parts[name]
                root = values[:r].sqrt()
                state[f"{name}:0"] = left[:, :r] * root
                state[f"{name}:1"] = root[:, None] * right[:r]
            else:
                state[name] = weight
        return state


def rank(shape: torch.Size, share: float) -> int:
    """Rank of a weight's factors, 0 if it stays whole.

    It is a share of the rank at which both factors hold as many numbers as the weight, but at
    least 1; a weight stays whole where its factors would not be smaller, or the share is 1.
    """
    out, rest = shape[0], shape[1:].numel()
    found = max(1, int(share * out * rest / (out + rest)))
    return found if share < 1 and found * (out + rest) < out * rest else 0


def layout(shapes: Shapes, share: float) -> dict[str, torch.Size]:
    """Names and shapes of the state that `LowRank.at` gives for weights of these shapes."""
    found = {}
    for name, shape in shapes.items():
        if r := rank(shape, share):
            found[f"{name}:0"] = torch.Size((shape[0], r))
            found[f"{name}:1"] = torch.Size((r, shape[1:].numel()))
        else:
            found[name] = shape
    return found


def dense(state: Weights, shapes: Shapes) -> dict[str, Tensor]:
    """The state with factors multiplied, as a network loads it.

    Args:
        shapes: of the weights that may be factors.
    """
    loadable = {name: value for name, value in state.items() if ":" not in name}
    for name in shapes.keys() - loadable.keys():
        loadable[name] = (state[f"{name}:0"] @ state[f"{name}:1"]).view(shapes[name])
    return loadable


def largest_share(size: Callable[[float], int], room: int) -> float:
    """The largest share, in steps of 2^-16, whose size fits; 0 if none does.

    Args:
        size: bytes at a share above 0; never falls as the share grows.
    """
    if size(1.0) <= room:
        return 1.0
    fits, too_large = 0, 2**STEPS
    for _ in track(range(STEPS), "shrink the teacher"):
        middle = (fits + too_large) // 2
        if size(middle / 2**STEPS) <= room:
            fits = middle
        else:
            too_large = middle
    return fits / 2**STEPS
