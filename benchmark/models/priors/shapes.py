"""What a prior is built like, without its weights: enough to count what is added to it."""

import json
import logging
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...core.errors import unknown
from .clips import EMBEDDED
from .source import Source

PARTS = {"image_size", "layers", "width", "head_width", "patch_size"}  # of a plain image tower

META = torch.device("meta")


def bare_tower(name: str) -> tuple[nn.Module, int]:
    """The image tower of the prior `name` with random weights, and the width of its features.

    Of CLIP's ResNets it is their layers alone, without numbers and the way through them.

    Raises:
        UserError: there is no such model.
    """
    source = Source.parse(name)
    told = _resnet(name, source)
    if told is not None:
        return layers_of(_resnet_shapes(told)), int(told["embed_dim"])
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


def _resnet(name: str, source: Source) -> dict[str, Any] | None:
    """What a CLIP is built of, by the file that says it, if its image tower is a ResNet."""
    if name == "embedded":
        file = EMBEDDED / "model.json"
    else:
        found = find_spec("open_clip") if source.library == "open_clip" else None
        if found is None or found.origin is None or not re.fullmatch(r"[\w-]+", source.model):
            return None
        file = Path(found.origin).parent / "model_configs" / f"{source.model}.json"
    told = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    vision = told.get("vision_cfg", {})
    return told if isinstance(vision.get("layers"), list) and vision.keys() <= PARTS else None


def _resnet_shapes(told: Mapping[str, Any]) -> dict[str, Sequence[int]]:
    """The shapes of the weights of open_clip's `ModifiedResNet`, by name."""
    vision = told["vision_cfg"]
    width = vision.get("width", 64)
    shapes: dict[str, Sequence[int]] = {}

    def convolution(owner: str, number: str, out: int, into: int, side: int = 3) -> None:
        shapes[f"{owner}conv{number}.weight"] = (out, into, side, side)
        norm(f"{owner}bn{number}", out)

    def norm(name: str, out: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (out,)

    half = width // 2
    for number, (out, into) in enumerate(((half, 3), (half, half), (width, half)), 1):
        convolution("", str(number), out, into)
    into = width
    for stage, blocks in enumerate(vision["layers"]):
        inner = width * 2**stage
        for block in range(blocks):
            owner = f"layer{stage + 1}.{block}."
            convolution(owner, "1", inner, into, 1)
            convolution(owner, "2", inner, inner)
            convolution(owner, "3", 4 * inner, inner, 1)
            if not block:
                shapes[f"{owner}downsample.0.weight"] = (4 * inner, into, 1, 1)
                norm(f"{owner}downsample.1", 4 * inner)
            into = 4 * inner
    for part, out in (("k", into), ("q", into), ("v", into), ("c", told["embed_dim"])):
        shapes[f"attnpool.{part}_proj.weight"] = (out, into)
        shapes[f"attnpool.{part}_proj.bias"] = (out,)
    cells = (vision.get("image_size", 224) // 32) ** 2
    shapes["attnpool.positional_embedding"] = (cells + 1, into)
    return shapes


def layers_of(shapes: Mapping[str, Sequence[int]]) -> nn.Module:
    """Convolutions, linear layers and batch norms without numbers, by the shapes of their weights.

    What a library's ResNet is built of, without the seconds that the library takes to be imported.
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
        return nn.BatchNorm2d(weight[0], device=META)
    if len(weight) == 4:
        return nn.Conv2d(weight[1], weight[0], (weight[2], weight[3]), bias=bias, device=META)
    if len(weight) == 2:
        return nn.Linear(weight[1], weight[0], bias, META)
    other = nn.Module()
    for name, shape in parts.items():
        other.register_parameter(name, nn.Parameter(torch.empty(*shape, device=META)))
    return other
