"""LPLD: noise made into images whose batch-norm statistics are those of their own class.

Xiao and He, "Are Large-scale Soft Labels Necessary for Large-scale Dataset Distillation?"
(NeurIPS 2024, arXiv 2410.15919). As `sre2l`, with its deviations, but a group holds all images
of one class and is drawn towards that class's statistics, so that the images of a class share
out what the class looks like. LPQLD (arXiv 2604.18135) uses the same images.

Statistics are the authors' moving average over some ten batches. At 200 classes a batch has one or
two images of a class, so its variances are 0.65 to 0.77 of the class's own; `statistics=exact` has
those. A further deviation from their release: no group is larger than 100 images, as theirs for
Tiny-ImageNet, where their ImageNet groups hold a whole class.
"""

from dataclasses import dataclass
from typing import Literal

import safetensors.torch
from torch import nn

from benchmark.core.files import write_atomic
from benchmark.core.needs import Needs
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.images import Dataset, ResidentImages
from benchmark.models.batch_norm import Statistics, check_classes, class_statistics
from benchmark.models.image_source import ImageSource, ImageTask

from . import sre2l
from .sre2l import Group, crops, even_parts, recover, require_statistics


@dataclass(frozen=True)
class Options(sre2l.Options):
    """As SRe2L's, and how the statistics of classes are taken.

    Attributes:
        statistics: `moving`, the authors' average; `exact`, over a view of each training image.
        squeeze_batch: images at once when they are taken, 256 as theirs for Tiny-ImageNet;
            decides `moving` ones, and which views `exact` ones are of.
    """

    statistics: Literal["exact", "moving"] = "moving"
    squeeze_batch: int = 256

    PRESETS = {**sre2l.PRESETS, "tiny": sre2l.PRESETS["tiny"]._replace(weight=0.05)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.squeeze_batch < 1:
            raise ValueError(f"squeeze_batch must be at least 1, got {self.squeeze_batch}")


class LPLD(ImageSource[Options]):
    """Noise drawn towards the statistics of its own class."""

    paper = "Xiao and He, arXiv 2410.15919"

    def needs(self, ipc: int) -> Needs:
        return Needs(teacher=True)

    def validate(self, dataset: Dataset, ipc: int, network: nn.Module) -> None:
        require_statistics(ipc, network)
        check_classes(dataset.train)

    def work(self, dataset: Dataset, ipc: int) -> Work:
        made = sre2l.SRe2L(self.options).work(dataset, ipc)
        squeezed = Passes(TEACHER, len(dataset.train), self.options.squeeze_batch)
        return Work((*made.passes, squeezed), reads=squeezed.images)

    def make(self, task: ImageTask) -> ResidentImages:
        """Images recovered in groups of one class.

        Raises:
            UserError: the teacher has no batch normalisation, a class no images, or the loss is
                not finite.
        """
        self.validate(task.dataset, task.ipc, task.taught())
        groups = [
            Group(label * task.ipc + part, target=label)
            for part in even_parts(task.ipc)
            for label in range(len(task.dataset.class_names))
        ]
        return recover(task, self.options, groups, squeeze(task, self.options))


def squeeze(task: ImageTask, options: Options) -> Statistics:
    """The statistics of classes; kept in `task.scratch`, as the pass over all images is long."""
    file = task.scratch / "statistics.safetensors"
    if not file.is_file():
        train, moving = task.dataset.train, options.statistics == "moving"
        views = crops(task, options, len(train), options.squeeze_batch, epochs=1)
        found = class_statistics(task.taught(), train, views, task.compute, moving)
        # Contiguous copies: a layer's two are halves of one tensor.
        values = {
            f"{name} {layer}": value.cpu().clone()
            for layer, both in enumerate(found)
            for name, value in zip(("mean", "variance"), both, strict=True)
        }
        write_atomic(file, safetensors.torch.save(values))
    kept = safetensors.torch.load_file(file, device=str(task.device))
    return [(kept[f"mean {i}"], kept[f"variance {i}"]) for i in range(len(kept) // 2)]
