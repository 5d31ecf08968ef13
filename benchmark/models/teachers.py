"""Teachers: the classifiers whose soft labels are compressed.

Named by `--teacher`: `NETWORK` is trained here and kept; `NETWORK:FILE` is loaded from a file of
weights (relative to the data root, if it is there; see `weights_files`), which is fetched where
FILE is `hf:OWNER/NAME[@REVISION][/FILE]`, of a model repository of the Hub; `timm:NAME:pretrained`
has the weights that timm downloads.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import tee
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field, TypeAdapter, with_config
from safetensors.torch import save_file
from torch import Tensor, nn
from typing_extensions import TypedDict

from ..core import bounded, ranks
from ..core.device import Compute
from ..core.errors import UserError
from ..data.images import IMAGENET_MEAN, IMAGENET_STD, Dataset, Images
from ..data.real_batches import epoch_views, with_pixels
from ..data.rendering import render_gathered
from ..data.views import Augmentation, ViewPlan
from . import networks
from .classifier import Classifier, Floats, correct
from .gradients import Batch
from .training import Optimisation, optimise
from .weights_files import read_weights

WEIGHTS = "teacher.safetensors"
SNAPSHOTS = "snapshot-*.safetensors"
PRETRAINED = Path("pretrained")


@with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
class Norm(TypedDict):
    """What a network expects of pixels in 0..1, per channel."""

    mean: list[Annotated[float, Field(ge=-1e6, le=1e6)]]
    std: list[Annotated[float, Field(ge=1e-6, le=1e6)]]


NORM = TypeAdapter(Norm)
SHARE = TypeAdapter(Annotated[float, Field(strict=False, ge=0, le=1)])


@dataclass(frozen=True)
class TeacherOptions:
    """How a teacher is trained here; its mirrored views follow the dataset.

    Attributes:
        crop_low: smallest share of an image's area that a training crop covers.
        lr: peak learning rate of SGD with momentum 0.9.
        snapshots: weak teachers to keep, evenly spaced along the training, its ends left out;
            HeLlO's paper takes nine.
        stop: end the training after so many epochs of its schedule, for a weaker teacher; 0
            trains them all.
        normalise: only of a file: what it expects of pixels. `auto` is what its metadata say,
            else ImageNet's statistics, which is told; `dataset` the training set's; `none` 0..1.
        class_order: only of a file: `own`, or `fitted` to the training images.
    """

    epochs: int = 40
    batch_size: int = 128
    lr: float = 0.1
    weight_decay: float = 5e-4
    crop_low: float = 0.4
    seed: int = 0
    snapshots: int = 9
    stop: int = 0
    normalise: Literal["auto", "imagenet", "dataset", "none"] = "auto"
    class_order: Literal["own", "fitted"] = "own"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or self.seed < 0 or self.snapshots < 0:
            raise ValueError(
                "epochs and batch_size must be at least 1, seed and snapshots not negative"
            )
        if not 0 <= self.stop <= self.epochs:
            raise ValueError(f"stop must be 0 or one of the {self.epochs} epochs, got {self.stop}")
        if not self.lr > 0 or not 0 < self.crop_low <= 1:
            raise ValueError("lr must be positive, crop_low above 0 and at most 1")

    @property
    def of_a_file(self) -> str:
        """The first option set that only a teacher from a file has; empty where none is."""
        known = {"normalise": self.normalise != "auto", "class_order": self.class_order != "own"}
        return next((name for name, is_set in known.items() if is_set), "")

    def snapshot_epochs(self) -> list[int]:
        """After how many epochs weak teachers are kept; fewer where the training is short."""
        parts = self.snapshots + 1
        at = {round(self.epochs * i / parts) for i in range(1, parts)}
        return sorted(epoch for epoch in at if 0 < epoch < (self.stop or self.epochs))


def find(text: str, root: Path | None) -> tuple[str, Path | None]:
    """Network name and file of `--teacher`; no file for one trained here.

    Raises:
        UserError: there is no such network or file.
    """
    prefix = "timm:" if text.startswith("timm:") else ""
    name, _, path = text.removeprefix(prefix).partition(":")
    networks.require(prefix + name)
    if not path:
        return prefix + name, None
    file = Path(path)
    if file == PRETRAINED:
        return prefix + name, file
    if not file.is_absolute() and root is not None and (root / file).is_file():
        file = root / file
    if not file.is_file():
        raise UserError(
            f"There is no teacher file {path!r}{f' in {str(root)!r}' if root else ''}. "
            f"Put it there, or let `--teacher {prefix + name}` train one."
        )
    return prefix + name, file


class Teacher(Classifier):
    """A classifier that knows which network it is, so that it can be shipped and rebuilt.

    Attributes:
        network_name: as `networks.create` takes it.
    """

    def __init__(self, network_name: str, network: nn.Module, mean: Floats, std: Floats) -> None:
        super().__init__(network, mean, std)
        self.network_name = network_name


def trained(
    network_name: str, dataset: Dataset, options: TeacherOptions, compute: Compute, folder: Path
) -> None:
    """Train a teacher on the real training set; keep its weights and snapshots in `folder`.

    Several processes may train it together; the first one writes.
    """
    torch.manual_seed(options.seed)
    images = dataset.train
    network = networks.create(
        network_name, len(dataset.class_names), images.channels, images.resolution
    )
    teacher = compute.place(Teacher(network_name, network, dataset.mean, dataset.std))
    augmentation = Augmentation(
        (options.crop_low, 1.0), flip=0.5 if dataset.mirror else 0.0, mix="none"
    )
    plan = ViewPlan(
        options.seed,
        len(images),
        images.resolution,
        options.batch_size,
        options.epochs,
        augmentation,
    )

    if min(plan.sizes()) < ranks.count():
        raise UserError(
            f"{ranks.count()} processes cannot train a teacher on batches of {min(plan.sizes())}: "
            "start fewer, or set a larger teacher.batch_size."
        )
    snapshots = {done: i for i, done in enumerate(options.snapshot_epochs())}

    def losses(epoch: int) -> Iterator[Batch]:
        if epoch in snapshots and ranks.leads():
            _save(teacher, folder / SNAPSHOTS.replace("*", f"{snapshots[epoch]:02}"))
        yield from losses_of(teacher, images, plan, compute, epoch)

    schedule = Optimisation(
        options.epochs, plan.batches, "sgd", options.lr, options.weight_decay, warmup=0.1
    )
    checkpoint = folder / "checkpoint.pt"
    curve = optimise(
        teacher,
        losses,
        schedule,
        f"train teacher {network_name}",
        checkpoint,
        until=options.stop or options.epochs,
    )
    if not ranks.leads():
        return
    checkpoint.unlink(missing_ok=True)
    _save(teacher, folder / WEIGHTS)
    right = correct(teacher, dataset.test, compute)
    (folder / "teacher.json").write_text(
        json.dumps({"accuracy": right.float().mean().item(), "train_loss": curve})
    )


def _save(teacher: Teacher, file: Path) -> None:
    described = {"network": teacher.network_name, "mean": teacher.mean, "std": teacher.std}
    save_file(
        {name: value.cpu().contiguous() for name, value in teacher.network.state_dict().items()},
        file,
        {name: json.dumps(value) for name, value in described.items()},
    )


def losses_of(
    teacher: Teacher, images: Images, plan: ViewPlan, compute: Compute, epoch: int
) -> Iterator[Batch]:
    """The losses of an epoch on real images, one a step."""
    for pixels, labels in real_views(images, plan, epoch, compute.device):
        first = ranks.rows(len(labels)).start

        def logits(rows: slice, pixels: Tensor = pixels, first: int = first) -> Tensor:
            with compute.autocast():
                return teacher(pixels[rows.start - first : rows.stop - first]).float()

        yield Batch(len(labels), logits, partial(F.cross_entropy, target=labels))


def real_views(
    images: Images, plan: ViewPlan, epoch: int, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of augmented real images: pixels (B, C, R, R) in 0..1, and labels (B,).

    Of several processes that train together, each has the pixels of its own rows.
    """
    whole, own = tee(epoch_views(images, plan, epoch))
    if ranks.count() > 1:
        own = (views.rows(ranks.rows(len(views))) for views in own)
    read = with_pixels(images, own)
    for views in whole:
        with ranks.together():
            seen, block = next(read)
            block = block.to(device, non_blocking=True)
            labels = images.labels[views.index].to(device, non_blocking=True)
            pixels = render_gathered(block, seen.to(device))
        yield pixels, labels


