"""CLIP models as priors, with both towers: the embedded one, and open_clip's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ...core.errors import unknown
from ...data.images import IMAGENET_MEAN, IMAGENET_STD
from .prior import Prior, feature_width, half_bytes, prior_digest
from .source import Source

if TYPE_CHECKING:
    from open_clip.model import CLIP

EMBEDDED = Path(__file__).parent / "embedded"
Tokeniser = Callable[[list[str]], Tensor]


def embedded_model() -> tuple["CLIP", Tokeniser]:
    """The embedded prior's architecture with random weights, and its tokeniser."""
    import open_clip  # takes seconds, and finished runs need none of it
    from open_clip.model import CLIP

    config = json.loads((EMBEDDED / "model.json").read_text())
    tokenise = open_clip.SimpleTokenizer(
        bpe_path=str(EMBEDDED / "merges.txt.gz"),
        context_length=config["text_cfg"]["context_length"],
    )
    return CLIP(**config), tokenise


def load_embedded(device: torch.device) -> Prior:
    """The embedded prior; its bytes are its file's."""
    clip, tokenise = embedded_model()
    file = EMBEDDED / "weights.safetensors"
    clip.load_state_dict({name: value.float() for name, value in load_file(file).items()})
    prior = _prior("embedded", clip, tokenise, IMAGENET_MEAN, IMAGENET_STD, device)
    prior.bytes = file.stat().st_size
    return prior


def load_open_clip(source: Source, device: torch.device) -> Prior:
    """An open_clip model, `MODEL:WEIGHTS`.

    Raises:
        UserError: as `load_prior`.
    """
    import open_clip

    models = open_clip.list_models()
    if source.model not in models:
        raise unknown(
            "prior", source.model, ["embedded", "timm", "torchvision", "package", *models]
        )
    source.check_weights(open_clip.list_pretrained_tags_by_model(source.model))
    told = open_clip.get_pretrained_cfg(source.model, source.weights)  # nothing of a path
    # `RN50:openai` names weights that were trained with QuickGELU, and a model without it.
    quick = bool(told.get("quick_gelu"))
    try:
        clip = open_clip.create_model(
            source.model,
            pretrained=str(source.file or source.weights),
            force_quick_gelu=quick,
            force_preprocess_cfg=told,
        )
        tokenise = open_clip.get_tokenizer(source.model)
    except Exception as error:
        by_file = source.model.removesuffix("-quickgelu") + ("-quickgelu" if quick else "")
        raise source.failed(error, by_file) from error
    mean = getattr(clip.visual, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN
    std = getattr(clip.visual, "image_std", None) or open_clip.OPENAI_DATASET_STD
    return _prior(source.name, clip, tokenise, tuple(mean), tuple(std), device)


def _prior(
    name: str,
    clip: nn.Module,
    tokenise: Tokeniser,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
) -> Prior:
    clip.float().eval().requires_grad_(False)
    tower: nn.Module = clip.visual  # type: ignore[assignment]
    side: int | tuple[int, int] = tower.image_size  # type: ignore[assignment]
    resolution = side if isinstance(side, int) else side[0]
    # Before the move: a device need not send its weights back.
    digest = prior_digest(clip, resolution, mean, std)
    clip.to(device)

    @torch.no_grad()
    def embed(texts: list[str]) -> Tensor:
        features = [
            clip.encode_text(tokenise(texts[i : i + 256]).to(device))  # type: ignore[operator]
            for i in range(0, len(texts), 256)
        ]
        return F.normalize(torch.cat(features).float(), dim=-1)

    width = feature_width(name, tower, resolution, device)
    return Prior(name, tower, width, embed, resolution, mean, std, digest, half_bytes(clip))
