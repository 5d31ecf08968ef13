"""HeLlO: labels made online by CLIP with low-rank changes, so that no label is stored.

A projector (CLIP image tower, and a linear map that starts as the class names' text
embeddings) is fitted to the teacher on the real training set; only its low-rank changes are
shipped, and the public CLIP must be present at training time.

Heavy Labels Out! (ICCV 2025, arXiv 2408.08201). No code was published, and the paper leaves
much open. Our choices, each an option where that makes sense:

- prior: `embedded`, this project's small CLIP, so that nothing need be downloaded. The paper's
  counts fit OpenAI's RN50 (`--set hello.clip=RN50:openai`).
- prompt: "a photo of a {}."; a class that lists synonyms counts by its first.
- features are normalised; the scale is learnt, since the target is logits.
- low-rank changes on the 3x3 convolutions (the paper's counts fit that), by peft; its form
  ships fewer numbers than the original LoRA code's, which the paper's counts fit.
- one teacher at its final weights; the paper averages nine weak checkpoints of one training.
- real images are seen through the recipe's views: on those the projector will be asked.
- before the fit, the map is solved for by ridge regression of the teacher's logits on the
  prior's features, pulled towards the text embeddings. With gradient steps alone a prior that
  does not know the domain (ours, on digits) stayed at chance for hundreds of steps, because
  its features then differ little from image to image.
- loss: mean squared error of logits + `ce_weight` x cross-entropy; weight, optimiser (AdamW)
  and epochs are not in the paper.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.artefact import Artefact, Blob
from benchmark.contract import LabelSource, LabelTask
from benchmark.errors import ArtefactError
from benchmark.render import render_gathered
from benchmark.training import Schedule, optimise
from benchmark.views import ViewBatch

from benchmark.priors import Prior, load_prior
from .projector import Projector


class HeLlO(LabelSource):
    """Logits of the fitted projector on every view."""

    paper = "Heavy Labels Out! Dataset Distillation with Label Space Lightening, ICCV 2025"
    space = "logits"

    @dataclass(frozen=True)
    class Options:
        """How the projector is built and fitted.

        Attributes:
            clip: the prior: `embedded`, or an open_clip `MODEL:WEIGHTS`.
            rank: of the changes to the image tower.
            map_rank: of the change to the map; the paper's 64 for 100 classes, 128 for 1,000.
            alpha: LoRA's scaling; changes are multiplied by alpha / rank.
            epochs, batch_size, rate: of the fit on the real training set.
            ce_weight: of the cross-entropy with real labels (the paper's lambda).
            probe: views on which the map is first solved for in closed form; 0 starts from
                the text embeddings alone.
        """

        clip: str = "embedded"
        rank: int = 8
        map_rank: int = 64
        alpha: float = 16.0
        epochs: int = 10
        batch_size: int = 64
        rate: float = 2e-3
        ce_weight: float = 0.1
        probe: int = 8192

        def __post_init__(self) -> None:
            for name in ("rank", "map_rank", "epochs", "batch_size"):
                if getattr(self, name) < 1:
                    raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
            if self.probe < 0:
                raise ValueError(f"probe must not be negative, got {self.probe}")
            if not self.rate > 0 or not self.alpha > 0 or not self.ce_weight >= 0:
                raise ValueError("rate and alpha must be positive, ce_weight not negative")

    def __init__(self, task: LabelTask, options: Any, prior: Prior, projector: Projector) -> None:
        super().__init__(task, options)
        self.prior, self.projector = prior, projector

    @classmethod
    def _build(cls, task: LabelTask, options: Any) -> tuple[Prior, Projector]:
        prior = load_prior(options.clip, task.device)
        text = prior.embed_classes(task.images.class_names)
        return prior, Projector(prior, text, options.rank, options.map_rank, options.alpha)

    @classmethod
    def fit(cls, task: LabelTask, options: Any) -> Self:
        torch.manual_seed(task.seed)
        prior, projector = cls._build(task, options)
        teacher, train, scratch = task.fitting()
        train_labels = train.labels.to(task.device)
        plan = replace(
            task.plan, images=len(train), batch_size=options.batch_size, epochs=options.epochs
        )

        def batches(epoch: int) -> Iterator[tuple[ViewBatch, Tensor, Tensor]]:
            """Views on the device, their pixels, and the teacher's logits."""
            for views in plan.epoch(epoch):
                block = train.take(views.index).to(task.device, non_blocking=True)
                views = views.to(task.device)
                pixels = render_gathered(block, views)
                with torch.no_grad(), task.compute.autocast():
                    wanted = teacher(pixels).float()
                yield views, pixels, wanted

        def probe_pairs() -> Iterator[tuple[Tensor, Tensor]]:
            count = -(-options.probe // options.batch_size)
            epochs = range(options.epochs, options.epochs + -(-count // plan.batches))
            every = chain.from_iterable(batches(epoch) for epoch in epochs)
            for _, pixels, wanted in islice(every, count):
                with torch.no_grad(), task.compute.autocast():
                    yield projector.features(pixels).float(), wanted

        if options.probe:
            features, logits = zip(*probe_pairs(), strict=True)
            projector.probe(torch.cat(features), torch.cat(logits))

        def losses(epoch: int) -> Iterator[Tensor]:
            for views, pixels, wanted in batches(epoch):
                labels = train_labels[views.index]
                with task.compute.autocast():
                    logits = projector(pixels).float()
                own = F.cross_entropy(logits, labels, reduction="none")
                other = F.cross_entropy(logits, labels[views.partner], reduction="none")
                entropy = torch.lerp(other, own, views.mix_weight).mean()
                yield F.mse_loss(logits, wanted) + options.ce_weight * entropy

        schedule = Schedule(
            options.epochs, plan.batches, rate=options.rate, weight_decay=0.0, warmup=0.05
        )
        optimise(projector, losses, schedule, "fit hello", scratch / "projector.pt")
        return cls(task, options, prior, projector)

    def blobs(self) -> Iterable[Blob]:
        yield Blob("projector", "weights", self.projector.flat().half())

    def requires(self) -> Mapping[str, Any]:
        prior = self.prior
        return {"prior": {"name": prior.name, "bytes": prior.bytes, "sha256": prior.digest}}

    @classmethod
    def restore(cls, task: LabelTask, options: Any, shipped: Artefact) -> Self:
        prior, projector = cls._build(task, options)
        wanted = shipped.manifest["requires"]["prior"]["sha256"]
        if prior.digest != wanted:
            raise ArtefactError(
                f"These labels need the prior {prior.name!r} with weights of SHA-256 {wanted}; "
                f"the one on this machine has {prior.digest}."
            )
        projector.unflatten(shipped.tensors["projector"].float().to(task.device))
        return cls(task, options, prior, projector.requires_grad_(False))

    @torch.no_grad()
    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        with self.task.compute.autocast():
            return self.projector(images).float()
