"""The vector-quantised autoencoder: its decoder, which is shipped, and how both are fitted."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmark.core.progress import track
from benchmark.data.recipe import Objective
from benchmark.labels.contract import divergence

from .options import Options

BATCH = 256  # labels a step
PLAIN = 0.1  # share of the steps before the codebook comes in
RESTARTS = 0.6  # share of the steps until which idle entries are moved
RESTART_EVERY = 50  # steps
IDLE = 0.05  # of the use of a usual entry
DECAY = 0.99  # of the moving averages
COMMITMENT = 0.25
SAMPLE = 16_384  # latents that k-means looks at
ROUNDS = 10  # of k-means


@dataclass(frozen=True)
class Decoder:
    """What turns indices into logits.

    Attributes:
        book: the codebook, float32 (width, entries).
        inner, inner_bias: of the hidden layer, (hidden, codes x width) and (hidden,).
        outer, outer_bias: of the last one, (C, hidden) and (C,).
    """

    book: Tensor
    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor

    def logits(self, indices: Tensor) -> Tensor:
        """Of labels with these indices (n, codes), float32 (n, C)."""
        latents = self.book.T[indices].flatten(1)
        hidden = F.gelu(F.linear(latents, self.inner, self.inner_bias))
        return F.linear(hidden, self.outer, self.outer_bias)

    def tensors(self) -> list[Tensor]:
        """In the order of `shapes`."""
        return [self.book, self.inner, self.inner_bias, self.outer, self.outer_bias]

    def to(self, device: torch.device) -> "Decoder":
        """The same on a device."""
        return Decoder(*(tensor.to(device) for tensor in self.tensors()))


def shapes(options: Options, classes: int) -> Sequence[tuple[int, ...]]:
    """Shapes of the tensors of a decoder."""
    return [
        (options.width, options.entries),
        (options.hidden, options.codes * options.width),
        (options.hidden,),
        (classes, options.hidden),
        (classes,),
    ]


class Autoencoder(nn.Module):
    """Both halves, and the codebook between them, of labels at unit power.

    Attributes:
        book: entries (entries, width).
        uses, sums: moving averages of how many latents an entry stands for, and of their sum.
    """

    book: Tensor
    uses: Tensor
    sums: Tensor

    def __init__(self, options: Options, classes: int) -> None:
        super().__init__()
        self.codes, self.width = options.codes, options.width
        self.encoder = nn.Sequential(
            nn.Linear(classes, options.hidden),
            nn.GELU(),
            nn.Linear(options.hidden, options.codes * options.width),
        )
        self.inner = nn.Linear(options.codes * options.width, options.hidden)
        self.outer = nn.Linear(options.hidden, classes)
        self.register_buffer("book", torch.zeros(options.entries, options.width))
        self.register_buffer("uses", torch.zeros(options.entries))
        self.register_buffer("sums", torch.zeros(options.entries, options.width))

    def latents(self, labels: Tensor) -> Tensor:
        """Of labels (n, C), before they are quantised: (n, codes, width)."""
        return self.encoder(labels).view(-1, self.codes, self.width)

    def indices(self, latents: Tensor) -> Tensor:
        """The nearest entry of each latent, int64 (n, codes)."""
        lengths, points = self.book.square().sum(1), latents.flatten(0, 1)
        return torch.addmm(lengths, points, self.book.T, alpha=-2).argmin(1).view(-1, self.codes)

    def decoded(self, latents: Tensor) -> Tensor:
        """Labels (n, C) of latents (n, codes, width)."""
        return self.outer(F.gelu(self.inner(latents.flatten(1))))

    def decoder(self, power: float) -> Decoder:
        """What is shipped; labels come out at their own power."""
        tensors = (
            self.book.T.contiguous(),
            self.inner.weight,
            self.inner.bias,
            self.outer.weight * power,
            self.outer.bias * power,
        )
        return Decoder(*(tensor.detach() for tensor in tensors))

    def start(self, latents: Tensor, draw: torch.Generator) -> None:
        """Fill the codebook by k-means over these latents (n, codes, width)."""
        points, entries = latents.flatten(0, 1), len(self.book)
        self.book.copy_(_drawn(points, entries, draw))
        for _ in range(ROUNDS):
            self.uses, self.sums = _counted(points, self.indices(latents).flatten(), entries)
            found = self.sums / self.uses.clamp_min(1)[:, None]
            self.book.copy_(torch.where(self.uses[:, None] > 0, found, self.book))
        # Averages over one batch, as `follow` goes on with them.
        self.uses *= min(BATCH * self.codes, len(points)) / len(points)
        self.sums = self.book * self.uses[:, None]

    def follow(self, latents: Tensor, indices: Tensor) -> None:
        """Move each entry to the moving average of the latents that it stands for.

        As in van den Oord et al., VQ-VAE (arXiv 1711.00937), appendix A.1.
        """
        uses, sums = _counted(latents.flatten(0, 1), indices.flatten(), len(self.book))
        self.uses.lerp_(uses, 1 - DECAY)
        self.sums.lerp_(sums, 1 - DECAY)
        self.book.copy_(self.sums / self.uses.clamp_min(1e-5)[:, None])

    def restart(self, latents: Tensor, draw: torch.Generator) -> None:
        """Move entries that hardly any latent is near to latents drawn by lot."""
        usual = self.uses.mean()
        idle = self.uses < IDLE * usual
        fresh = _drawn(latents.flatten(0, 1), len(self.book), draw)
        self.book.copy_(torch.where(idle[:, None], fresh, self.book))
        self.uses.copy_(torch.where(idle, usual, self.uses))
        self.sums.copy_(torch.where(idle[:, None], fresh * usual, self.sums))


def fit_autoencoder(
    labels: Tensor,
    power: float,
    options: Options,
    objective: Objective,
    seed: int,
    on: torch.device,
) -> tuple[Autoencoder, list[float]]:
    """An autoencoder of these labels, and its mean loss over each tenth of the steps.

    The loss is the student's own: at the recipe's temperature the divergence from the label's
    softmax to the decoded one's, times the temperature squared; for recipes of squared errors
    the mean squared error of logits. Both are of labels at unit power. For the first steps
    nothing is quantised; then k-means fills the codebook, gradients pass it unchanged, and it
    follows the latents, to which the encoder is held (VQ-VAE's commitment).

    Args:
        labels: logits (n, C), as `prepared` gives them; read a batch at a time.
        power: their root mean square.
        seed: of weights, order, and entries.
        on: the device.
    """
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed % 2**63)
    autoencoder = Autoencoder(options, labels[:1].shape[1]).to(on)
    blocks = -(-len(labels) // BATCH)
    epochs = max(options.epochs, -(-options.steps // blocks))
    steps = epochs * blocks
    plain = int(PLAIN * steps)
    optimiser = torch.optim.Adam(autoencoder.parameters(), options.lr, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: 0.5 + 0.5 * math.cos(math.pi * step / steps)
    )
    losses = torch.empty(steps, device=on)
    for step, rows in enumerate(track(_blocks(labels, epochs, draw), "fit the autoencoder", steps)):
        exact = rows.to(on).float()
        latents = autoencoder.latents(exact / power)
        held = latents.detach()
        if step < plain:
            loss = reconstruction(autoencoder.decoded(latents), exact, power, objective)
        else:
            if step == plain:
                autoencoder.start(_latents(autoencoder, labels, power, on), draw)
            indices = autoencoder.indices(held)
            nearest = autoencoder.book[indices]
            passed = latents + (nearest - held)
            loss = reconstruction(autoencoder.decoded(passed), exact, power, objective)
            loss = loss + COMMITMENT * F.mse_loss(latents, nearest)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses[step] = loss.detach()
        if step >= plain:
            autoencoder.follow(held, indices)
            if step % RESTART_EVERY == 0 and step < RESTARTS * steps:
                autoencoder.restart(held, draw)
    tenths = losses.cpu().tensor_split(10)
    return autoencoder.requires_grad_(False), [float(t.mean()) for t in tenths if len(t)]


def reconstruction(decoded: Tensor, exact: Tensor, power: float, objective: Objective) -> Tensor:
    """How far decoded labels at unit power are from the exact logits, (n, C) both; the mean.

    Where the temperature is high both measures are nearly the same but for a factor: the
    divergence times T squared is half the mean squared error of centred logits.
    """
    if objective.loss == "mse":
        return F.mse_loss(decoded, exact / power)
    temperature = objective.temperature / objective.label_scale
    return divergence(exact, decoded * power, temperature) * (temperature / power) ** 2


def prepared(logits: Tensor, objective: Objective) -> Tensor:
    """Logits (n, C) as they are coded: centred, where the loss does not see their mean."""
    if objective.loss == "mse":
        return logits
    return logits - logits.float().mean(1, keepdim=True).to(logits.dtype)


def _blocks(labels: Tensor, epochs: int, draw: torch.Generator) -> Iterator[Tensor]:
    """All labels in every epoch, a block of neighbours at a time, in random order."""
    starts = torch.arange(0, len(labels), BATCH)
    for _ in range(epochs):
        for number in torch.randperm(len(starts), generator=draw).tolist():
            start = int(starts[number])
            yield labels[start : start + BATCH]


@torch.no_grad()
def _latents(autoencoder: Autoencoder, labels: Tensor, power: float, on: torch.device) -> Tensor:
    """Of labels spread over all, `SAMPLE` or few more."""
    wanted = max(1, SAMPLE // (autoencoder.codes * BATCH))
    every = max(1, -(-len(labels) // BATCH) // wanted)
    parts = [labels[s : s + BATCH] for s in range(0, len(labels), every * BATCH)]
    return torch.cat([autoencoder.latents(part.to(on).float() / power) for part in parts])


def _drawn(points: Tensor, count: int, draw: torch.Generator) -> Tensor:
    """So many of the points (n, width), by lot; each once if there are enough."""
    order = torch.randperm(len(points), generator=draw)
    return points[order.repeat(-(-count // len(points)))[:count].to(points.device)]


def _counted(points: Tensor, nearest: Tensor, entries: int) -> tuple[Tensor, Tensor]:
    """Points of each entry, (entries,), and their sums; the same on every device and run."""
    chosen = points.new_zeros(len(points), entries).scatter_(1, nearest[:, None], 1.0)
    return chosen.sum(0), chosen.T @ points
