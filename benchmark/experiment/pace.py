"""How fast networks are here: a few timed steps each, a second or two in all."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import torch
import torch.nn.functional as F

from ..core.device import Compute
from ..core.work import PRIOR
from ..data.images import Images, ResidentImages
from ..data.picture_bytes import picture_bytes
from ..data.rendering import render
from ..data.streamed import StreamedImages
from ..data.views import ViewPlan
from ..models import networks
from ..models.priors import load_prior
from ..models.training import Optimisation

FEW = 8  # images by which a network is judged slow
SLOW = 0.25  # seconds; a network that takes longer for FEW is timed on these alone
LEAST = 0.02  # seconds that are timed at least
READ = 64  # pictures that are read at once
PACKED = 8  # pictures whose files are weighed


@dataclass(frozen=True)
class Subject:
    """What is timed: a network, images at once, and whether it is trained."""

    network: str
    batch: int
    trained: bool


class Pace:
    """Seconds an image, each timed when it is first asked for.

    Args:
        images: whose sizes and classes networks are made for.
    """

    def __init__(self, images: Images, compute: Compute) -> None:
        self.images, self.compute = images, compute
        self.of_network = cache(self._of_network)
        self.of_views = cache(self._of_views)

    def _of_network(self, subject: Subject) -> float:
        """Of forward, and if it is trained backward and optimiser, on random pixels."""
        step = self._step(subject.network, subject.trained)
        few = min(FEW, subject.batch)
        pixels = self._noise(subject.batch)
        step(pixels[:few])  # warms up
        seconds = self._seconds(lambda: step(pixels[:few]))
        if seconds > SLOW or few == subject.batch:
            return seconds / few
        step(pixels)
        return self._seconds(lambda: step(pixels)) / subject.batch

    def _of_views(self, plan: ViewPlan) -> float:
        """Of drawing views and rendering them."""
        batch = next(iter(plan.epoch(0)))
        count = int(batch.index.max()) + 1
        pixels = self._noise(min(count, 2 * len(batch.index))).mul(255).to(torch.uint8)
        batch = next(iter(ViewPlan(**{**vars(plan), "images": len(pixels)}).epoch(0)))

        def drawn() -> None:
            render(pixels, batch.to(self.compute.device))

        drawn()
        return self._seconds(drawn) / len(batch.index)

    @cached_property
    def of_reading(self) -> float:
        """Of having a picture's pixels: of decoding it, where that is done whenever it is read."""
        if not isinstance(self.images, StreamedImages):
            return 0.0
        rows = torch.arange(min(READ, len(self.images)))  # neighbours, as most are read
        self.images.take(rows)  # warms up
        return self._seconds(lambda: self.images.take(rows)) / len(rows)

    @cached_property
    def of_weighing(self) -> float:
        """Of an image's bytes as files of pictures."""
        images = self.images
        some = torch.arange(min(PACKED, len(images)))
        kept = ResidentImages(images.take(some).cpu(), images.labels[some], images.class_names)
        return self._seconds(lambda: picture_bytes(kept)) / len(some)

    def _noise(self, count: int) -> torch.Tensor:
        images, device = self.images, self.compute.device
        return torch.rand(
            count, images.channels, images.resolution, images.resolution, device=device
        )

    def _step(self, name: str, trained: bool) -> Callable[[torch.Tensor], None]:
        images, compute = self.images, self.compute
        if name.startswith(PRIOR):
            prior = load_prior(name.removeprefix(PRIOR), compute.device)

            def run(pixels: torch.Tensor) -> torch.Tensor:
                return prior.tower(prior.normalise(pixels))

            parameters = [p.requires_grad_(trained) for p in prior.tower.parameters()]
            optimiser = torch.optim.SGD(parameters, lr=0.0) if trained else None
        else:
            size = (len(images.class_names), images.channels, images.resolution)
            network = compute.place(networks.create(name, *size)).train(trained)
            run, optimiser = network, Optimisation(1, 1).build(network)[0] if trained else None

        def step(pixels: torch.Tensor) -> None:
            with torch.set_grad_enabled(trained), compute.autocast():
                logits = run(pixels)
                if optimiser is None:
                    return
            optimiser.zero_grad()
            F.cross_entropy(logits.float(), logits.detach().argmax(1)).backward()
            optimiser.step()

        return step

    def _seconds(self, work: Callable[[], object]) -> float:
        self.compute.wait()
        started, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - started) < LEAST or not count:
            work()
            self.compute.wait()
            count += 1
        return passed / count
