"""Ship the teacher: the network itself, run online. The ceiling, and on small data the cheapest.

RDED's released code labels this way (Sun et al., CVPR 2024); no paper of the field counts it
as a rival in bytes. Whole, it is the ceiling. Shrunk to as many bytes as HeLlO ships, by leaving
out small weights or by low-rank factors, and tuned towards the whole teacher, it is the rival
that HeLlO's paper leaves out.
"""

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.views import ViewBatch
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.contract import Json, LabelSource
from benchmark.labels.task import Amounts, LabelTask, TaskShape
from benchmark.labels.weights import WeightForm, decode, encode
from benchmark.models import networks
from benchmark.models.classifier import Floats
from benchmark.models.teachers import Teacher

from . import sparse
from .options import Options
from .shrink import STEPS, LowRank, Pruning, dense, largest_share, layout, matrices, whole
from .tuning import tune

# A shrunk network serves several image sets, whose manifests differ by some tens of bytes.
MARGIN = 256
STATE, NOTES = "state.safetensors", "notes.json"


@dataclass(frozen=True)
class Extra:
    """What the manifest says of the network.

    Attributes:
        norm: mean and standard deviation of the pixels that it expects, per channel.
        share: of its weights that are shipped.
        gaps: how places are stored, if weights were pruned.
    """

    network: str
    norm: tuple[tuple[float, ...], tuple[float, ...]]
    share: float = 1.0
    gaps: sparse.Gaps | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")

    def norm_of(self, channels: int) -> tuple[Floats, Floats]:
        """Mean and standard deviation of so many channels, or an ArtefactError."""
        mean, std = self.norm
        if not len(mean) == len(std) == channels or not min(std) > 0:
            raise ArtefactError(f"norm must hold {channels} means and positive deviations.")
        return mean, std


