"""Image classifiers of timm and torchvision as priors: their towers, without text."""

from pathlib import Path

import torch
from torch import Tensor, nn

from ...core.errors import UserError, unknown
from ...data.images import IMAGENET_MEAN, IMAGENET_STD
from .prior import Prior, feature_width, half_bytes, prior_digest
from .source import Source

IMAGENET_CLASSES = 1000


def load_timm(source: Source, device: torch.device) -> Prior:
    """A timm model, `timm:MODEL:pretrained` or `timm:MODEL:PATH`; MODEL may carry timm's tag.

    Its features are pooled as timm does before the classifier. A file is one of timm's own for
    that model, with the classifier.

    Raises:
        UserError: as `load_prior`.
    """
    import timm  # takes seconds, and finished runs need none of it
    from timm.data.config import resolve_data_config

    known = {*timm.list_models(), *timm.list_pretrained()}
    if source.model not in known:
        raise unknown("timm model", source.model, known)
    shipped = timm.models.is_model_pretrained(source.model)
    source.check_weights(["pretrained"] if shipped else [])
    try:
        # Given as a state dict, so that timm itself unpickles no file.
        overlay = {"state_dict": _states(source.file), "custom_load": False} if source.file else {}
        tower = timm.create_model(source.model, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:
        raise source.failed(error, f"timm:{source.model}") from error
    tower.pretrained_cfg.pop("state_dict", None)  # type: ignore[operator]
    tower.reset_classifier(0)  # type: ignore[operator]
    config = resolve_data_config(model=tower)
    resolution = config["input_size"][-1]
    return as_prior(source.name, tower, resolution, config["mean"], config["std"], device)


def load_torchvision(source: Source, device: torch.device) -> Prior:
    """A torchvision classifier, `torchvision:MODEL:WEIGHTS`, with its last layer taken off.

    WEIGHTS is a member of the model's enum, such as IMAGENET1K_V1, or a file of its state dict,
    which is taken to see 224x224 pixels with ImageNet's mean and deviation.

    Raises:
        UserError: as `load_prior`, or the last linear layer is none of 1,000 classes.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if source.model not in known:
        raise unknown("torchvision model", source.model, known)
    weights = models.get_model_weights(source.model)
    source.check_weights([member.name for member in weights])
    resolution, mean, std = 224, IMAGENET_MEAN, IMAGENET_STD
    if not source.is_path:
        seen = weights[source.weights].transforms()
        resolution, mean, std = seen.crop_size[0], tuple(seen.mean), tuple(seen.std)
    try:
        if source.file is None:
            tower = models.get_model(source.model, weights=weights[source.weights])
        else:
            size = {"image_size": resolution} if source.model.startswith("vit") else {}
            tower = models.get_model(source.model, weights=None, **size)
            tower.load_state_dict(_states(source.file))
    except Exception as error:
        raise source.failed(error, f"torchvision:{source.model}") from error
    linear = [(name, m) for name, m in tower.named_modules() if isinstance(m, nn.Linear)]
    if not linear or linear[-1][1].out_features != IMAGENET_CLASSES:
        raise UserError(
            f"{source.model} has no last linear layer of {IMAGENET_CLASSES:,} classes to take off."
        )
    tower.set_submodule(linear[-1][0], nn.Identity())
    return as_prior(source.name, tower, resolution, mean, std, device)


def _states(file: Path) -> dict[str, Tensor]:
    """The weights in a file, by name; nothing in a pickle is run."""
    from timm.models import load_state_dict

    states = load_state_dict(str(file), use_ema=False, weights_only=True)
    if not states:
        raise ValueError("it holds no weights")
    return states


def as_prior(
    name: str,
    tower: nn.Module,
    resolution: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
) -> Prior:
    """`tower`, which gives features, frozen on `device`."""
    tower.float().eval().requires_grad_(False)
    # Before the move: a device need not send its weights back.
    digest = prior_digest(tower, resolution, mean, std)
    tower.to(device)
    width = feature_width(name, tower, resolution, device)
    return Prior(name, tower, width, None, resolution, mean, std, digest, half_bytes(tower))
