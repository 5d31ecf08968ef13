"""Label Solve: the labels with which kernel ridge regression fits the real training set best.

Nguyen, Chen and Lee, "Dataset Meta-Learning from Kernel Ridge-Regression" (ICLR 2021, arXiv
2011.00050): the labels Y of images s are solved for in closed form, so that
K_ts (K_ss + lambda I)^-1 Y comes nearest to the one-hot labels of the real images t. Ours differs:

- the kernel is that of some random finite networks, not of an infinitely wide one: the mean
  inner product of their last features, each of length 1, plus 1 for a bias;
- students learn by cross-entropy, so labels must be probabilities. As in label distillation
  (Bohdal et al., 2020) they are clamped to 0..1 and divided by their sum; a row of which
  nothing is left becomes uniform. `notes` tell what the predictor loses by that.

Without a ridge on Y the predictor would not depend on lambda: (K_ss + lambda I) W with one W
solves all of them. Lambda decides how far labels lie from probabilities, and so what clamping
costs. It is chosen by the predictor's accuracy with the clamped labels on held-out real
training images; of equals the largest.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.errors import UserError
from benchmark.core.needs import Needs
from benchmark.core.progress import track
from benchmark.core.work import Passes, Work
from benchmark.data.real_batches import real_order
from benchmark.labels.image_labels import ImageLabelOptions, ImageLabels
from benchmark.labels.task import Amounts, LabelTask, TaskShape
from benchmark.labels.validation import BLOCK, held_out, usual_convnet
from benchmark.models import networks
from benchmark.models.classifier import Classifier

MOST_HELD_OUT = 0.2  # of the training set


@dataclass(frozen=True)
class Options(ImageLabelOptions):
    """The kernel, and how labels are solved for.

    Attributes:
        form, k: how labels are shipped; see `benchmark.labels.image_labels`.
        network: whose random weights give features; `auto` is a ConvNet of width 128 whose
            depth fits the resolution (see `benchmark.labels.validation`).
        draws: of its weights.
        lambdas: to choose from, as shares of the mean of K_ss's diagonal.
        ridge: on the labels, as a share of the mean of the normal equations' diagonal.
        held_out: real training images kept apart for the choice; at most a fifth of all.
    """

    network: str = "auto"
    draws: int = 4
    lambdas: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    ridge: float = 1e-4
    held_out: int = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.draws < 1 or self.held_out < 1:
            raise ValueError(
                f"draws and held_out must be at least 1, got {self.draws}, {self.held_out}"
            )
        if not self.lambdas or not min(self.lambdas) > 0 or not self.ridge >= 0:
            raise ValueError(
                "lambdas must be one or more, all positive, and ridge must not be negative, "
                f"got {self.lambdas} and {self.ridge}"
            )


class LabelSolve(ImageLabels[Options]):
    """The solved labels, as probabilities."""

    title = "Label solve"
    paper = "Nguyen et al., Dataset Meta-Learning from Kernel Ridge-Regression, arXiv 2011.00050"

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        if options.network == "auto":
            options = replace(options, network=usual_convnet(shape.resolution, width=128))
        networks.require(options.network)
        return super().resolve_options(options, shape, budget)

    @classmethod
    def needs(cls, options: Options) -> Needs:
        return Needs(networks=(options.network,))

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        images = options.draws * (amounts.real + amounts.shape.images)
        passes = Passes(options.network, images, BLOCK)
        return Work((passes,), reads=amounts.real)

    @classmethod
    @torch.no_grad()
    def fit(cls, task: LabelTask, options: Options) -> Self:
        train = task.real_images()
        most = max(1, int(MOST_HELD_OUT * len(train)))
        held, rest = held_out(task, min(options.held_out, most))
        features = RandomFeatures(task, options.network, options.draws)
        own = features(task.images.pixels)

        def kernel(pixels: Tensor) -> Tensor:
            return (features(pixels) @ own.T).double()

        support = kernel(task.images.pixels)
        gram, cross = torch.zeros_like(support), support.new_zeros(len(support), task.classes)
        ordered = real_order(train, task.seed, 0, rest)
        blocks = (rest if ordered is None else ordered).split(BLOCK)
        pixels = track(train.batches(blocks), "label solve", len(blocks))
        for rows, shown in zip(blocks, pixels, strict=True):
            block = kernel(shown)
            gram += block.T @ block
            cross += block.T @ one_hot(train.labels[rows], task)
        every = torch.arange(len(held)).split(BLOCK)
        to_held = torch.cat([kernel(pixels) for pixels in held.batches(every)])
        truth = held.labels.to(task.device)
        lambdas = sorted(options.lambdas, reverse=True)
        found, accuracies = [], []
        for strength in lambdas:
            system = damped(support, strength)
            labels = solve(system, gram, cross, options.ridge)
            found.append(probabilities(labels))
            said = [to_held @ torch.linalg.solve(system, y) for y in (labels, found[-1])]
            accuracies.append([(s.argmax(1) == truth).double().mean().item() for s in said])
        clamped = [after for _, after in accuracies]
        best = clamped.index(max(clamped))
        source = cls(task, options, found[best].float())
        source.notes = {
            "held_out_images": len(held),
            "lambdas": lambdas,
            "held_out_accuracy_solved": [before for before, _ in accuracies],
            "held_out_accuracy_probabilities": clamped,
            "lambda": lambdas[best],
        }
        return source


class RandomFeatures:
    """Features of images whose inner product is the kernel.

    Args:
        network: by name; its last linear layer is left out, and batch norms are as initialised.
        draws: networks with random weights, which follow the task's seed.

    Raises:
        UserError: the network has no linear layer.
    """

    def __init__(self, task: LabelTask, network: str, draws: int) -> None:
        images = task.images
        torch.manual_seed(task.seed)
        self.device = task.device
        self.networks = []
        for _ in range(draws):
            drawn = networks.create(network, task.classes, images.channels, images.resolution)
            linear = [name for name, m in drawn.named_modules() if isinstance(m, nn.Linear)]
            if not linear:
                raise UserError(f"{network} has no linear layer, whose input is its features.")
            drawn.set_submodule(linear[-1], nn.Identity())
            self.networks.append(
                Classifier(drawn, task.mean, task.std, task.whitening).to(task.device).eval()
            )

    @torch.no_grad()
    def __call__(self, pixels: Tensor) -> Tensor:
        """Float32 (B, features) of uint8 (B, channels, R, R), on the device."""
        return torch.cat([self._of(block) for block in pixels.split(BLOCK)])

    def _of(self, pixels: Tensor) -> Tensor:
        shown = pixels.to(self.device, non_blocking=True).float() / 255
        each = [F.normalize(network(shown).flatten(1)) for network in self.networks]
        bias = shown.new_ones(len(shown), 1)
        return torch.cat([torch.cat(each, 1) / len(each) ** 0.5, bias], 1)


def damped(support: Tensor, strength: float) -> Tensor:
    """K_ss + lambda I; lambda is `strength` x the mean of the diagonal."""
    diagonal = support.diagonal()
    return support + torch.diag(torch.full_like(diagonal, strength * diagonal.mean().item()))


def solve(system: Tensor, gram: Tensor, cross: Tensor, ridge: float) -> Tensor:
    """Labels Y that minimise |K_ts system^-1 Y - Y_t|^2, and the ridge times |Y|^2; (N, C).

    Args:
        system: K_ss + lambda I, (N, N), symmetric.
        gram, cross: K_ts^T K_ts, (N, N), and K_ts^T Y_t, (N, C).
        ridge: as a share of the mean of the normal equations' diagonal.
    """
    half = torch.linalg.solve(system, gram)
    normal = damped(torch.linalg.solve(system, half.T), ridge)
    return torch.linalg.solve(normal, torch.linalg.solve(system, cross))


def probabilities(labels: Tensor) -> Tensor:
    """Labels (N, C) clamped to 0..1 and divided by their sum; uniform where nothing is left."""
    clamped = labels.clamp(0, 1)
    total = clamped.sum(1, keepdim=True)
    return torch.where(total > 0, clamped / total, 1 / labels.shape[1])


def one_hot(labels: Tensor, task: LabelTask) -> Tensor:
    """Float64 (B, C) on the device."""
    return F.one_hot(labels.to(task.device), task.classes).double()
