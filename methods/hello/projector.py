"""The projector: a frozen CLIP image tower, low-rank changes to it, and a map to the classes."""

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.errors import UserError

from benchmark.priors import Prior


class Projector(nn.Module):
    """Pixels to logits: scale x normalised features x (text embeddings + low-rank change).

    Only the low-rank matrices and the scale are trainable; they are all that is shipped. The
    tower stays in evaluation mode, so batch normalisation keeps the prior's statistics.

    Args:
        text: unit text embeddings of the class names, (C, d); the map's initial value.
        rank: of the changes to the tower's layers.
        map_rank: of the change to the map. Where its two factors would hold as many numbers as
            the map itself, one full matrix takes their place.
        alpha: LoRA's scaling: changes are multiplied by alpha / rank.
    """

    text: Tensor
    _mean: Tensor
    _std: Tensor

    def __init__(self, prior: Prior, text: Tensor, rank: int, map_rank: int, alpha: float) -> None:
        from peft import LoraConfig, inject_adapter_in_model  # as slow as open_clip

        super().__init__()
        self.resolution = prior.resolution
        device = text.device
        tower: nn.Module = prior.clip.visual  # type: ignore[assignment]
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=adapted_layers(tower))  # type: ignore[arg-type]
        tower = inject_adapter_in_model(config, tower).to(device)
        self.tower = tower.to(memory_format=torch.channels_last)  # half as fast again
        self.register_buffer("_mean", torch.tensor(prior.mean, device=device).view(1, -1, 1, 1))
        self.register_buffer("_std", torch.tensor(prior.std, device=device).view(1, -1, 1, 1))
        self.register_buffer("text", text)
        classes, width = text.shape
        if map_rank * (classes + width) < classes * width:
            self.map_in = nn.Parameter(torch.randn(map_rank, width, device=device) * width**-0.5)
            self.map_out = nn.Parameter(torch.zeros(classes, map_rank, device=device))
        else:
            self.map_in = None
            self.map_out = nn.Parameter(torch.zeros(classes, width, device=device))
        self.scale = nn.Parameter(torch.tensor(20.0, device=device))
        self._trained = sorted(n for n, p in self.named_parameters() if p.requires_grad)
        super().train(False)

    def train(self, mode: bool = True) -> "Projector":
        """Stays in evaluation mode: the prior's batch statistics are not ours to change."""
        return self

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, C) of pixels (B, 1 or 3, R, R) in 0..1."""
        features = self.features(pixels)
        change = self.map_out if self.map_in is None else self.map_out @ self.map_in
        return self.scale * (features @ (self.text + change).T)

    def features(self, pixels: Tensor) -> Tensor:
        """The adapted tower's unit features, (B, d), of pixels (B, 1 or 3, R, R) in 0..1."""
        if pixels.shape[1] == 1:
            pixels = pixels.expand(-1, 3, -1, -1)
        if pixels.shape[-1] != self.resolution:
            shrinks = pixels.shape[-1] > self.resolution
            pixels = F.interpolate(
                pixels, self.resolution, mode="bilinear", align_corners=False, antialias=shrinks
            )
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return F.normalize(self.tower((pixels - self._mean) / self._std), dim=-1)

    @torch.no_grad()
    def probe(self, features: Tensor, wanted: Tensor) -> None:
        """Set the map to the ridge regression of `wanted` logits (n, C) on `features` (n, d).

        The penalty pulls towards the text embeddings, not towards zero. A low-rank change takes
        the leading singular directions of the solution.
        """
        gram = features.T @ features
        # Unit features share one large mean; what tells classes apart has far less variance.
        penalty = 1e-4 * gram.trace() / len(gram) * torch.eye(len(gram), device=gram.device)
        rest = wanted / self.scale - features @ self.text.T
        change = torch.linalg.solve(gram + penalty, features.T @ rest).T
        if self.map_in is None:
            self.map_out.copy_(change)
            return
        u, s, v = torch.linalg.svd(change, full_matrices=False)
        rank, root = len(self.map_in), s.sqrt()
        self.map_out.copy_((u * root)[:, :rank])
        self.map_in.copy_((root[:, None] * v)[:rank])

    def trained(self) -> list[nn.Parameter]:
        """The trainable weights, frozen by now or not, in the order in which they are shipped."""
        return [self.get_parameter(name) for name in self._trained]

    def flat(self) -> Tensor:
        """All trainable weights in one row, float32 (numbers,)."""
        return torch.cat([p.detach().flatten().float() for p in self.trained()])

    @torch.no_grad()
    def unflatten(self, row: Tensor) -> None:
        """Set the trainable weights from `flat`'s row.

        Raises:
            UserError: it holds another number of weights.
        """
        weights = self.trained()
        sizes = [p.numel() for p in weights]
        if sum(sizes) != row.numel():
            raise UserError(
                f"The artefact holds {row.numel():,} weights, this projector {sum(sizes):,}."
            )
        for parameter, part in zip(weights, row.split(sizes), strict=True):
            parameter.copy_(part.view_as(parameter))


def adapted_layers(tower: nn.Module) -> str:
    """A regular expression for the layers that get low-rank changes.

    All 3x3 convolutions of a convolutional tower, which is what the paper's parameter counts
    fit (RN50 has 19); the MLPs' linear layers of a transformer. Matched by full names: a bare
    `conv1` would also catch 1x1 convolutions.
    """
    names = [
        n for n, m in tower.named_modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)
    ]
    if not names:
        names = [n for n, m in tower.named_modules() if isinstance(m, nn.Linear) and ".mlp." in n]
    if not names:
        raise UserError("This prior's image tower has no 3x3 convolutions and no MLPs to adapt.")
    return "|".join(re.escape(name) for name in names)
