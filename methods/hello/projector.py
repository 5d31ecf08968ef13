"""The projector: a public image tower, low-rank changes to it, and a map to the classes."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.models.priors import Prior

from . import lora


class Map(nn.Module):
    """Unit features to logits: scale x features x (start + change).

    Args:
        start: what the map is before any change, such as unit text embeddings, (C, d).
        rank: of the change. At 0, or where two factors would hold as many numbers as the map
            itself, one full matrix takes their place.
    """

    start: Tensor

    def __init__(self, start: Tensor, rank: int) -> None:
        super().__init__()
        classes, width = start.shape
        self.register_buffer("start", start)
        if 0 < rank * (classes + width) < classes * width:
            self.into = nn.Parameter(torch.randn(rank, width, device=start.device) * width**-0.5)
            self.out = nn.Parameter(start.new_zeros(classes, rank))
        else:
            self.into = None
            self.out = nn.Parameter(start.new_zeros(classes, width))
        self.scale = nn.Parameter(start.new_tensor(20.0))

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, C) of unit features (B, d)."""
        change = self.out if self.into is None else self.out @ self.into
        return self.scale * (features @ (self.start + change).T)

    @torch.no_grad()
    def solve(self, features: Tensor, target: Tensor) -> None:
        """Set the change to the ridge regression of `target` logits (n, C) on `features` (n, d).

        The penalty pulls towards the start, not towards zero. A low-rank change takes the
        leading singular directions of the solution.
        """
        gram = features.T @ features
        # Unit features share one large mean; what tells classes apart has far less variance.
        penalty = 1e-4 * gram.trace() / len(gram) * torch.eye(len(gram), device=gram.device)
        rest = target / self.scale - features @ self.start.T
        change = torch.linalg.solve(gram + penalty, features.T @ rest).T
        if self.into is None:
            self.out.copy_(change)
            return
        u, s, v = torch.linalg.svd(change, full_matrices=False)
        rank, root = len(self.into), s.sqrt()
        self.out.copy_((u * root)[:, :rank])
        self.into.copy_((root[:, None] * v)[:rank])


class Projector(nn.Module):
    """Pixels to logits. Only low-rank changes, the map's change and the scale are trainable.

    The tower stays in evaluation mode, so batch normalisation keeps the prior's statistics.

    Args:
        prior: its tower is taken over, and changed in place.
        start: of the map, (C, d).
        rank: of the tower's changes; 0 leaves it as it is, which is a linear probe.
        map_rank: of the map's change; see `Map`.
        layers, form, alpha: see `lora.adapt`.
    """

    def __init__(
        self,
        prior: Prior,
        start: Tensor,
        rank: int,
        map_rank: int,
        alpha: float,
        layers: str = "auto",
        form: lora.LoraForm = "peft",
    ) -> None:
        super().__init__()
        self.prior = prior
        tower = prior.tower
        if rank:
            tower = lora.adapt(tower, layers, form, rank, alpha)
        self.tower = tower.to(memory_format=torch.channels_last)  # half as fast again
        self.map = Map(start, map_rank)
        super().train(False)

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: the prior's batch statistics are not ours to change."""
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, C) of pixels (B, 1 or 3, R, R) in 0..1."""
        return self.map(self.features(pixels))

    def features(self, pixels: Tensor) -> Tensor:
        """The tower's unit features, (B, d), of pixels (B, 1 or 3, R, R) in 0..1."""
        return F.normalize(self.tower(self.prior.normalise(pixels)), dim=-1)

    def changes(self) -> list[nn.Parameter]:
        """All that is trained and shipped, in the order of names."""
        return [p for _, p in sorted(self.named_parameters()) if p.requires_grad]

    def merge(self) -> None:
        """Add the changes to the weights: nothing can be trained any more, and all is faster."""
        lora.merge(self.tower)
        self.requires_grad_(False)
