"""What a recipe is: how a student is trained, and how its views are drawn."""

from dataclasses import dataclass, field
from typing import Literal

Mix = Literal["none", "cutmix", "mixup"]
Dsa = Literal["color", "crop", "cutout", "flip", "scale", "rotate"]
LrSchedule = Literal["cosine", "to-half", "quarters", "constant"]
Pixels = Literal["dataset", "imagenet", "whitened"]


@dataclass(frozen=True)
class Augmentation:
    """How views are drawn.

    Attributes:
        crop_scale: range of the crop's share of the image's area; (1, 1) keeps the whole image.
        crop_ratio: range of the crop's width over height, drawn on a log scale.
        flip: probability of a horizontal flip; 0 where mirroring changes the class.
        mix: `cutmix` pastes a box of another view of the batch, `mixup` blends it in.
        mix_alpha: the mix weight is drawn from Beta(alpha, alpha), once a batch.
        cutout: side of a square filled with a random colour, as a share of the image's side.
        dsa: differentiable siamese augmentation of the pixels that the student sees, after its
            normalisation: the kinds that a batch draws one of; see `siamese`. Labels made of a
            view's pixels do not see it.
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    mix: Mix = "cutmix"
    mix_alpha: float = 1.0
    cutout: float = 0.0
    dsa: tuple[Dsa, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_scale must satisfy 0 < low <= high <= 1, got {low}, {high}")
        low, high = self.crop_ratio
        if not 0 < low <= high:
            raise ValueError(f"crop_ratio must satisfy 0 < low <= high, got {low}, {high}")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip must be a probability, got {self.flip}")
        if not 0 <= self.cutout < 1:
            raise ValueError(f"cutout must be a share below 1, got {self.cutout}")
        if not 0 < self.mix_alpha <= 2:  # above 2 the sampler of `views.beta` rejects too often
            raise ValueError(f"mix_alpha must be above 0 and at most 2, got {self.mix_alpha}")


@dataclass(frozen=True)
class Objective:
    """What the student minimises, unless its label source brings a loss of its own.

    Attributes:
        loss: `kl`, the Kullback-Leibler divergence from the target to the student's softmax;
            `mse`, the mean squared error between logits (only for sources that give logits).
        temperature: divides both sides' logits under `kl`. Targets that are probabilities
            already are left as they are, and the student is then compared at temperature 1.
        label_scale: multiplies the labels' logits alone, after the temperature (LPLD's label
            smoothing for ImageNet-21K is a scale of 0.8).
        rescale: multiplies `kl` by the product of both sides' temperatures (T squared), which
            keeps gradients as large as at T = 1; SGD needs that, AdamW does not notice.
        ce_weight: weight of an added cross-entropy with the images' own labels (HeLlO's beta).
    """

    loss: Literal["kl", "mse"] = "kl"
    temperature: float = 20.0
    label_scale: float = 1.0
    rescale: bool = False
    ce_weight: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not self.label_scale > 0:
            raise ValueError(f"label_scale must be positive, got {self.label_scale}")
        if not self.ce_weight >= 0:
            raise ValueError(f"ce_weight must not be negative, got {self.ce_weight}")


@dataclass(frozen=True)
class Recipe:
    """How a student is trained.

    Attributes:
        name: as chosen with `--recipe`.
        epochs: passes over the distilled images; the last one's accuracy counts. 0 with `steps`.
        batch_size: views a step, at most.
        lr: peak learning rate.
        weight_decay: not applied to one-dimensional parameters (biases, norms).
        momentum: of SGD; AdamW uses its defaults.
        warmup: share of the steps over which the lr rises linearly.
        schedule: of the lr afterwards. `cosine`: along a half cosine to zero, step by step;
            `to-half`: along the first quarter of a cosine, epoch by epoch, to half; `quarters`:
            three tenths of it after each quarter of the epochs; `constant`.
        pixels: how students normalise: by the dataset's mean and standard deviation, by
            ImageNet's, or whitened (ZCA, see `whitening`).
        steps: in place of epochs: as many whole epochs as make up at least so many steps.
        stop: `last`, after all epochs; `held-out`, after as many as served a pilot student best
            on real training images kept apart (see `benchmark.experiment.pilot`).
        evaluator: the student, `network` as it is, or `ridge`, with a last layer that is solved
            for (see `benchmark.experiment.ridge_student`).
    """

    name: str
    epochs: int
    batch_size: int
    optimiser: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.9
    warmup: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    objective: Objective = field(default_factory=Objective)
    schedule: LrSchedule = "cosine"
    pixels: Pixels = "dataset"
    steps: int = 0
    stop: Literal["last", "held-out"] = "last"
    evaluator: Literal["network", "ridge"] = "network"

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must not be negative, got {self.steps}")
        if self.steps and self.epochs:
            raise ValueError(
                f"steps stand in place of epochs, got {self.steps} steps and {self.epochs} epochs"
            )
        if (self.epochs < 1 and not self.steps) or self.batch_size < 1:
            raise ValueError(
                f"epochs and batch_size must be at least 1, got {self.epochs}, {self.batch_size}"
            )
        if not self.lr > 0:
            raise ValueError(f"lr must be positive, got {self.lr}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share below 1, got {self.warmup}")
        if self.stop == "held-out" and (self.schedule != "constant" or self.warmup):
            raise ValueError(
                "stop=held-out needs an lr that is constant from the start, or fewer epochs would "
                f"be another training; got schedule {self.schedule}, warmup {self.warmup}"
            )
        objective = self.objective
        if self.evaluator == "ridge" and self.augmentation.dsa:
            raise ValueError("the ridge evaluator takes pixels as they are, so dsa must be empty")
        if self.evaluator == "ridge" and (
            objective.loss != "kl" or objective.rescale or objective.ce_weight
        ):
            raise ValueError(
                "the ridge evaluator minimises the cross-entropy with the targets alone, so the "
                f"objective must be a plain kl; got {objective}"
            )

    def epochs_of(self, images: int) -> int:
        """Passes over so many distilled images: `epochs`, or what makes up the `steps`."""
        batches = -(-images // self.batch_size)
        return self.epochs or -(-self.steps // batches)
