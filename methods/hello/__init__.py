"""HeLlO: labels made online by CLIP with low-rank changes, so that no label is stored.

A projector (a public model's image tower, and a linear map that starts as the class names'
text embeddings) is fitted to the teacher on the real training set; only its low-rank changes
are shipped, and the public model must be present at training time.

Heavy Labels Out! (ICCV 2025, arXiv 2408.08201). No code was published, and the paper leaves
much open. Our choices, each an option:

- `prior`: `embedded`, this project's small CLIP, so that nothing need be downloaded. The
  paper's counts fit OpenAI's RN50 (`hello.prior=RN50:openai`). Any open_clip model serves, and
  so does any backbone of timm or torchvision (`timm:MODEL:pretrained`), without text.
- `prompts`: "a photo of a {}."; a class that lists synonyms counts by its first.
- features are normalised; the scale is learnt, since the target is logits.
- `layers`: low-rank changes on the 3x3 convolutions, which the paper's counts fit; on
  attention and linear layers of towers that have none. `form`: peft's; the paper's counts fit
  that of the original LoRA code, `loralib`, which ships more numbers (see `lora`). `alpha` is
  16, twice the default rank, as is usual.
- `teachers`: `final`, the teacher itself. The paper averages nine weak checkpoints of one
  training, `trajectory`; which nine is not known: ours are evenly spaced, and the logits'
  mean is taken (`teacher.epochs`, `teacher.snapshots`).
- real images are seen through the recipe's views: on those the projector will be asked.
- `probe`: before the fit, the map is solved for by ridge regression of the teachers' logits on
  the prior's features, pulled towards the text embeddings. With gradient steps alone a prior
  that does not know the domain (ours, on digits) stayed at chance for hundreds of steps,
  because its features then differ little from image to image.
- `loss`, `ce_weight`: mean squared error of logits, as in the paper, plus 0.1 x cross-entropy;
  the weight, optimiser (AdamW), lr, batch and epochs are not in the paper.
- `weights`: fp16. The paper counts numbers, not bytes.
- students: the recipe `hello` has the paper's loss for them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Literal, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.core.errors import ArtefactError
from benchmark.core.needs import Needs
from benchmark.core.work import PRIOR, Passes, Work
from benchmark.data.views import ViewBatch
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.contract import Json, LabelSource
from benchmark.labels.distill import DistillOptions, TeacherBatches, distill
from benchmark.labels.ensemble import labelling
from benchmark.labels.manifest import Requirement
from benchmark.labels.task import Amounts, LabelTask, TaskShape
from benchmark.labels.weights import decode, encode, encoded_bytes
from benchmark.models.priors import Prior, bare_tower, content, load_prior
from benchmark.models.priors.prompts import templates

from . import lora
from .projector import Map, Projector


@dataclass(frozen=True)
class Options:
    """How the projector is built, fitted and shipped.

    Attributes:
        prior: `embedded`, an open_clip `MODEL:WEIGHTS`, `timm:MODEL:WEIGHTS` or
            `torchvision:MODEL:WEIGHTS`.
        prompts: `photo`, `simple`, `imagenet`, or texts with one `{}` each, joined by `|`.
        text: whether the map starts as the class names' text embeddings, or at zero.
        layers: that get low-rank changes: `auto`, or kinds joined by `+` (see `lora`).
        form: of the changes to convolutions.
        rank: of the changes to the image tower; 0 leaves it as it is (a linear probe).
        map_rank: of the change to the map (the paper's 64 for 100 classes, 128 for 1,000);
            0 is a full matrix.
        alpha: LoRA's scaling; changes are multiplied by alpha / rank.
        teachers: `final`, or the mean of a `trajectory` of weak ones.
        epochs, batch_size, lr, loss, held_out, patience, minutes, replay: of the fit on
            the real training set; see `benchmark.distill.DistillOptions`.
        ce_weight: of the cross-entropy with real labels (the paper's lambda).
        probe: views on which the map is first solved for in closed form; 0 goes without.
        weights: how the changes are shipped.
    """

    prior: str = "embedded"
    prompts: str = "photo"
    text: bool = True
    layers: str = "auto"
    form: lora.LoraForm = "peft"
    rank: int = 8
    map_rank: int = 64
    alpha: float = 16.0
    teachers: Literal["final", "trajectory"] = "final"
    epochs: int = 10
    batch_size: int = 64
    lr: float = 2e-3
    loss: Literal["mse", "kl"] = "mse"
    ce_weight: float = 0.1
    held_out: float = 0.02
    patience: int = 0
    minutes: float = 0.0
    replay: int = 0
    probe: int = 8192
    weights: Literal["fp16", "int8", "int4"] = "fp16"

    def __post_init__(self) -> None:
        for name in ("rank", "map_rank", "probe"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.rank > 4096:
            raise ValueError(f"rank must be at most 4096, got {self.rank}")
        if not self.alpha > 0:
            raise ValueError(f"alpha must be positive, got {self.alpha}")
        templates(self.prompts)
        self.fit()

    def fit(self) -> DistillOptions:
        """How the projector is fitted."""
        return DistillOptions(**{f.name: getattr(self, f.name) for f in fields(DistillOptions)})


class HeLlO(LabelSource[Options]):
    """Logits of the fitted projector on every view."""

    paper = "Heavy Labels Out! Dataset Distillation with Label Space Lightening, arXiv 2408.08201"
    space = "logits"

    def __init__(
        self,
        task: LabelTask,
        options: Options,
        projector: Projector,
        shipped: Sequence[StoredTensor],
    ) -> None:
        super().__init__(task, options)
        self.projector, self.shipped = projector, shipped
        tensors = {part.name: part.tensor for part in shipped}
        places = projector.changes()
        values = decode(tensors, options.weights, [p.shape for p in places])  # type: ignore[arg-type]
        with torch.no_grad():
            for place, value in zip(places, values, strict=True):
                place.copy_(value)
        projector.merge()

    @classmethod
    def _build(cls, task: LabelTask, options: Options) -> Projector:
        prior = load_prior(options.prior, task.device)
        names = task.images.class_names
        if options.text:
            start = prior.embed_classes(names, options.prompts)
        else:
            start = torch.zeros(len(names), prior.width, device=task.device)
        return Projector(
            prior,
            start,
            options.rank,
            options.map_rank,
            options.alpha,
            options.layers,
            options.form,
        )

    @classmethod
    def label_bytes(cls, options: Options, shape: TaskShape) -> int:
        names = ("prior", "layers", "form", "rank", "map_rank", "alpha")  # all that decides shapes
        built = Options(**{name: getattr(options, name) for name in names})
        return encoded_bytes(_trained(built, shape.classes), options.weights)

    @classmethod
    def needs(cls, options: Options) -> Needs:
        # The final teacher also tells how well the fit agrees, whichever teachers it is fitted to.
        snapshots = options.teachers == "trajectory"
        return Needs(teacher=True, snapshots=snapshots, priors=(options.prior,))

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work | None:
        if options.replay or options.patience or options.minutes:
            return None
        prior, held = PRIOR + options.prior, round(options.held_out * amounts.real)
        seen, looked_at = options.epochs * (amounts.real - held), options.epochs * held
        batch, probe = options.batch_size, min(options.probe, amounts.real)
        taught = labelling(options.teachers, seen + looked_at + probe, batch, amounts)
        return Work(
            (
                Passes(prior, seen, batch, trained=options.rank > 0),
                Passes(prior, looked_at + probe, batch),
                replace(taught, rendered=False),
            ),
            online=(prior,),
            shared=True,
            reads=seen + looked_at + probe,
        )

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        # Neither the distilled images nor the shipped form matter to the fit.
        key = {name: value for name, value in asdict(options).items() if name != "weights"}
        key["weights of the prior"] = content(options.prior)
        if options.loss == "kl":
            key["temperature"] = task.objective.temperature

        def build(folder: Path) -> None:
            torch.manual_seed(task.seed)
            projector = cls._build(task, options)
            notes = fit_projector(task, options, projector, folder / "checkpoint.pt")
            (folder / "checkpoint.pt").unlink(missing_ok=True)
            row = torch.cat([p.detach().flatten() for p in projector.changes()])
            save_file({"changes": row.cpu()}, folder / "projector.safetensors")
            (folder / "notes.json").write_text(json.dumps(notes))

        folder = task.shared_cache("projector", key, build)
        projector = cls._build(task, options)
        row = load_file(folder / "projector.safetensors")["changes"]
        sizes = [p.shape for p in projector.changes()]
        parts = row.split([size.numel() for size in sizes])
        changes = [part.view(size) for part, size in zip(parts, sizes, strict=True)]
        source = cls(task, options, projector, encode(changes, options.weights))
        source.notes = json.loads((folder / "notes.json").read_text())
        return source

    def tensors(self) -> Iterable[StoredTensor]:
        return self.shipped

    def requires(self) -> Mapping[Literal["prior", "teacher"], Requirement]:
        prior = self.projector.prior
        return {"prior": Requirement(name=prior.name, bytes=prior.bytes, sha256=prior.digest)}

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        target = shipped.manifest["requires"].get("prior")
        if target is None:
            raise ArtefactError("The labels do not say which prior they were made with.")
        projector = cls._build(task, options)
        refuse_other(projector.prior, target["sha256"])
        told = shipped.manifest["tensors"]
        tensors = [
            StoredTensor(name, "weights", tensor, told[name].get("numbers"))
            for name, tensor in shipped.tensors.items()
        ]
        return cls(task, options, projector, tensors)

    @property
    def network(self) -> nn.Module:
        return self.projector

    @torch.no_grad()
    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        with self.task.compute.autocast():
            return self.projector(images).float()


@cache
def _trained(options: Options, classes: int) -> list[torch.Size]:
    """The shapes of the projector's trained tensors; they take a tower to be built."""
    tower, width = bare_tower(options.prior)
    found = [p.shape for p in Map(torch.zeros(classes, width), options.map_rank).parameters()]
    if options.rank:
        found += lora.adapted_shapes(tower, options.layers, options.form, options.rank)
    return found


def fit_projector(
    task: LabelTask, options: Options, projector: Projector, checkpoint: Path
) -> dict[str, Json]:
    """DistillOptions a fresh projector to the teachers; returns what there is to tell."""
    final, _, _ = task.fitting()
    teachers = task.snapshots() if options.teachers == "trajectory" else [final]
    fit = options.fit()
    pixels = task.images.pixels[:2].float() / 255
    if options.rank:
        lora.check_used(projector.tower, projector.prior.normalise(pixels))
    # Where nothing in the tower learns, its features of a view need be made only once.
    frozen = None if options.rank else (projector.prior.digest, projector.features)
    if options.probe:
        batches, features, logits = TeacherBatches(task, teachers, fit, frozen), [], []
        for batch in batches.epoch(0):
            with torch.no_grad(), task.compute.autocast():
                shown = batch.shown if frozen else projector.features(batch.shown)
            features.append(shown.float())
            logits.append(batch.target)
            if sum(map(len, logits)) >= options.probe:
                break
        projector.map.solve(torch.cat(features), torch.cat(logits))
    network = projector.map if frozen else projector
    return distill(task, network, teachers, fit, "fit hello", checkpoint, frozen)


def refuse_other(prior: Prior, target: str) -> None:
    """Raise an ArtefactError if the prior is not the one that the labels were made with."""
    if prior.digest != target:
        raise ArtefactError(
            f"These labels need the prior {prior.name!r} with weights of SHA-256 {target}; "
            f"the one on this machine has {prior.digest}."
        )
