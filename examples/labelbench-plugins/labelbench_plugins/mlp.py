"""Multi-layer perceptrons of one hidden layer, whose width stands in the name: `mlp-w64`."""

import re

from torch import nn

from benchmark import NetworkFamily


class MLPs(NetworkFamily):
    """Networks that see all pixels at once."""

    names = {"mlp-w64": "one hidden layer of width 64; also other widths: mlp-w256"}
    pattern = r"mlp-w(?P<width>[1-9]\d*)"
    most = {"width": 4096}

    def create(self, name: str, classes: int, channels: int, resolution: int) -> nn.Module:
        match = re.fullmatch(self.pattern, name)
        assert match is not None
        width, pixels = int(match["width"]), channels * resolution**2
        hidden = (nn.Linear(pixels, width), nn.BatchNorm1d(width), nn.ReLU())
        return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width, classes))
