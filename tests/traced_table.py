"""The table `traced.json`: what the shipped grids ask of networks that libraries make.

Run as a program it writes the table anew; a test asks whether all that grids ask stands there, and
whether it is what is traced.
"""

import json
import logging
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import open_clip
import torch
from torch import nn

from benchmark.core.code_digest import code_of
from benchmark.core.device import Compute
from benchmark.core.work import PRIOR
from benchmark.data.images import Dataset, ResidentImages
from benchmark.data.views import ViewPlan
from benchmark.experiment import footprint, grid, traced
from benchmark.experiment.dataset_and_teacher import Runtime
from benchmark.experiment.footprint import Footprint, few_of
from benchmark.experiment.memory import Peaks
from benchmark.experiment.pace import Subject
from benchmark.experiment.run_cell import Cells
from benchmark.experiment.stages import Experiment
from benchmark.models import networks
from benchmark.models.priors import Prior
from benchmark.models.priors.source import Source

SIZES = {  # of each dataset of a grid: classes, channels, pixels a side, whether it is mirrored
    "cifar10": (10, 3, 32, True),
    "digits": (10, 1, 8, False),
    "tiny_imagenet": (200, 3, 64, True),
}
MOST_IPC = 50 * 4  # images a class that a grid takes at most, of four crops each
LATE = {"timm", "torchvision"}  # libraries that take long to import
PRECISIONS = (False, True)


@dataclass(frozen=True)
class Asked:
    """What a grid asks of a network, and for which images."""

    images: ResidentImages
    network: str
    trained: bool
    plan: ViewPlan | None

    @property
    def size(self) -> tuple[int, int, int]:
        """Classes, channels and pixels a side."""
        return len(self.images.class_names), self.images.channels, self.images.resolution

    @property
    def size_key(self) -> str:
        """By which the table knows how the network is built."""
        return traced.size_key(self.network, self.size)

    def of(self, bf16: bool) -> tuple[Footprint, str]:
        """Who answers, and by which key."""
        there = Footprint(self.images, Compute(torch.device("cpu"), bf16))
        return there, there.key(self.network, self.trained, self.plan)


class Listening(Footprint):
    """Keeps what it is asked, and answers at once."""

    def __init__(self, images: ResidentImages) -> None:
        self.images, self.asked = images, dict[Asked, None]()

    def of(self, subject: Subject, plan: ViewPlan | None, optimiser: str = "sgd") -> int:
        if plan is not None:
            plan = few_of(plan)
        self.asked[Asked(self.images, subject.network, subject.trained, plan)] = None
        return 0


def asked(config: str) -> list[Asked]:
    """What a shipped grid asks of networks that take long to import."""
    whole = grid.make_grid(grid.read_config(Path(config)))
    some = replace(whole, ipc=whole.ipc[:1], seeds=1)
    classes, channels, side, mirror = SIZES[whole.dataset.partition(":")[0]]
    classes = int(whole.dataset.partition(":")[2] or classes)
    labels = torch.arange(classes).repeat(MOST_IPC)
    pixels = torch.zeros(1, channels, side, side, dtype=torch.uint8).expand(len(labels), -1, -1, -1)
    images = ResidentImages(pixels, labels, [str(n) for n in range(classes)], config)
    statistics = (0.5,) * channels
    with TemporaryDirectory() as folder:
        cpu = Compute(torch.device("cpu"), bf16=False)
        experiment = Experiment(some, Runtime(Path(folder), cpu, None, look_only=True))
        dataset = Dataset(whole.dataset, images, images, statistics, statistics, mirror)
        experiment.__dict__["dataset"] = dataset
        peaks, runner = Peaks(experiment), Cells(experiment)
        listening = Listening(images)
        peaks.footprint = listening
        labelled = experiment.resolve(list(grid.cells(some)), fetch=False).labels
        peaks.of([runner.resolve(cell, labels) for cell, labels in labelled.items()])
    return [each for each in listening.asked if is_late(each.network)]


def is_late(network: str) -> bool:
    """Whether what makes a network takes long to import."""
    if network.startswith(PRIOR):
        return True
    return bool(LATE & code_of(networks.module_of(network)).libraries.keys())


def absent(name: str, device: torch.device) -> Prior:
    """An open_clip prior as it is built, with random weights."""
    model = Source.parse(name).model
    tower: Any = open_clip.create_model(model, pretrained=None).visual
    told = open_clip.get_model_config(model)
    assert told is not None
    side = told["vision_cfg"]["image_size"]
    width, mean = told["embed_dim"], (0.5,) * 3
    return Prior(name, tower.eval().requires_grad_(False), width, None, side, mean, mean, "", 0)


def norms_of(network: nn.Module) -> list[int]:
    """Features of each batch norm."""
    return [part.num_features for part in network.modules() if isinstance(part, nn.BatchNorm2d)]


def grown_by(library: str) -> int:
    """Bytes by which a process grows as it imports a library, torch being there."""
    code = "import torch; from benchmark.experiment.memory import resident; before = resident(); "
    code += f"import {library}; print(resident() - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout)


def write() -> None:
    """Write the table."""
    logging.disable(logging.WARNING)
    load = footprint.load_prior
    footprint.load_prior = lambda n, d: load(n, d) if n == "embedded" else absent(n, d)
    configs = sorted(path.stem for path in grid.CONFIGS.glob("*.toml"))
    wanted = [each for config in configs for each in asked(config)]
    steps, norms = {}, {}
    for each in wanted:
        for there, key in map(each.of, PRECISIONS):
            if key not in steps:
                found = there.traced(each.network, each.trained, each.plan)
                assert found is not None, key
                steps[key] = [found.weights, found.moved, found.lines]
        if not each.network.startswith(PRIOR):
            norms[each.size_key] = norms_of(networks.create(each.network, *each.size))
    imports = {name: grown_by(name) for name in ("timm", "open_clip")}
    parts = {"libraries": traced.libraries(), "imports": imports, "steps": steps, "norms": norms}
    told = []
    for name, part in parts.items():
        lines = [f"  {json.dumps(key)}: {json.dumps(part[key])}" for key in sorted(part)]
        told.append(f' "{name}": {{\n' + ",\n".join(lines) + "\n }")
    traced.TABLE.write_text("{\n" + ",\n".join(told) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    write()
