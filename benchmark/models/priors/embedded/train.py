"""Make the embedded prior: a small CLIP trained on Tiny-ImageNet, in one command.

    python -m benchmark.priors.embedded.train --data-root DATA

Captions are made from the class names: a template, and one of the class's synonyms or the head
noun of one ("German shepherd dog" -> "dog"). Each step contrasts a batch of images with the
distinct captions drawn for all classes, since random batches of images would repeat classes.
Half of each batch is seen at half its resolution, as small images are when they are enlarged.
`--start` goes on from the weights of a shallower tower: blocks that it lacks begin as the
identity. Writes `weights.safetensors` (half precision) and `CARD.md` with the figures it
measured. It goes on from its last epoch when stopped.
"""

import argparse
import json
import os
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor
from torchvision.transforms.v2.functional import normalize

from ....core.cache import Cache
from ....core.files import file_digest
from ....core.progress import say, track
from ....data.dataset_source import dataset
from ....data.images import IMAGENET_MEAN, IMAGENET_STD, Dataset
from ....data.place import Place
from ....data.rendering import render
from ....data.views import Augmentation, ViewPlan
from .. import load_prior
from ..clips import EMBEDDED, embedded_model
from ..prompts import TEMPLATE

BATCH, DECAY, SEED = 256, 0.1, 0
TEMPLATES = (
    TEMPLATE,
    "a picture of a {}.",
    "a close photo of the {}.",
    "a small photo of one {}.",
    "a blurry photo of a {}.",
    "{}.",
)


def captions(names: tuple[str, ...], draw: random.Random) -> list[str]:
    """One caption a class, (C,) texts."""
    texts = []
    for name in names:
        noun = draw.choice(name.split(", "))
        if draw.random() < 0.3:
            noun = noun.split(" ")[-1]
        texts.append(draw.choice(TEMPLATES).format(noun))
    return texts


def grow(clip: torch.nn.Module, start: Path) -> None:
    """Give `clip` the weights of a shallower one; blocks that it lacks begin as the identity.

    A residual block is the identity when its last normalisation's weight is zero.
    """
    missing, unexpected = clip.load_state_dict(load_file(start), strict=False)
    if unexpected or any("visual.layer" not in name for name in missing):
        raise SystemExit(f"{start} holds no shallower tower of this prior's shape.")
    weights = clip.state_dict()
    for name in missing:
        if name.endswith("bn3.weight"):
            weights[name].zero_()


