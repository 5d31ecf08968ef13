"""The memory that a step of a network takes, from a step on two images and one on three.

Each operation's results are counted from when they are made until they are dropped. All of them
are as large for any batch, or grow by as much with every image, so that the two steps tell what
any batch takes, and nothing of its size is computed or held. Tensors without storage would tell
it too, but torch's take longer to import than all else that a dry run does.

What networks tell that take long to import stands in a table; see `traced`.
"""

import json
import weakref
from dataclasses import asdict, replace
from functools import cache
from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from ..core.device import Compute
from ..core.errors import UserError
from ..core.work import PRIOR
from ..data.images import Images
from ..data.rendering import render_gathered
from ..data.views import ViewPlan
from ..models import networks
from ..models.classifier import Classifier
from ..models.priors import load_prior
from .pace import Subject
from .traced import FEW, Traced, known, upper

STATES = {"sgd": 1, "adamw": 2}  # numbers that an optimiser keeps of each weight
CONVOLUTIONS = (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default)
BLOCK = 16  # channels that oneDNN lays side by side on a CPU


def blocked(tensor: Tensor) -> int:
    """Bytes of a tensor (N, C, H, W) as a CPU's convolution lays it out anew, its own beside it.

    Of few channels it takes the tensor as it is.
    """
    channels = tensor.shape[1]
    if channels <= 3:
        return 0
    return tensor.nbytes // channels * (-(-channels // BLOCK) * BLOCK)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that are made within it, while they live.

    Attributes:
        changes: of the bytes that live, one after another.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[int] = []
        self._known: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # it would be imported, to no end: nothing is compiled here

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, made)
        if func in CONVOLUTIONS:
            tensors = [t for t in (*args, made) if isinstance(t, Tensor) and t.ndim == 4]
            if tensors[0].device.type == "cpu":
                anew = sum(map(blocked, tensors))
                self.changes += [anew, -anew]
        return made

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self._known:
            size = storage.nbytes()
            self._known[storage] = size
            weakref.finalize(storage, self.changes.append, -size)
            self.changes.append(size)


def few_of(plan: ViewPlan) -> ViewPlan:
    """The plan of a small step that shows views as this one does."""
    return replace(plan, seed=0, images=FEW, batch_size=FEW, epochs=1)


class Footprint:
    """Bytes that networks take on the device, each found when it is first asked for.

    Args:
        images: whose sizes and classes networks are made for.

    Attributes:
        unbuilt: the networks that the table told all of.
    """

    def __init__(self, images: Images, compute: Compute) -> None:
        self.images, self.compute = images, compute
        self.unbuilt = set[str]()
        self.of = cache(self._of)
        self.traced = cache(self._traced)
        self._network = cache(self._made)
        self._changes = cache(self._step)

    def _of(self, subject: Subject, plan: ViewPlan | None, optimiser: str = "sgd") -> int | None:
        """Weights, and at the most what lives in a step beside them; None where it is not known.

        Args:
            plan: whose views are rendered first; whole images if None, as in a test.
            optimiser: whose states stand beside trained weights.
        """
        plan = None if plan is None else few_of(plan)
        found = known().get(self.key(subject.network, subject.trained, plan))
        if found is not None:
            self.unbuilt.add(subject.network)
        else:
            found = self.traced(subject.network, subject.trained, plan)
        if found is None:
            return None
        states = STATES[optimiser] * found.moved if subject.trained else 0
        return found.weights + states + found.most(subject.batch)

    def key(self, name: str, trained: bool, plan: ViewPlan | None) -> str:
        """By which the table knows a network, what it is made for and how it is stepped."""
        images, compute = self.images, self.compute
        size = (len(images.class_names), images.channels, images.resolution)
        views = None if plan is None else [plan.resolution, asdict(plan.augmentation)]
        device = f"{compute.device.type} {compute.precision}"
        return json.dumps([name, *size, "trained" if trained else "asked", device, views])

    def _traced(self, name: str, trained: bool, plan: ViewPlan | None) -> Traced | None:
        """What two steps tell; None where they do not, or there is no such network here."""
        network = self._network(name)
        if network is None:
            return None
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        few, more = (self._changes(name, trained, count, plan) for count in (FEW, FEW + 1))
        if len(few) != len(more):  # it does another thing for another batch
            return None
        lines = zip(accumulate(few), accumulate(more), strict=True)
        return Traced(
            sum(tensor.nbytes for tensor in tensors.values()),
            sum(p.nbytes for p in network.parameters()),
            upper([(a, b - a) for a, b in lines]),
        )

    def _made(self, name: str) -> nn.Module | None:
        images = self.images
        if name.startswith(PRIOR):
            try:
                prior = load_prior(name.removeprefix(PRIOR), torch.device("cpu"))
            except UserError:  # it is not on this machine, and a look fetches nothing
                return None
            return _Tower(prior)
        size = (len(images.class_names), images.channels, images.resolution)
        network = self.compute.place(networks.create(name, *size)).to("cpu")
        return Classifier(network, (0.5,) * images.channels, (0.5,) * images.channels)

    def _step(self, name: str, trained: bool, count: int, plan: ViewPlan | None) -> list[int]:
        """What a step on so many images, of black pixels, changes of the bytes that live."""
        network = self._network(name)
        assert network is not None
        network.train(trained)
        device, side = self.compute.device, self.images.resolution
        shape = (count, self.images.channels, side, side)
        weights = {name: p.detach().to(device) for name, p in network.named_parameters()}
        buffers = {name: b.clone().to(device) for name, b in network.named_buffers()}
        for weight in weights.values() if trained else ():
            weight.requires_grad_(weight.is_floating_point())
        views = None
        if plan is not None:
            views = replace(plan, images=count, batch_size=count).batch(0, 0).to(device)
        with LiveBytes() as live, torch.set_grad_enabled(trained):
            block = torch.zeros(shape, dtype=torch.uint8, device=device)
            pixels = block.float() / 255 if views is None else render_gathered(block, views)
            with self.compute.autocast():
                logits = functional_call(network, {**weights, **buffers}, (pixels,))
            if trained:
                targets = torch.zeros(count, dtype=torch.int64, device=device)
                loss = F.cross_entropy(logits.float(), targets)
                moved = [weight for weight in weights.values() if weight.requires_grad]
                torch.autograd.grad(loss, moved, allow_unused=True)
        return list(live.changes)


class _Tower(nn.Module):
    """A prior's image tower behind its preparation of pixels."""

    def __init__(self, prior: Any) -> None:
        super().__init__()
        self.prior, self.tower = prior, prior.tower

    def forward(self, pixels: Tensor) -> Tensor:
        return self.tower(self.prior.normalise(pixels))