@dataclass(frozen=True)
class FromFile:
    """A teacher that a file holds.

    Attributes:
        accuracy: on the test set, 0..1, as the file tells it; None where it does not.
        assumed: whether ImageNet's normalisation is taken for want of another.
    """

    teacher: Teacher
    accuracy: float | None
    assumed: bool


def load(
    network_name: str,
    file: Path,
    classes: int,
    channels: int,
    resolution: int,
    device: torch.device,
    norm: Norm | None = None,
) -> FromFile:
    """A teacher from a file of weights.

    Args:
        norm: what it expects of pixels; by default what the file's metadata say, as those of
            files made here do, else ImageNet's, as of published CIFAR networks.

    Raises:
        UserError: the file is not there, is damaged, or holds another network's weights.
    """
    network = networks.create(network_name, classes, channels, resolution)
    what = f"{network_name!r} for {classes} classes"
    weights, metadata = read_weights(file, network.state_dict(), what)
    network.load_state_dict(weights, strict=False)
    try:
        told = _told(metadata, channels)
        accuracy = _accuracy(metadata)
    except UserError as error:
        raise UserError(f"The metadata of the teacher file {str(file)!r}: {error}.") from error
    imagenet = Norm(mean=list(IMAGENET_MEAN[:channels]), std=list(IMAGENET_STD[:channels]))
    chosen = norm or told or imagenet
    teacher = Teacher(network_name, network, tuple(chosen["mean"]), tuple(chosen["std"]))
    teacher.to(device).eval().requires_grad_(False)
    return FromFile(teacher, accuracy, assumed=norm is None and told is None)


