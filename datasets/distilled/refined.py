"""HeLlO's image update: another source's images, shrunk so that a prior sees them as before.

Heavy Labels Out! (ICCV 2025, arXiv 2408.08201) refines RDED's mosaics without the teacher, whose
place its projector takes: it minimises the mean squared error between the prior's features of a
picture and of its copy, sampled down and up again. Here each image of the `base` source, at the
full resolution R, becomes a tile of R / factor pixels, first by averaging. Adam then moves the
tile's pixels so that the tile, sampled up to R, has the features of the image. factor² tiles make
up one stored image, as in `rded`: the base's best images of a class in its first tiles.

The authors published neither code nor settings. What the paper leaves open, and our choice:
- what is refined: RDED's best crops at full resolution, four to an image (base=rded, factor=2);
- the optimiser and how long it works: Adam, its lr constant (steps=100, lr=0.01), pixels
  clamped to 0..1 after each step; the last iterate counts;
- the features: of the prior's image tower without any LoRA, scaled to unit length
  (prior=embedded, where the paper's is CLIP);
- sampling: down by averages of factor x factor pixels, up bilinearly.

`steps=0` gives plain mosaics, the control. Repeated runs on a GPU agree up to the order in which
it adds gradients.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save
from torch import Tensor, nn

from benchmark.core.errors import UserError
from benchmark.core.files import write_atomic
from benchmark.core.needs import Needs
from benchmark.core.progress import track
from benchmark.data.images import Dataset, ResidentImages
from benchmark.models.image_source import ImageSource, ImageTask
from benchmark.models.priors import Prior, load_prior

from .rded import tile


@dataclass(frozen=True)
class Options:
    """How images are shrunk; see above for what the paper says of it.

    Attributes:
        base: the source of the images to shrink, with its options from `--set`.
        factor: tiles a side of each stored image.
        steps: of Adam, for each tile.
        lr: Adam's, in units of pixels in 0..1.
        prior: whose features tell images apart, named as `hello` names its own.
        batch_size: tiles refined at once; only memory and time depend on it.
    """

    base: str = "rded"
    factor: int = 2
    steps: int = 100
    lr: float = 0.01
    prior: str = "embedded"
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.factor < 2:
            raise ValueError(
                f"factor must be at least 2, got {self.factor}: a tile as large as its image "
                "leaves nothing to refine"
            )
        if self.steps < 0:
            raise ValueError(f"steps must not be negative, got {self.steps}")
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


class Refined(ImageSource[Options]):
    """HeLlO's image update of another source's images."""

    paper = "Heavy Labels Out!, ICCV 2025, arXiv 2408.08201"

    def needs(self, ipc: int) -> Needs:
        return Needs(
            priors=(self.options.prior,), images=(self.options.base, ipc * self.options.factor**2)
        )

    def validate(self, dataset: Dataset, ipc: int, network: nn.Module) -> None:
        side = dataset.train.resolution
        if side % self.options.factor:
            valid = ", ".join(str(f) for f in range(2, side + 1) if side % f == 0)
            raise UserError(
                f"factor {self.options.factor} does not divide {side} pixels; valid: {valid}."
            )

    def make(self, task: ImageTask) -> ResidentImages:
        """Mosaics of the base's images, shrunk and refined.

        Finished batches stay in `task.scratch`.

        Raises:
            UserError: `factor` does not divide the resolution, there is no such prior, or its
                features are not finite.
        """
        self.validate(task.dataset, task.ipc, nn.Identity())
        names = task.dataset.class_names
        batches = task.based().pixels.split(self.options.batch_size)
        files = [task.scratch / f"tiles-{number}.safetensors" for number in range(len(batches))]
        missing = [
            (batch, file) for batch, file in zip(batches, files, strict=True) if not file.is_file()
        ]
        steps = refine(missing, task, self.options)
        for _ in track(steps, "refine images", len(missing) * (self.options.steps + 1)):
            pass
        tiles = torch.cat([load_file(file)["tiles"] for file in files])
        mosaics = [tile(of_class, self.options.factor) for of_class in tiles.chunk(len(names))]
        labels = torch.arange(len(names)).repeat_interleave(task.ipc)
        return ResidentImages(torch.cat(mosaics), labels, names)


def refine(batches: list[tuple[Tensor, Path]], task: ImageTask, options: Options) -> Iterator[None]:
    """Write the tiles of each batch of images, uint8 (B, C, R, R), into its file.

    Yields after each step and after each file, for whoever shows the progress.
    """
    prior = load_prior(options.prior, task.device) if batches and options.steps else None
    for images, file in batches:
        pixels = images.to(task.device).float() / 255
        tiles = F.avg_pool2d(pixels, options.factor).requires_grad_()
        if prior is not None:
            with torch.no_grad():
                target = features(prior, pixels, task)
            optimiser = torch.optim.Adam([tiles], options.lr)
            for _ in range(options.steps):
                grown = F.interpolate(tiles, size=pixels.shape[-1], mode="bilinear")
                # Summed, so that no image's gradient depends on its company; Adam does not mind
                # the constant factor.
                loss = F.mse_loss(features(prior, grown, task), target, reduction="sum")
                (tiles.grad,) = torch.autograd.grad(loss, [tiles])
                optimiser.step()
                with torch.no_grad():
                    tiles.clamp_(0, 1)
                yield
            if not tiles.isfinite().all():
                raise UserError(f"The features of the prior {options.prior!r} are not finite.")
        levels = (tiles.detach() * 255).round().to(torch.uint8).cpu()
        write_atomic(file, save({"tiles": levels}))
        yield


def features(prior: Prior, pixels: Tensor, task: ImageTask) -> Tensor:
    """The prior's features of `pixels` in 0..1, (B, C, R, R), of unit length: (B, width)."""
    with task.compute.autocast():
        found = prior.tower(prior.normalise(pixels))
    return F.normalize(found.float(), dim=1)
