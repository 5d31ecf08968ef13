"""The networks that students and teachers can be, by name.

All start from random weights and give logits. Images of at most 64 pixels a side get what the
field gives them: no early downsampling, smaller patches and windows. Torch is imported only
when a network is made.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .errors import UserError, unknown

if TYPE_CHECKING:
    from torch import nn

SMALL = 64  # pixels a side; larger images get the standard architectures
CONVNET = re.compile(r"convnet-d([1-9])(?:-w([1-9]\d*))?")
TIMM = "timm:"

NAMES = {
    "convnet-d3": "3-block ConvNet of width 128; also other depths and widths: convnet-d5-w32",
    "convnet-d4": "4-block ConvNet of width 128, the usual one for 64x64 images",
    "lenet": "LeNet with ReLU and max-pooling, 0.06 M parameters",
    "alexnet": "AlexNet cut down for CIFAR: two convolutions of width 64, 1.8 M parameters",
    "resnet20": "CIFAR ResNet with option-A shortcuts, 0.27 M parameters",
    "resnet56": "CIFAR ResNet with option-A shortcuts, 0.85 M parameters",
    "resnet18": "ResNet of basic blocks, 11.2 M parameters",
    "resnet50": "ResNet of bottleneck blocks, 23.5 M parameters",
    "resnet101": "ResNet of bottleneck blocks, 42.5 M parameters",
    "mobilenetv2": "MobileNetV2 of width 1.0, 2.2 M parameters",
    "efficientnet-b0": "EfficientNet-B0, 4.0 M parameters",
    "shufflenetv2": "ShuffleNetV2 of width 1.0, 1.3 M parameters",
    "deit-tiny": "DeiT-Tiny without distillation token, 5.4 M parameters",
    "swin-tiny": "Swin-Tiny, 27.5 M parameters",
    "timm:NAME": "any architecture of timm, as timm builds it for the images' resolution",
}


def names() -> dict[str, str]:
    """Name and one-line description of every network; parameters without the last layer's."""
    return dict(NAMES)


def check(name: str) -> None:
    """Raise unless `name` can be a network; names of timm's are looked up by `create`.

    Raises:
        UserError: there is no such network.
    """
    if not (name in NAMES or CONVNET.fullmatch(name) or name.startswith(TIMM)):
        raise unknown("network", name, NAMES)


def create(name: str, classes: int, channels: int, resolution: int) -> nn.Module:
    """The network `name` with random weights, drawn from torch's global generator.

    It maps normalised pixels (B, channels, resolution, resolution) to logits (B, classes).

    Raises:
        UserError: there is no such network, or it does not take such images.
    """
    check(name)
    if match := CONVNET.fullmatch(name):
        from .convnet import ConvNet

        depth, width = match.groups(default="128")
        return ConvNet(int(depth), int(width), classes, channels, resolution)
    if name in ("lenet", "alexnet"):
        from .lenet import AlexNet, LeNet

        return (LeNet if name == "lenet" else AlexNet)(classes, channels, resolution)
    if name in ("resnet20", "resnet56"):
        from .cifar_resnet import CifarResNet

        return CifarResNet((int(name[6:]) - 2) // 6, classes, channels)
    if name.startswith("resnet"):
        return resnet(name, classes, channels, resolution)
    if name == "mobilenetv2":
        return mobile("mobilenetv2_100", classes, channels, resolution)
    if name == "efficientnet-b0":
        return mobile("efficientnet_b0", classes, channels, resolution)
    if name == "shufflenetv2":
        return shufflenet(classes, channels, resolution)
    if name == "deit-tiny":
        return deit(classes, channels, resolution)
    if name == "swin-tiny":
        return swin(classes, channels, resolution)
    return from_timm(name.removeprefix(TIMM), classes, channels, resolution)


def headless(network: nn.Module, classes: int) -> int:
    """Take the last linear layer off, in place: the network then gives the features before it.

    Returns:
        How many features there are.

    Raises:
        UserError: the network does not end in a linear layer.
    """
    from torch import nn

    linear = [name for name, part in network.named_modules() if isinstance(part, nn.Linear)]
    last: Any = network.get_submodule(linear[-1]) if linear else None
    if last is None or last.out_features != classes:
        raise UserError(
            f"A {type(network).__name__} does not end in a linear layer of {classes} classes, so "
            "there are no features before it; take a network such as convnet-d3 or lenet."
        )
    network.set_submodule(linear[-1], nn.Identity())
    return last.in_features


def resnet(name: str, classes: int, channels: int, resolution: int) -> nn.Module:
    """timm's ResNet; small images get a 3x3 stem of stride 1 and no max-pooling."""
    import timm
    from torch import nn

    network = timm.create_model(name, num_classes=classes, in_chans=channels)
    if resolution <= SMALL:
        network.conv1 = nn.Conv2d(channels, 64, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
        network.maxpool = nn.Identity()  # type: ignore[assignment]
    return network


def mobile(name: str, classes: int, channels: int, resolution: int) -> nn.Module:
    """timm's MobileNetV2 or EfficientNet; on small images the stem keeps the resolution."""
    import timm

    network = timm.create_model(name, num_classes=classes, in_chans=channels)
    if resolution <= SMALL:
        network.get_submodule("conv_stem").stride = (1, 1)  # type: ignore[assignment]
    return network


def shufflenet(classes: int, channels: int, resolution: int) -> nn.Module:
    """torchvision's ShuffleNetV2; small images get a stem of stride 1 and no max-pooling."""
    from torch import nn
    from torchvision.models import shufflenet_v2_x1_0

    network = shufflenet_v2_x1_0(num_classes=classes)
    small = resolution <= SMALL
    network.conv1[0] = nn.Conv2d(channels, 24, 3, 1 if small else 2, padding=1, bias=False)
    if small:
        network.maxpool = nn.Identity()  # type: ignore[assignment]
    return network


def deit(classes: int, channels: int, resolution: int) -> nn.Module:
    """timm's DeiT-Tiny; small images are cut into patches of 4x4 pixels, not 16x16."""
    import timm

    patch = 4 if resolution <= SMALL else 16
    require_whole_patches("deit-tiny", patch, resolution)
    return timm.create_model(
        "deit_tiny_patch16_224",
        num_classes=classes,
        in_chans=channels,
        img_size=resolution,
        patch_size=patch,
    )


def swin(classes: int, channels: int, resolution: int) -> nn.Module:
    """timm's Swin-Tiny, with windows of resolution / 32 patches as published, but at least 4.

    Patches are 2x2 pixels up to 32 pixels a side, so that the last stage still sees 2x2 tokens,
    and 4x4 above.
    """
    import timm

    patch = 2 if resolution <= 32 else 4
    require_whole_patches("swin-tiny", patch, resolution)
    return timm.create_model(
        "swin_tiny_patch4_window7_224",
        num_classes=classes,
        in_chans=channels,
        img_size=resolution,
        patch_size=patch,
        window_size=max(4, resolution // 32),
    )


def require_whole_patches(name: str, patch: int, resolution: int) -> None:
    """Raise unless the image is a whole number of patches wide: the rest would go unseen."""
    if resolution % patch:
        raise UserError(
            f"{name} cuts images of {resolution} pixels a side into patches of {patch}: "
            f"the resolution must be a multiple of {patch}."
        )


def from_timm(name: str, classes: int, channels: int, resolution: int) -> nn.Module:
    """timm's own architecture `name`, told the resolution where its weights depend on it.

    One black image is run through it, so that one it cannot take is known before training.
    """
    import timm
    import torch

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


def module_of(name: str) -> str:
    """The module whose code makes the network `name`."""
    return __name__