def _told(metadata: Mapping[str, str], channels: int) -> Norm | None:
    """The normalisation that a file's metadata tell, if any."""
    if not metadata.keys() & {"mean", "std"}:
        return None
    parts = {part: bounded.loads(metadata.get(part, "").encode()) for part in ("mean", "std")}
    norm = bounded.parse(NORM, parts)
    if not len(norm["mean"]) == len(norm["std"]) == channels:
        raise UserError(f"mean and std must have {channels} numbers each")
    return norm


def _accuracy(metadata: Mapping[str, str]) -> float | None:
    """The test accuracy that a file's metadata tell, if any."""
    if "accuracy" not in metadata:
        return None
    return bounded.parse(SHARE, bounded.loads(metadata["accuracy"].encode()))


def reorder(teacher: Teacher, order: Tensor) -> None:
    """Put a teacher's outputs in another order, in place: class c becomes what was `order[c]`.

    Raises:
        UserError: its last layer is none whose outputs are the classes.
    """
    layers = [part for part in teacher.network.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    last = layers[-1] if layers else None
    if last is None or len(last.weight) != len(order):
        raise UserError(
            f"The classes of {teacher.network_name!r} cannot be put in another order: its last "
            f"layer has not {len(order)} outputs."
        )
    for part in (last.weight, last.bias):
        if part is not None:
            part.data = part.data[order.to(part.device)]


def pretrained(network_name: str, classes: int, device: torch.device) -> Teacher:
    """A pretrained timm model, called `timm:NAME`, downloaded by timm.

    Raises:
        UserError: it is no timm model, timm has no such weights, cannot fetch them, or they
            know other classes.
    """
    import timm

    prefix, _, name = network_name.rpartition("timm:")
    if prefix or not name or name == network_name:
        raise UserError(f"Only timm:NAME has pretrained weights to fetch, not {network_name!r}.")
    try:
        network = timm.create_model(name, pretrained=True)
    except Exception as error:
        raise UserError(
            f"The weights of {network_name!r} could not be had ({type(error).__name__}: {error}). "
            f"Offline: save them as safetensors elsewhere, and name {network_name}:FILE."
        ) from error
    config: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
    if config["num_classes"] != classes:
        raise UserError(
            f"The teacher {network_name!r} knows {config['num_classes']} classes, "
            f"the dataset has {classes}."
        )
    teacher = Teacher(network_name, network, tuple(config["mean"]), tuple(config["std"]))
    return teacher.to(device).eval().requires_grad_(False)
