"""Ship the teacher: the network itself, run online. The ceiling, and on small data the cheapest.

RDED's released code labels this way (Sun et al., CVPR 2024); no paper of the field counts it
as a rival in bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import torch
from torch import Tensor

from benchmark import networks
from benchmark.artefact import Artefact, Blob
from benchmark.contract import LabelSource, LabelTask
from benchmark.teachers import Teacher
from benchmark.views import ViewBatch

FLOATS = {"fp32": torch.float32, "fp16": torch.float16}


class ShippedTeacher(LabelSource):
    """Logits of the shipped network on every view.

    `int8` stores weights of two or more dimensions as whole numbers with one fp16 scale for
    each output channel (the largest absolute weight becomes 127), all others as fp16.
    """

    paper = "Sun et al., On the Diversity and Realism of Distilled Dataset (RDED), CVPR 2024"
    space = "logits"

    @dataclass(frozen=True)
    class Options:
        """weights: how the network's weights are stored."""

        weights: Literal["fp32", "fp16", "int8"] = "fp32"

    def __init__(self, task: LabelTask, options: Any, teacher: Teacher) -> None:
        super().__init__(task, options)
        self.teacher = teacher

    @classmethod
    def fit(cls, task: LabelTask, options: Any) -> Self:
        teacher, _, _ = task.fitting()
        return cls(task, options, teacher)

    def manifest(self) -> Mapping[str, Any]:
        teacher = self.teacher
        return {"network": teacher.network_name, "norm": [list(teacher.mean), list(teacher.std)]}

    def blobs(self) -> Iterable[Blob]:
        for name, value in self.teacher.network.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue  # only counts training steps
            if self.options.weights != "int8":
                yield Blob(name, "weights", value.to(FLOATS[self.options.weights]))
            elif value.ndim < 2:
                yield Blob(name, "weights", value.half())
            else:
                scale = value.flatten(1).abs().amax(1).clamp_min(1e-6) / 127
                scale = scale.half().clamp_min(2.0**-24)  # the smallest fp16 above zero
                shape = (-1,) + (1,) * (value.ndim - 1)
                whole = (value / scale.float().view(shape)).round().clamp(-127, 127)
                yield Blob(name, "weights", whole.to(torch.int8))
                yield Blob(f"{name}:scale", "weights", scale)

    @classmethod
    def restore(cls, task: LabelTask, options: Any, shipped: Artefact) -> Self:
        images, tensors = task.images, shipped.tensors
        name = shipped.manifest["network"]
        network = networks.create(name, task.classes, images.channels, images.resolution)
        weights = {}
        for key in network.state_dict().keys() & tensors.keys():
            value = tensors[key].float()
            if tensors[key].dtype == torch.int8:
                scale = tensors[f"{key}:scale"].float()
                value = value * scale.view((-1,) + (1,) * (value.ndim - 1))
            weights[key] = value
        network.load_state_dict(weights, strict=False)
        mean, std = shipped.manifest["norm"]
        teacher = Teacher(name, network, tuple(mean), tuple(std))
        return cls(task, options, teacher.to(task.device).eval().requires_grad_(False))

    @torch.no_grad()
    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        return self.teacher(images).float()