class ShippedTeacher(LabelSource[Options]):
    """Logits of the shipped network on every view."""

    title = "Teacher"
    paper = "Sun et al., On the Diversity and Realism of Distilled Dataset (RDED), arXiv 2312.03526"
    space = "logits"
    control = "ceiling"
    control_forms = ("", "weights=int8")

    def __init__(
        self,
        task: LabelTask,
        options: Options,
        teacher: Teacher,
        state: Mapping[str, Tensor],
        share: float = 1.0,
    ) -> None:
        """`state` is what ships (see `shrink`), `share` what is left; 1 is the whole network."""
        super().__init__(task, options)
        self.teacher, self.share = teacher, share
        self.state = dict(sorted(state.items()))

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        """Under a budget: the network is shrunk to it, or to `bytes` if those are fewer."""
        if budget is not None and options.shrink == "none":
            raise UserError(
                "teacher ships the whole network, whatever the budget: choose "
                "teacher[shrink=prune] or teacher[shrink=low-rank], or leave it out of a run "
                "with --budget."
            )
        if budget is not None:
            return replace(options, bytes=min(options.bytes or budget, budget))
        if options.shrink != "none" and not options.bytes:
            raise UserError(
                f"teacher[shrink={options.shrink}] needs a size to shrink to: write "
                f"teacher[shrink={options.shrink},bytes=N]."
            )
        return options

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        images = options.epochs * amounts.real
        learns, teaches = (
            Passes(TEACHER, images, options.batch_size, trained=trained, rendered=trained)
            for trained in (True, False)
        )
        passes = (learns, teaches) if images else ()
        return Work(passes, online=(TEACHER,), shared=True, reads=images)

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        teacher, _, _ = task.fitting()
        if options.shrink == "none":
            return cls(task, options, teacher, whole(teacher.network))
        folder = task.shared_cache(
            "shrunk", asdict(options), lambda f: cls._shrink(task, options, f)
        )
        state, notes = load_file(folder / STATE), json.loads((folder / NOTES).read_text())
        shrunk = copy.deepcopy(teacher)
        shapes = matrices(shrunk.network)
        shrunk.network.load_state_dict(dense(state, shapes), strict=False)
        source = cls(task, options, shrunk, state, notes["share"])
        source.notes = notes
        return source

    @classmethod
    def _shrink(cls, task: LabelTask, options: Options, folder: Path) -> None:
        """Shrink the teacher to its bytes and tune it; state and notes go into `folder`.

        Raises:
            UserError: it cannot be had in so few bytes.
        """
        teacher, _, _ = task.fitting()
        rest = whole(teacher.network)
        shapes = matrices(teacher.network)
        forms = {"prune": Pruning, "low-rank": LowRank}
        form = forms[options.shrink]({name: rest.pop(name) for name in sorted(shapes)})

        def size(share: float) -> int:
            state = {**rest, **form.at(share)}
            return cls(task, options, teacher, state, share).storage().total + MARGIN

        share = largest_share(size, options.bytes)
        if not share:
            raise UserError(
                f"teacher[shrink={options.shrink}] cannot ship {teacher.network_name} in "
                f"{options.bytes:,} bytes: the least it can take is {size(2.0**-STEPS):,}."
            )
        state, notes = {**rest, **form.at(share)}, {}
        if options.epochs and share < 1:
            state, notes = tune(task, teacher, state, options, folder)
        save_file({name: value.contiguous() for name, value in state.items()}, folder / STATE)
        (folder / NOTES).write_text(json.dumps({"share": share, **notes}))

    @property
    def _pruned(self) -> bool:
        return self.options.shrink == "prune" and self.share < 1

    @cached_property
    def _sparse(self) -> tuple[list[StoredTensor], sparse.Gaps]:
        """Tensors of the pruned weights, and how to read them."""
        names = sorted(matrices(self.teacher.network))
        return sparse.encode([self.state[name] for name in names], self.options.weights)

    def manifest(self) -> Mapping[str, Json]:
        teacher = self.teacher
        norm = [list(teacher.mean), list(teacher.std)]
        facts: dict[str, Json] = {"network": teacher.network_name, "norm": norm}
        if self.share < 1:
            facts["share"] = self.share
        if self._pruned:
            facts["gaps"] = asdict(self._sparse[1])
        return facts

    def tensors(self) -> Iterable[StoredTensor]:
        form = self.options.weights
        if not self._pruned:
            return encode(list(self.state.values()), form)
        shapes = matrices(self.teacher.network)
        rest = [value for name, value in self.state.items() if name not in shapes]
        return [*encode(rest, _rest_form(form)), *self._sparse[0]]

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        images, extra, tensors = task.images, shipped.extra(Extra), shipped.tensors
        name, form, share = extra.network, options.weights, extra.share
        network = networks.create(name, task.classes, images.channels, images.resolution)
        shapes = matrices(network)
        rest = {n: value.shape for n, value in whole(network).items() if n not in shapes}
        if extra.gaps is not None:
            names = sorted(shapes)
            kept = sparse.decode(tensors, form, [shapes[n] for n in names], extra.gaps)
            others = decode(tensors, _rest_form(form), [rest[n] for n in sorted(rest)])
            state = dict(zip([*names, *sorted(rest)], [*kept, *others], strict=True))
        else:
            stored = dict(sorted({**rest, **layout(shapes, share)}.items()))
            state = dict(zip(stored, decode(tensors, form, list(stored.values())), strict=True))
        network.load_state_dict(dense(state, shapes), strict=False)
        teacher = Teacher(name, network, *extra.norm_of(images.channels))
        teacher = teacher.to(task.device).eval().requires_grad_(False)
        return cls(task, options, teacher, state, share)

    @property
    def network(self) -> nn.Module:
        return self.teacher

    @torch.no_grad()
    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        with self.task.compute.autocast():
            return self.teacher(images).float()


def _rest_form(form: WeightForm) -> WeightForm:
    """How tensors that are not pruned are stored."""
    return "fp32" if form == "fp32" else "fp16"
