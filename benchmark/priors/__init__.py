"""Priors: public CLIP models that HeLlO builds on, which must be present but are not shipped.

`embedded` is this project's own small CLIP, kept in the package (see `embedded/CARD.md`); any
open_clip model is named `MODEL:WEIGHTS`, such as `RN50:openai`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmark.errors import UserError, unknown
from benchmark.images import IMAGENET_MEAN, IMAGENET_STD

if TYPE_CHECKING:
    from open_clip.model import CLIP

EMBEDDED = Path(__file__).parent / "embedded"
TEMPLATE = "a photo of a {}."


@dataclass
class Prior:
    """A frozen CLIP.

    Attributes:
        name: `embedded`, or `MODEL:WEIGHTS` as open_clip names them.
        clip: the model, in evaluation mode, fp32.
        tokenise: texts to token ids (n, context length).
        resolution: pixels a side that the image tower takes.
        mean, std: of pixels in 0..1, for normalising its input.
        digest: SHA-256 of all its weights.
        bytes: of its weights in half precision, as the embedded file and OpenAI's hold them;
            what a user must have, beyond the artefact.
    """

    name: str
    clip: nn.Module
    tokenise: Callable[[list[str]], Tensor]
    resolution: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str
    bytes: int

    @torch.no_grad()
    def embed_classes(self, names: Sequence[str], template: str = TEMPLATE) -> Tensor:
        """One unit text embedding a class, (C, d).

        A name that lists synonyms ("goldfish, Carassius auratus") counts by its first.
        """
        device = next(self.clip.parameters()).device
        texts = [template.format(name.split(",")[0].replace("_", " ")) for name in names]
        features = [
            self.clip.encode_text(self.tokenise(texts[i : i + 256]).to(device))  # type: ignore
            for i in range(0, len(texts), 256)
        ]
        return F.normalize(torch.cat(features).float(), dim=-1)


def load_prior(name: str, device: torch.device) -> Prior:
    """The prior called `name`, on `device`.

    Raises:
        UserError: open_clip knows no such model or weights, or they are not on this machine
            and cannot be downloaded.
    """
    if name == "embedded":
        return _embedded(device)
    import open_clip  # takes seconds, and finished runs need none of it

    model_name, _, weights = name.partition(":")
    if model_name not in open_clip.list_models():
        raise unknown("prior", model_name, ["embedded", *open_clip.list_models()])
    known = open_clip.list_pretrained_tags_by_model(model_name)
    if weights not in known and not Path(weights).is_file():
        raise unknown(f"weights of {model_name}", weights, known)
    # `RN50:openai` names weights that were trained with QuickGELU, and a model without it.
    quick = bool(open_clip.get_pretrained_cfg(model_name, weights).get("quick_gelu"))
    try:
        clip, _, _ = open_clip.create_model_and_transforms(
            model_name, pretrained=weights, force_quick_gelu=quick
        )
    except Exception as error:
        with_file = model_name.removesuffix("-quickgelu") + ("-quickgelu" if quick else "")
        raise UserError(
            f"The prior {name!r} is not on this machine and could not be downloaded "
            f"({type(error).__name__}: {error}). Offline: fetch its weights elsewhere, and name "
            f"the file: {with_file}:PATH."
        ) from error
    side: int | tuple[int, int] = clip.visual.image_size  # type: ignore[assignment]
    return Prior(
        name,
        clip.float().eval().requires_grad_(False).to(device),
        open_clip.get_tokenizer(model_name),
        side if isinstance(side, int) else side[0],
        tuple(getattr(clip.visual, "image_mean", None) or open_clip.OPENAI_DATASET_MEAN),
        tuple(getattr(clip.visual, "image_std", None) or open_clip.OPENAI_DATASET_STD),
        weights_digest(clip),
        sum(p.numel() * 2 for p in clip.state_dict().values()),
    )


def embedded_model() -> tuple["CLIP", Callable[[list[str]], Tensor]]:
    """The embedded prior's architecture with random weights, and its tokeniser."""
    import open_clip
    from open_clip.model import CLIP

    config = json.loads((EMBEDDED / "model.json").read_text())
    tokenise = open_clip.SimpleTokenizer(
        bpe_path=str(EMBEDDED / "merges.txt.gz"),
        context_length=config["text_cfg"]["context_length"],
    )
    return CLIP(**config), tokenise


def _embedded(device: torch.device) -> Prior:
    clip, tokenise = embedded_model()
    file = EMBEDDED / "weights.safetensors"
    weights = load_file(file)
    clip.load_state_dict({name: value.float() for name, value in weights.items()})
    return Prior(
        "embedded",
        clip.eval().requires_grad_(False).to(device),
        tokenise,
        clip.visual.image_size,  # type: ignore[arg-type]
        IMAGENET_MEAN,
        IMAGENET_STD,
        weights_digest(clip),
        file.stat().st_size,
    )


def weights_digest(model: nn.Module) -> str:
    """SHA-256 over every weight's name, shape and fp32 bytes, in name order."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(f"{name}{tuple(value.shape)}".encode())
        sha.update(value.detach().float().cpu().contiguous().numpy().data)
    return sha.hexdigest()
