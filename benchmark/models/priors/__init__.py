"""Priors: public pre-trained models to build labels on, which must be present but are not shipped.

`embedded` is this project's own small CLIP, kept in the package (see `embedded/CARD.md`). Others
are named after the library that builds them, `MODEL:WEIGHTS` (open_clip), `timm:MODEL:WEIGHTS`
or `torchvision:MODEL:WEIGHTS`; or come as packages, `package:MODEL:PIXELS`. WEIGHTS is one of the
library's names, such as `RN50:openai`, `timm:resnet18:pretrained` or
`torchvision:resnet18:IMAGENET1K_V1`, or a file. The folder that LABELBENCH_PRIORS names is searched
for files, and before any download: see `source.Source.file`.
"""

import torch

from ...core.files import file_digest
from . import backbones, clips, packages
from .prior import Prior, prior_digest, weights_digest
from .shapes import bare_tower
from .source import Source

__all__ = [
    "Prior",
    "bare_tower",
    "content",
    "fetched",
    "load_prior",
    "prior_digest",
    "weights_digest",
]


def load_prior(name: str, device: torch.device) -> Prior:
    """The prior called `name`, on `device`.

    Raises:
        UserError: there is no such model, or no such weights; a file holds another model's; or
            the weights are not on this machine and cannot be downloaded.
    """
    if name == "embedded":
        return clips.load_embedded(device)
    source = Source.parse(name)
    load = {
        "open_clip": clips.load_open_clip,
        "timm": backbones.load_timm,
        "torchvision": backbones.load_torchvision,
        "package": packages.load_package,
    }
    return load[source.library](source, device)


def content(name: str) -> str | None:
    """SHA-256 of the file that holds a prior's weights, for cache keys; None where none is known.

    The embedded prior's and files found on this machine are; what a library would download is
    not, and its name has to do.
    """
    source = Source.parse(name)
    if name == "embedded":
        file = clips.EMBEDDED / "weights.safetensors"
    else:
        file = packages.file_of(source.model) if source.library == "package" else source.file
    return None if file is None else file_digest(file)


def fetched(name: str) -> str:
    """As `content`, of a prior that is there afterwards: what a library has, it downloads.

    Raises:
        UserError: as `load_prior`.
    """
    return content(name) or load_prior(name, torch.device("cpu")).digest
