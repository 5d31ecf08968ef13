"""The checks of a network family: each network can be made, told apart by its seed, and trained."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

from ...core import plugins
from ...core.errors import UserError
from ...models import networks
from .checking import Problem, Told, run

SIZES = (32, 64, 224, 8)  # pixels a side, tried in turn until a network takes one
CLASSES = 7
Made = tuple[torch.nn.Module, torch.Tensor]


@dataclass
class Case:
    """A family, and its networks by name; those with a part left open are not made."""

    name: str
    family: networks.Family
    _first: dict[str, Made] = field(default_factory=dict)

    def first(self, name: str) -> Made:
        """A network with its first weights, made once, and pixels of a size that it takes."""
        if name not in self._first:
            self._first[name] = _made(name)
        return self._first[name]

    def names(self) -> list[str]:
        """Names without a part in capitals, which stands for something."""
        return [n for n in self.family.names if not any(c.isupper() for c in n)]


def checks(name: str) -> Told:
    """Run all checks on the family called `name`."""
    try:
        plugins.load(plugins.NETWORKS, name)
        family = {f.plugin.name: f for f in networks.families()}[name]
    except Exception as error:
        yield "the file defines one NetworkFamily", str(error)
        return
    yield from run(plugins.NETWORKS, name, Case(name, family), CHECKS, (declares, creates))


def declares(case: Case) -> None:
    """`names` are literals that can be read without importing the file, and no one else's."""
    if not case.family.names:
        raise Problem("`names` must be a dictionary of literals in the class's body.")
    for name in case.family.names:
        networks.family_of(name)


def creates(case: Case) -> None:
    """Each network gives finite logits of the right shape."""
    for name in case.names():
        network, pixels = case.first(name)
        logits = network.eval()(pixels)
        if tuple(logits.shape) != (len(pixels), CLASSES):
            raise Problem(f"{name} gives {tuple(logits.shape)}, not {(len(pixels), CLASSES)}.")
        if not logits.isfinite().all():
            raise Problem(f"{name} gives logits that are not finite.")


def draws_by_seed(case: Case) -> None:
    """Initial weights come from torch's global generator alone."""
    for name in case.names():
        one, _ = case.first(name)
        other, _ = _made(name)
        for key, value in one.state_dict().items():
            if not torch.equal(value, other.state_dict()[key]):
                raise Problem(f"{name}: {key} differs though the seed is the same.")


def trains(case: Case) -> None:
    """The loss has a gradient for every weight."""
    for name in case.names():
        network, pixels = case.first(name)
        loss = F.cross_entropy(network.train()(pixels), torch.arange(len(pixels)) % CLASSES)
        loss.backward()
        without = [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None]
        if without:
            raise Problem(f"{name}: {', '.join(without[:3])} take no part in the logits.")


def _made(name: str) -> Made:
    refused: UserError | None = None
    for side in SIZES:
        torch.manual_seed(0)
        try:
            network = networks.create(name, CLASSES, 3, side)
        except UserError as error:
            refused = error
            continue
        return network, torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(1))
    raise Problem(f"{name} takes images of none of {SIZES} pixels a side: {refused}")


CHECKS = (declares, creates, draws_by_seed, trains)
