"""What a prior is built like, without its weights: enough to count what is added to it."""

import logging

from torch import nn

from ...core.errors import unknown
from .source import Source


def bare_tower(name: str) -> tuple[nn.Module, int]:
    """The image tower of the prior `name` with random weights, and the width of its features.

    Raises:
        UserError: there is no such model.
    """
    if name == "embedded":
        from .clips import embedded_model

        clip = embedded_model()[0]
        return clip.visual, int(clip.text_projection.shape[1])  # type: ignore[return-value, union-attr]
    source = Source.parse(name)
    if source.library == "open_clip":
        import open_clip

        if source.model not in open_clip.list_models():
            raise unknown("prior", source.model, open_clip.list_models())
        told = open_clip.get_model_config(source.model)
        assert told is not None
        logger, level = logging.getLogger(), logging.getLogger().level
        logger.setLevel(logging.ERROR)  # it warns of random weights, which are wanted
        try:
            tower = open_clip.create_model(source.model, pretrained=None).visual
        finally:
            logger.setLevel(level)
        return tower, told["embed_dim"]  # type: ignore[return-value]
    if source.library == "torchvision":
        from torchvision import models

        tower = models.get_model(source.model, weights=None)
        last = [n for n, m in tower.named_modules() if isinstance(m, nn.Linear)][-1]
        width = tower.get_submodule(last).in_features
        tower.set_submodule(last, nn.Identity())
        return tower, int(width)  # type: ignore[arg-type]
    import timm

    from .packages import KNOWN

    model = KNOWN[source.model][1] if source.library == "package" else source.model
    tower = timm.create_model(model, pretrained=False, num_classes=0)
    return tower, int(tower.num_features)  # type: ignore[arg-type]
