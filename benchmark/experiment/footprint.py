"""The memory that a step of a network takes, from shapes: traced on tensors without storage.

Nothing is computed and nothing of the size is held: each operation's results are counted from
when they are made until they are dropped, as torch's own would be.
"""

import weakref
from dataclasses import replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
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
        most: the most at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, made)
        if func in CONVOLUTIONS:
            tensors = [t for t in (*args, made) if isinstance(t, Tensor) and t.ndim == 4]
            if tensors[0].device.type == "cpu":
                self.most = max(self.most, self.now + sum(map(blocked, tensors)))
        return made

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage not in self._known:
            size = storage.nbytes()
            self._known[storage] = size
            weakref.finalize(storage, self._drop, size)
            self.now += size
            self.most = max(self.most, self.now)

    def _drop(self, size: int) -> None:
        self.now -= size


class Footprint:
    """Bytes that networks take on the device, each found when it is first asked for.

    Args:
        images: whose sizes and classes networks are made for.
    """

    def __init__(self, images: Images, compute: Compute) -> None:
        self.images, self.compute = images, compute
        self.of = cache(self._of)
        self._network = cache(self._made)

    def _of(self, subject: Subject, plan: ViewPlan | None, optimiser: str = "sgd") -> int | None:
        """Weights, and at the most what lives in a step beside them; None where it is not known.

        Args:
            plan: whose views are rendered first; whole images if None, as in a test.
            optimiser: whose states stand beside trained weights.
        """
        network = self._network(subject.network)
        if network is None:
            return None
        tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        weights = sum(tensor.nbytes for tensor in tensors.values())
        if subject.trained:
            moved = sum(p.nbytes for p in network.parameters())
            weights += STATES[optimiser] * moved
        return weights + self._step(network, subject, plan)

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

    def _step(self, network: nn.Module, subject: Subject, plan: ViewPlan | None) -> int:
        network.train(subject.trained)
        device, side = self.compute.device, self.images.resolution
        shape = (subject.batch, self.images.channels, side, side)
        fake = FakeTensorMode()

        def placed(tensor: Tensor) -> Tensor:
            shadow = fake.from_tensor(tensor.detach())
            with fake:
                return shadow.to(device)

        weights = {name: placed(p) for name, p in network.named_parameters()}
        buffers = {name: placed(b) for name, b in network.named_buffers()}
        for weight in weights.values() if subject.trained else ():
            weight.requires_grad_(weight.is_floating_point())
        views = None
        if plan is not None:
            views = replace(plan, images=subject.batch, batch_size=subject.batch).batch(0, 0)
            parts = {n: placed(v) for n, v in vars(views).items() if isinstance(v, Tensor)}
            views = replace(views, **parts)
        with fake, LiveBytes() as live, torch.set_grad_enabled(subject.trained):
            block = torch.empty(shape, dtype=torch.uint8, device=device)
            pixels = block.float() / 255 if views is None else render_gathered(block, views)
            with self.compute.autocast():
                logits = functional_call(network, {**weights, **buffers}, (pixels,))
            if subject.trained:
                targets = torch.zeros(subject.batch, dtype=torch.int64, device=device)
                loss = F.cross_entropy(logits.float(), targets)
                moved = [weight for weight in weights.values() if weight.requires_grad]
                torch.autograd.grad(loss, moved, allow_unused=True)
        return live.most


class _Tower(nn.Module):
    """A prior's image tower behind its preparation of pixels."""

    def __init__(self, prior: Any) -> None:
        super().__init__()
        self.prior, self.tower = prior, prior.tower

    def forward(self, pixels: Tensor) -> Tensor:
        return self.tower(self.prior.normalise(pixels))
