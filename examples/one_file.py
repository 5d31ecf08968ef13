"""The whole idea in one file: how many bytes of labels does a small dataset need?

A teacher learns real digits. Students see ten a class, in random views, and learn from labels: the
image's class (no bytes), the teacher's logits for every view (many), or few of these, coarsely.
PyTorch and NumPy alone: `python examples/one_file.py`, less than a minute on a CPU. The suite adds
what this leaves out: better images and methods, real datasets, each byte on disk, and statistics.
"""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Target = Callable[[int], tuple[Tensor, Tensor]]  # of an epoch: views, and their probabilities
IPC, EPOCHS, TEMPERATURE, REPEATS = 10, 100, 2.0, 3
KEPT, TOP, LEVELS = 15, 3, 16  # epochs whose labels are shipped, logits each, values of a logit


def digits() -> tuple[Tensor, Tensor]:
    """1,797 images, float32 (n, 1, 8, 8) in 0..1, and their classes."""
    with gzip.open(Path(__file__).parents[1] / "datasets" / "digits.csv.gz", "rt") as text:
        table = torch.tensor(np.loadtxt(text, delimiter=","), dtype=torch.float32)
    return table[:, :-1].view(-1, 1, 8, 8) / 16, table[:, -1].long()


def view(images: Tensor, seed: int) -> Tensor:
    """Crops, turned a little, drawn from the seed: views themselves take no bytes."""
    draw = torch.Generator().manual_seed(seed)
    size, turn, x, y = torch.rand(4, len(images), generator=draw) * 2 - 1
    size, turn, x, y = 0.9 + 0.15 * size, 0.2 * turn, 0.15 * x, 0.15 * y
    rows = [size * turn.cos(), -size * turn.sin(), x, size * turn.sin(), size * turn.cos(), y]
    turned = torch.stack(rows, 1).view(-1, 2, 3)
    grid = F.affine_grid(turned, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def train(target: Target, count: int, epochs: int, seed: int, batch: int = 100) -> nn.Module:
    """A network taught by the targets of `count` images."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for channels in (1, 32):
        convolution = nn.Conv2d(channels, 32, 3, padding=1)
        layers += [convolution, nn.BatchNorm2d(32), nn.ReLU(), nn.AvgPool2d(2)]
    learner = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))
    optimiser = torch.optim.AdamW(learner.parameters(), 0.005)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for epoch in range(epochs):
        views, probabilities = target(epoch)
        for chosen in torch.randperm(count).split(batch):
            loss = F.cross_entropy(learner(views[chosen]), probabilities[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        schedule.step()
    return learner.eval()


def hard(images: Tensor, classes: Tensor, teacher: nn.Module) -> tuple[int, Target]:
    """The class of each image: no bytes, as images lie in the order of their classes."""
    return 0, lambda epoch: (view(images, epoch), F.one_hot(classes, 10).float())


def soft(images: Tensor, classes: Tensor, teacher: nn.Module) -> tuple[int, Target]:
    """All logits of all views of all epochs, as float16."""
    stored = torch.stack([teacher(view(images, e)).half() for e in range(EPOCHS)]).detach()
    shown = (stored.float() / TEMPERATURE).softmax(2)
    return stored.nbytes, lambda epoch: (view(images, epoch), shown[epoch])


def quantised(images: Tensor, classes: Tensor, teacher: nn.Module) -> tuple[int, Target]:
    """The top logits of few epochs, reused: half a byte for one's class, and half for its value."""
    logits = torch.stack([teacher(view(images, e)) for e in range(KEPT)]).detach()
    values, index = logits.topk(TOP)
    low, step = values.min(), (values.max() - values.min()) / (LEVELS - 1)  # 8 bytes more
    packed = ((values - low) / step).round().byte() << 4 | index.byte()
    rest = torch.full_like(logits, -torch.inf)
    full = rest.scatter(2, (packed & 15).long(), low + step * (packed >> 4))
    shown = (full / TEMPERATURE).softmax(2)
    return packed.nbytes + 8, lambda epoch: (view(images, epoch % KEPT), shown[epoch % KEPT])


if __name__ == "__main__":
    every, known = digits()
    test = torch.arange(len(known)) % 5 == 0
    images, classes = every[~test], known[~test]
    teacher = train(hard(images, classes, nn.Identity())[1], len(images), 20, seed=0)
    print("labels        bytes  accuracy %")
    for method in (hard, soft, quantised):
        for seed in range(REPEATS):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
            kept = torch.cat([order[classes[order] == c][:IPC] for c in range(10)])
            size, target = method(images[kept], classes[kept], teacher)
            student = train(target, len(kept), EPOCHS, seed)
            right = (student(every[test]).argmax(1) == known[test]).float().mean().item()
            print(f"{method.__name__:<9} {size:9,}  {100 * right:.1f}  (draw {seed})")