def train(
    data: Dataset, epochs: int, lr: float, start: Path | None, checkpoint: Path
) -> torch.nn.Module:
    """A CLIP trained for `epochs` passes over the training images."""
    torch.manual_seed(SEED)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clip, tokenise = embedded_model()
    if start is not None:
        grow(clip, start)
    clip = clip.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = adamw(clip, lr)
    augmentation = Augmentation(crop_scale=(0.35, 1.0), mix="none")
    plan = ViewPlan(SEED, len(data.train), 64, BATCH, epochs, augmentation)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, lr, total_steps=plan.steps, pct_start=0.05, cycle_momentum=False
    )
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        clip.load_state_dict(state["clip"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        done = state["epoch"]
    pixels = data.train.take(torch.arange(len(data.train))).to(device)
    labels = data.train.labels.to(device)
    for epoch in range(done, epochs):
        draw = random.Random(f"{SEED} {epoch}")
        total = torch.zeros((), device=device)
        clip.train()
        for views in track(plan.epoch(epoch), f"epoch {epoch + 1}/{epochs}", plan.batches):
            views = views.to(device)
            texts = captions(data.class_names, draw)
            loss = contrast(clip, tokenise, render(pixels, views), texts, labels[views.index])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            with torch.no_grad():
                clip.logit_scale.clamp_(max=4.6052)  # CLIP's bound: a scale of at most 100
            total += loss.detach()
        say(f"epoch {epoch + 1}/{epochs}: loss {total.item() / plan.batches:.3f}")
        state = {
            "clip": clip.state_dict(),
            "optimiser": optimiser.state_dict(),
            "schedule": schedule.state_dict(),
            "epoch": epoch + 1,
        }
        torch.save(state, checkpoint.with_suffix(".new"))
        os.replace(checkpoint.with_suffix(".new"), checkpoint)
    return clip.eval()


def adamw(clip: torch.nn.Module, lr: float) -> torch.optim.AdamW:
    """The optimiser; one-dimensional parameters do not decay."""
    decayed = [p for p in clip.parameters() if p.ndim > 1]
    others = [p for p in clip.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))


def contrast(clip: Any, tokenise: Any, images: Tensor, texts: list[str], labels: Tensor) -> Tensor:
    """The cross-entropy of each image with the distinct captions of all classes."""
    device = images.device
    distinct = sorted(set(texts))
    position = torch.tensor([distinct.index(t) for t in texts], device=device)
    images = normalize(blurred(images), [*IMAGENET_MEAN], [*IMAGENET_STD])
    with torch.autocast(device.type, torch.bfloat16):
        image = clip.encode_image(images.contiguous(memory_format=torch.channels_last))
        text = clip.encode_text(tokenise(distinct).to(device))
    cosine = F.normalize(image.float(), dim=-1) @ F.normalize(text.float(), dim=-1).T
    return F.cross_entropy(clip.logit_scale.exp() * cosine, position[labels])


def blurred(images: Tensor) -> Tensor:
    """Pixels (B, 3, R, R), the first half of the batch down to R / 2 and back."""
    some, side = images[: len(images) // 2], images.shape[-1]
    small = F.interpolate(some, side // 2, mode="bilinear", antialias=True)
    large = F.interpolate(small, side, mode="bilinear", align_corners=False)
    return torch.cat([large, images[len(some) :]])


@torch.no_grad()
def zero_shot(data: Dataset) -> float:
    """Share of `data`'s test images that the finished prior classifies by class names alone."""
    prior = load_prior("embedded", torch.device("cpu"))
    text = prior.embed_classes(data.class_names, "photo")
    right = 0
    for indices in torch.arange(len(data.test)).split(500):
        features = prior.tower(prior.normalise(data.test.take(indices).float() / 255))
        right += int(((features @ text.T).argmax(1) == data.test.labels[indices]).sum())
    return right / len(data.test)


CARD = """\
# The embedded prior

A small CLIP, so that HeLlO runs without a download. Made by this project, with `python -m
benchmark.priors.embedded.train --data-root DATA --epochs {epochs} --lr {lr}{start}.

| | |
|---|---|
| image tower | open_clip's modified ResNet, blocks {blocks}, width 24, 64x64 pixels |
| text tower | open_clip's transformer, 2 layers, width 128, 2,048 tokens (`model.json`) |
| parameters | {parameters:,} |
| file | `weights.safetensors`, half precision, {size:,} bytes |
| data | Tiny-ImageNet-200's 100,000 training images; captions made from its class names |
| steps | {steps:,} of {batch} images ({epochs} epochs), AdamW, one cycle to {lr}, seed {seed} |
| trained with | torch {torch}, {device}, bfloat16, {minutes:.0f} minutes, commit `{commit}` |
| zero-shot, Tiny-ImageNet test (200 classes) | {tiny:.2%} |
| zero-shot, CIFAR-10 test (10 classes) | {cifar10:.2%} |
| zero-shot, digits test (10 classes) | {digits:.2%} |

Zero-shot accuracies use the template `{template}`, the last step's weights, and the rounded
weights in the file. Nothing was selected on any test set. CIFAR-10 and digits were not
trained on.

**Limits.** It knows 200 classes and the words in their names; it stands in for a public CLIP
where none can be had, and says nothing about what HeLlO reaches with a large one.

**Licence and terms.** The weights are this project's (Apache-2.0). Tiny-ImageNet is a subset of
ImageNet, whose terms allow non-commercial research and education only; who uses the weights
beyond that decides for themselves what these terms mean for them. `merges.txt.gz` is the
beginning of CLIP's byte-pair vocabulary (OpenAI, MIT licence).
"""


def main() -> None:
    """Train, write the weights, measure, write the card."""
    parser = argparse.ArgumentParser(description="Make the embedded prior.")
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--work", type=Path, default=Path("runs"), help="for checkpoints")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--start", type=Path, help="weights of a shallower tower to go on from")
    arguments = parser.parse_args()
    place = Place(arguments.data_root, Cache(arguments.work / "stages"))
    data = dataset("tiny_imagenet").load(place)
    started = time.monotonic()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=EMBEDDED
    )
    start = arguments.start
    clip = train(data, arguments.epochs, arguments.lr, start, arguments.work / "embedded-prior.pt")
    minutes = (time.monotonic() - started) / 60
    weights = {
        name: value.half() if value.is_floating_point() else value
        for name, value in clip.state_dict().items()
    }
    save_file(
        {n: v.cpu().contiguous() for n, v in weights.items()}, EMBEDDED / "weights.safetensors"
    )
    model = json.loads((EMBEDDED / "model.json").read_text())
    card = CARD.format(
        epochs=arguments.epochs,
        parameters=sum(p.numel() for p in clip.parameters()),
        size=(EMBEDDED / "weights.safetensors").stat().st_size,
        steps=arguments.epochs * -(-len(data.train) // BATCH),
        batch=BATCH,
        lr=arguments.lr,
        start=f" --start FILE`, FILE of SHA-256 `{file_digest(start)}`" if start else "`",
        blocks=", ".join(map(str, model["vision_cfg"]["layers"])),
        seed=SEED,
        torch=torch.__version__,
        device="CUDA" if torch.cuda.is_available() else "CPU",
        minutes=minutes,
        commit=commit.stdout.strip() or "unknown",
        tiny=zero_shot(data),
        cifar10=zero_shot(dataset("cifar10").load(place)),
        digits=zero_shot(dataset("digits").load(place)),
        template=TEMPLATE,
    )
    (EMBEDDED / "CARD.md").write_text(card)
    print(card)


if __name__ == "__main__":
    main()
