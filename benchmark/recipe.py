"""Recipes: how a student is trained. The protocol's constants, all in this file.

Every method of a comparison shares one recipe. A recipe changed with `--set recipe.X=Y` is
off-protocol: its records say so, and never share a table with others.
"""

from dataclasses import dataclass, field
from typing import Literal

Mix = Literal["none", "cutmix", "mixup"]


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
    """

    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    mix: Mix = "cutmix"
    mix_alpha: float = 1.0
    cutout: float = 0.0

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
        rescale: multiplies `kl` by the product of both sides' temperatures (T squared), which
            keeps gradients as large as at T = 1; SGD needs that, AdamW does not notice.
        ce_weight: weight of an added cross-entropy with the images' own labels (HeLlO's beta).
    """

    loss: Literal["kl", "mse"] = "kl"
    temperature: float = 20.0
    rescale: bool = False
    ce_weight: float = 0.0

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        if not self.ce_weight >= 0:
            raise ValueError(f"ce_weight must not be negative, got {self.ce_weight}")


@dataclass(frozen=True)
class Recipe:
    """How a student is trained.

    Attributes:
        name: as chosen with `--recipe`.
        epochs: passes over the distilled images; the last one's accuracy counts.
        batch_size: views a step, at most.
        rate: peak learning rate; it falls along a half cosine to zero, step by step.
        weight_decay: not applied to one-dimensional parameters (biases, norms).
        momentum: of SGD; AdamW uses its defaults.
        warmup: share of the steps over which the rate rises linearly.
    """

    name: str
    epochs: int
    batch_size: int
    optimiser: Literal["adamw", "sgd"] = "adamw"
    rate: float = 1e-3
    weight_decay: float = 0.01
    momentum: float = 0.9
    warmup: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    objective: Objective = field(default_factory=Objective)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"epochs and batch_size must be at least 1, got {self.epochs}, {self.batch_size}"
            )
        if not self.rate > 0:
            raise ValueError(f"rate must be positive, got {self.rate}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup must be a share below 1, got {self.warmup}")


_SMALL_IMAGES = Augmentation(crop_scale=(0.25, 1.0))

RECIPES = {
    # The quick start: 8x8 digits on a laptop. Crops are mild because digits fill the picture.
    "quick": Recipe(
        "quick", epochs=60, batch_size=50, rate=5e-3, augmentation=Augmentation((0.6, 1.0))
    ),
    # CIFAR-10 within an hour on two CPU cores.
    # Batch and rate are RDED's for its Conv-3 students; 600 steps at IPC 10, as RDED takes there.
    "cpu": Recipe("cpu", epochs=150, batch_size=25, rate=2e-3, augmentation=_SMALL_IMAGES),
    # The same for students of online logits, as HeLlO trains them: mean squared error, and
    # cross-entropy with the images' own labels. The paper does not give its weight.
    "cpu-mse": Recipe(
        "cpu-mse",
        epochs=150,
        batch_size=25,
        rate=2e-3,
        augmentation=_SMALL_IMAGES,
        objective=Objective("mse", ce_weight=0.1),
    ),
    # The papers' budget for CIFAR and Tiny-ImageNet: 300 epochs, AdamW, CutMix, KL at T = 20
    # (papers of RDED and LPQLD), on crops of at least a quarter of the image.
    "standard": Recipe("standard", epochs=300, batch_size=100, augmentation=_SMALL_IMAGES),
    # LPLD's and LPQLD's recipes (official scripts). All warm up and fall step by step, theirs
    # epoch by epoch.
    "imagenet1k": Recipe("imagenet1k", epochs=300, batch_size=128),
    # Their "label smoothing" of 0.2 acts on logits and so is temperature 20 / 0.8.
    "imagenet21k": Recipe(
        "imagenet21k",
        epochs=300,
        batch_size=32,
        rate=2e-3,
        augmentation=Augmentation(flip=0.0, mix="none", cutout=0.5),
        objective=Objective(temperature=25.0),
    ),
    # HeLlO's, as far as it is known: 300 epochs (its label bytes say so) and its loss; the rest
    # is RDED's, the baseline it builds on.
    "hello": Recipe(
        "hello",
        epochs=300,
        batch_size=100,
        augmentation=Augmentation(crop_scale=(0.5, 1.0)),
        objective=Objective("mse", ce_weight=0.1),
    ),
    # LPLD's for Tiny-ImageNet; LPQLD published none.
    "tiny": Recipe(
        "tiny",
        epochs=100,
        batch_size=64,
        optimiser="sgd",
        rate=0.2,
        weight_decay=1e-4,
        warmup=0.05,
        augmentation=Augmentation(mix="none"),
        objective=Objective(rescale=True),
    ),
}
