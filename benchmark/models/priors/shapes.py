"""What a prior is built like, without its weights: enough to count what is added to it."""

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from safetensors import safe_open
from torch import nn

from ...core.errors import unknown
from .clips import EMBEDDED
from .source import Source

TOWER = "visual."  # before the names of an image tower's weights, in a file of open_clip's


def bare_tower(name: str) -> tuple[nn.Module, int]:
    """The image tower of the prior `name` with random weights, and the width of its features.

    The embedded one's is its layers alone, through which nothing passes.

    Raises:
        UserError: there is no such model.
    """
    if name == "embedded":
        with safe_open(EMBEDDED / "weights.safetensors", "pt") as file:
            names = [key for key in file.keys() if key.startswith(TOWER)]  # noqa: SIM118
            shapes = {key.removeprefix(TOWER): file.get_slice(key).get_shape() for key in names}
        width = json.loads((EMBEDDED / "model.json").read_text())["embed_dim"]
        return layers_of(shapes), int(width)
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


def layers_of(shapes: Mapping[str, Sequence[int]]) -> nn.Module:
    """Convolutions, linear layers and batch norms with random weights of these shapes, by name.

    What a ResNet of a library's is built of, without the seconds that the library takes to be
    imported; nothing passes through it. Convolutions in groups look like smaller ones.
    """
    layers: dict[str, dict[str, Sequence[int]]] = defaultdict(dict)
    for name, shape in shapes.items():
        owner, _, part = name.rpartition(".")
        layers[owner][part] = shape
    network = nn.Module()
    for owner in sorted(layers):  # whoever owns others comes before them
        *above, last = owner.split(".")
        place = network
        for name in above:
            if name not in dict(place.named_children()):
                place.add_module(name, nn.Module())
            place = place.get_submodule(name)
        place.add_module(last, _layer(layers[owner]))
    return network


def _layer(parts: Mapping[str, Sequence[int]]) -> nn.Module:
    weight, bias = parts.get("weight", ()), "bias" in parts
    if "running_mean" in parts:
        return nn.BatchNorm2d(weight[0])
    if len(weight) == 4:
        return nn.Conv2d(weight[1], weight[0], (weight[2], weight[3]), bias=bias)
    if len(weight) == 2:
        return nn.Linear(weight[1], weight[0], bias)
    other = nn.Module()
    for name, shape in parts.items():
        other.register_parameter(name, nn.Parameter(torch.empty(*shape)))
    return other
