"""VQAE: an autoencoder of the stored soft labels, whose code is a few entries of a codebook.

Abbasi et al., "Vector-Quantized Soft Label Compression for Dataset Distillation" (arXiv
2603.03808): an encoder turns each label into a latent, whose parts are replaced by the nearest
entries of a codebook; what is stored is an index for each part, and a decoder gives labels back.
No code was published when this was written, and of the text only the abstract and summaries were
at hand. What was left open, and our choice:

- encoder and decoder have one hidden layer each; all codes of a label share one codebook, which
  k-means starts and moving averages move (VQ-VAE).
- codebook and decoder are shipped with the indices, and counted, as int8 or fp16; the encoder is
  not. It is fitted to the labels of the very views that are stored.
- what is fitted is the student's loss: a divergence at the recipe's temperature, or squared errors.
- views take no bytes: the plan's seed gives them back.
- a byte budget takes more codes where all labels fit; where they do not, fewer batches, reused as
  in `hald`. The paper codes the labels that LPLD leaves, too.
- temperature, loss and schedule of the student are the recipe's.

At load all is decoded once, if that fits into memory, so that a step costs what it costs with
`soft`; else the decoder runs at each step.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Self

import torch
from torch import Tensor

from benchmark.core.errors import ArtefactError, UserError
from benchmark.core.work import TEACHER, Passes, Work
from benchmark.data.views import ViewBatch, ViewPlan
from benchmark.labels.artefact import Artefact, StoredTensor
from benchmark.labels.contract import LabelSource
from benchmark.labels.label_basis import LEAST_POWER, centred
from benchmark.labels.label_pool import LabelPool, labels_of
from benchmark.labels.packing import unpack, width_for
from benchmark.labels.relabelling import Relabelling
from benchmark.labels.task import Amounts, LabelTask, StoredViewCount, TaskShape
from benchmark.labels.teacher_logits import RESIDENT_BYTES, teacher_logits
from benchmark.labels.weights import decode, encode
from benchmark.labels.writer import PackedWriter, Stored, TensorWriter

from .autoencoder import Decoder, fit_autoencoder, prepared, shapes
from .budget import index_bytes, network_bytes, within
from .options import Options

USUAL_HIDDEN = 64
BLOCK, FEW = 4096, 256  # labels that are decoded at once, and compared


class VQAE(LabelSource[Options]):
    """Decoded labels of stored views, replayed."""

    paper = "Abbasi et al., VQAE, arXiv 2603.03808"
    space = "logits"

    def __init__(
        self,
        task: LabelTask,
        options: Options,
        network: Mapping[str, Tensor],
        codes: Tensor | Stored,
    ) -> None:
        """Keep what is shipped: codebook and decoder as `encode` made them, the packed indices."""
        super().__init__(task, options)
        self.shipped, self.codes = network, codes
        tensors = decode(network, options.values, shapes(options, task.classes))
        self.decoder = Decoder(*tensors).to(task.device)
        self.pool = LabelPool(task.plan, options.batches)
        self._table: Tensor | None = None

    @classmethod
    def resolve_options(cls, options: Options, shape: TaskShape, budget: int | None) -> Options:
        steps = shape.epochs * shape.batches
        if options.codes * width_for(options.entries) > 16 * shape.classes:
            raise UserError(
                f"vqae.codes is {options.codes}: so many indices of {options.entries} entries take "
                f"more than the {shape.classes} logits of a label in fp16."
            )
        if options.batches > steps:
            raise UserError(f"vqae.batches is {options.batches}, but there are {steps}.")
        hidden = options.hidden or max(USUAL_HIDDEN, shape.classes)
        wished = replace(options, hidden=hidden, batches=options.batches or steps)
        return wished if budget is None else within(budget, wished, shape)

    @classmethod
    def label_bytes(cls, options: Options, shape: TaskShape) -> int:
        labels = labels_of(shape, options.batches)
        return network_bytes(options, shape.classes) + index_bytes(options, labels)

    @classmethod
    def stored_views(cls, options: Options, shape: TaskShape) -> StoredViewCount:
        return StoredViewCount(options.batches, shape.classes)

    @classmethod
    def work(cls, options: Options, amounts: Amounts) -> Work:
        shape = amounts.shape
        return Work((Passes(TEACHER, labels_of(shape, options.batches), shape.batch_size(0)),))

    @classmethod
    def relabelling(cls, options: Options, plan: ViewPlan, seed: int) -> Relabelling:
        return Relabelling(range(options.batches))

    @classmethod
    def fit(cls, task: LabelTask, options: Options) -> Self:
        objective, device = task.objective, task.device
        writer = TensorWriter(task.workspace() / "labels", torch.float16, (task.classes,))
        for _, rows in teacher_logits(task, range(options.batches), "label the views"):
            writer.add(prepared(rows, objective))
        stored = writer.mapped()
        blocks = (stored[start : start + BLOCK] for start in range(0, len(stored), BLOCK))
        squares = sum(float(block.float().square().mean(1).sum()) for block in blocks)
        power = max((squares / len(stored)) ** 0.5, LEAST_POWER)
        if stored.nbytes <= RESIDENT_BYTES:
            stored = stored.to(device)  # on the CPU, the map that it is
        autoencoder, losses = fit_autoencoder(stored, power, options, objective, task.seed, device)
        codes = PackedWriter(task.workspace() / "codes", width_for(options.entries))
        for start in range(0, len(stored), BLOCK):
            block = stored[start : start + BLOCK].to(device).float()
            codes.add(autoencoder.indices(autoencoder.latents(block / power)))
        tensors = [tensor.cpu() for tensor in autoencoder.decoder(power).tensors()]
        network = {part.name: part.tensor[:] for part in encode(tensors, options.values)}
        made = cls(task, options, network, codes.stored())
        made.notes = {"losses": losses, "squared_error": made._squared_error(stored)}
        return made

    def tensors(self) -> Iterable[StoredTensor]:
        yield StoredTensor("indices", "indices", self.codes)
        for name, tensor in self.shipped.items():
            yield StoredTensor(name, "weights", tensor, 0 if name == "scales" else None)

    @classmethod
    def restore(cls, task: LabelTask, options: Options, shipped: Artefact) -> Self:
        if not 1 <= options.batches <= task.plan.steps:
            raise ArtefactError(
                f"{options.batches} batches are stored where the plan has {task.plan.steps}."
            )
        codes = shipped.tensors.get("indices")
        labels = labels_of(task.shape, options.batches)
        size = (index_bytes(options, labels),)
        if codes is None or codes.dtype != torch.uint8 or codes.shape != size:
            raise ArtefactError(f"The labels' indices are not uint8 {size}.")
        network = {name: part for name, part in shipped.tensors.items() if name != "indices"}
        made = cls(task, options, network, codes)
        if 2 * labels * task.classes <= RESIDENT_BYTES:
            shape = (labels, task.classes)
            made._table = torch.empty(shape, dtype=torch.float16, device=task.device)
            for start in range(0, labels, BLOCK):
                rows = slice(start, min(start + BLOCK, labels))
                made._table[rows] = made._decoded(rows)
        return made

    def stored_labels(self) -> Iterator[tuple[ViewBatch, Tensor]]:
        for position in range(self.pool.size):
            yield self.pool.batch(position), self.logits(position).cpu()

    @property
    def seeded(self) -> bool:
        return not self.pool.whole

    def views(self, epoch: int) -> Iterator[ViewBatch]:
        return self.pool.replay(self.task.seed, epoch)

    def logits(self, position: int) -> Tensor:
        """Of a stored batch, float32 (B, C), on the device."""
        rows = self.pool.rows(position)
        return self._decoded(rows) if self._table is None else self._table[rows].float()

    def targets(self, views: ViewBatch, images: Tensor, epoch: int) -> Tensor:
        return self.logits(views.batch)

    def _decoded(self, rows: slice) -> Tensor:
        codes, count = self.options.codes, rows.stop - rows.start
        width = width_for(self.options.entries)
        indices = unpack(self.codes, width, rows.start * codes, count * codes)
        device = self.task.device
        return self.decoder.logits(indices.view(count, codes).to(device, non_blocking=True))

    def _squared_error(self, stored: Tensor) -> float:
        """Of the centred labels, as a share of their power."""
        wrong = power = 0.0
        for start in range(0, len(stored), BLOCK):
            rows = slice(start, min(start + BLOCK, len(stored)))
            pairs = zip(stored[rows].split(FEW), self._decoded(rows).split(FEW), strict=True)
            for exact, found in pairs:
                exact, found = centred(exact.cpu()), centred(found.cpu())
                wrong += float((found - exact).square().sum())
                power += float(exact.square().sum())
        return wrong / max(power, LEAST_POWER)
