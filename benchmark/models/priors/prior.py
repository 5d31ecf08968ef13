"""A prior: a frozen image tower, and a text tower where it has one."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...core.errors import UserError
from .prompts import class_noun, templates


@dataclass
class Prior:
    """A frozen image tower, and a text tower where it has one.

    Attributes:
        name: `embedded`, `MODEL:WEIGHTS`, `timm:MODEL:WEIGHTS` or `torchvision:MODEL:WEIGHTS`.
        tower: normalised pixels (B, 3, R, R) to features (B, width); in evaluation mode, fp32.
        width: numbers in a feature.
        texts: n texts to unit embeddings (n, width) on the tower's device; None without a text
            tower.
        resolution: pixels a side that the image tower takes, R.
        mean, std: of pixels in 0..1, for normalising its input.
        digest: SHA-256 of all that decides its features; see `prior_digest`.
        bytes: of its weights in half precision, as the embedded file and OpenAI's hold them;
            what a user must have, beyond the artefact.
    """

    name: str
    tower: nn.Module
    width: int
    texts: Callable[[list[str]], Tensor] | None
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    bytes: int

    def embed_classes(self, names: Sequence[str], prompts: str) -> Tensor:
        """One unit text embedding a class, (C, width): the mean over the prompts' templates.

        Each text's embedding is normalised before the mean and the mean again, as in section
        3.1.4 of CLIP's paper.

        Raises:
            UserError: the prior has no text tower.
        """
        if self.texts is None:
            raise UserError(
                f"The prior {self.name!r} has no text tower, so it cannot embed class names."
            )
        nouns = [class_noun(name) for name in names]
        each = [self.texts([t.replace("{}", n) for n in nouns]) for t in templates(prompts)]
        return F.normalize(torch.stack(each).mean(0), dim=-1)

    def normalise(self, pixels: Tensor) -> Tensor:
        """What the tower takes, (B, 3, R, R), from pixels (B, 1 or 3, r, r) in 0..1."""
        if pixels.shape[1] == 1:
            pixels = pixels.expand(-1, 3, -1, -1)
        if pixels.shape[-1] != self.resolution:
            shrinks = pixels.shape[-1] > self.resolution
            pixels = F.interpolate(
                pixels, self.resolution, mode="bilinear", align_corners=False, antialias=shrinks
            )
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return (pixels - _row(self.mean, pixels.device)) / _row(self.std, pixels.device)


def _row(values: tuple[float, ...], device: torch.device) -> Tensor:
    """One value a channel, (1, channels, 1, 1); nothing waits for the copy to a GPU."""
    return torch.tensor(values).view(1, -1, 1, 1).to(device, non_blocking=True)


@torch.no_grad()
def feature_width(name: str, tower: nn.Module, resolution: int, device: torch.device) -> int:
    """Numbers that `tower` gives for one picture, by asking it.

    Raises:
        UserError: it gives anything but one row of them.
    """
    features = tower(torch.zeros(1, 3, resolution, resolution, device=device))
    if not isinstance(features, Tensor) or features.ndim != 2:
        raise UserError(f"The prior {name!r} gives no single row of features for a picture.")
    return features.shape[1]


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over every weight's name, shape and fp32 bytes, in name order."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(f"{name}{tuple(value.shape)}".encode())
        sha.update(value.detach().float().cpu().contiguous().numpy().data)
    return sha.hexdigest()


def prior_digest(
    model: nn.Module, resolution: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> str:
    """SHA-256 of all that decides features: weights, kinds of layers, and how pixels are prepared.

    An activation has no weights, yet OpenAI's weights in a network of another one give others.
    """
    sha = hashlib.sha256(weights_digest(model).encode())
    for name, part in model.named_modules():
        sha.update(f"{name}:{type(part).__name__};".encode())
    sha.update(repr((resolution, tuple(mean), tuple(std))).encode())
    return sha.hexdigest()


def half_bytes(model: nn.Module) -> int:
    """Bytes of a model's weights in half precision."""
    return sum(2 * value.numel() for value in model.state_dict().values())
