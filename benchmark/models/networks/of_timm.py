"""Any other architecture of timm, told the resolution where its weights depend on it."""

from typing import Any

import torch
from torch import nn

from ...core.errors import UserError, unknown
from ..network_family import NetworkFamily


class TimmModels(NetworkFamily):
    """Whatever timm makes."""

    names = {"timm:NAME": "any architecture of timm, as timm builds it for the images' resolution"}
    pattern = r"timm:.*"

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        """The network with random weights.

        One black image is run through it, so that one it cannot take is known before training.

        Raises:
            UserError: timm has no such model, or it does not take such images.
        """
        import timm  # takes seconds, and finished runs need none of it

        name = name.removeprefix("timm:")
        if not timm.is_model(name):
            raise unknown("timm model", name, timm.list_models())
        try:
            config = timm.get_pretrained_cfg(name)
            sized: dict[str, Any] = (
                {"img_size": resolution} if config and config.fixed_input_size else {}
            )
            network = timm.create_model(name, num_classes=classes, in_chans=channels, **sized)
            with torch.no_grad():
                shape = network.eval()(torch.zeros(1, channels, resolution, resolution)).shape
        except Exception as error:  # each architecture objects in its own way
            raise UserError(
                f"timm:{name} does not take images of {resolution} pixels a side with {channels} "
                f"channels ({type(error).__name__}: {error})."
            ) from error
        if shape != (1, classes):
            raise UserError(f"timm:{name} gives outputs {tuple(shape[1:])}, not {classes} logits.")
        return network.train()
