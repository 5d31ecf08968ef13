"""Students of one network trained as one: their weights stacked, each layer one operation for all.

What a small student costs on a GPU is mostly the time to start its many small operations; a stack
starts as many for all of its members as one student does for itself.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from ..data.views import ViewBatch
from .contract import LabelSource
from .student import Student, stream


class Stack(nn.Module):
    """The networks of several students as one, for a source whose stream they share.

    Torch's `vmap` makes of each layer one for all: of convolutions grouped ones, of matrix
    products batched ones. Each member learns what it would by itself, to rounding.

    Args:
        students: of one network, with their seeds' initial weights; `restore` gives them what
            the stack has learned.
        source: whose loss is the contract's own.
    """

    def __init__(self, students: Sequence[Student], source: LabelSource) -> None:
        super().__init__()
        # In tuples, where torch does not take them for parts of this module.
        self._students, self._source = tuple(students), source
        self._network = (copy.deepcopy(students[0].network),)
        for module in self._network[0].modules():
            if type(module) is nn.BatchNorm2d and module.momentum is not None:
                module.__class__ = StackedBatchNorm
        weights, buffers = stack_module_state([student.network for student in students])
        self._names = list(weights)
        self.weights = nn.ParameterList(weights.values())
        self._buffered = {f"buffer{number}": name for number, name in enumerate(buffers)}
        for place, name in self._buffered.items():
            self.register_buffer(place, buffers[name])

    @staticmethod
    def possible(students: Sequence[Student], source: LabelSource) -> bool:
        """Whether these can be stacked: plain students of one network, and the contract's loss."""
        plain = all(type(student) is Student for student in students)
        states = {tuple((n, t.shape) for n, t in s.state_dict().items()) for s in students}
        kinds = {repr(student.network) for student in students}
        own_loss = type(source).loss is not LabelSource.loss
        return len(students) > 1 and plain and len(states) == len(kinds) == 1 and not own_loss

    def train(self, mode: bool = True) -> Self:
        self._network[0].train(mode)
        return super().train(mode)

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """The members' losses of an epoch, (members,) a step."""
        for views, pixels, targets in stream(self._source, epoch):
            yield self.loss(pixels, targets, views, epoch)

    def loss(self, pixels: Tensor, targets: Tensor, views: ViewBatch, epoch: int) -> Tensor:
        """The members' losses of the same views, (members,)."""
        source = self._source
        with source.task.compute.autocast():
            logits = self.seen(pixels, views, epoch)
        # One by one: the divergence cannot be had for all members at once.
        each = [source.loss(one, targets, views, epoch) for one in logits.float()]
        return torch.stack(each)

    def seen(self, pixels: Tensor, views: ViewBatch, epoch: int) -> Tensor:
        """The members' logits of the same views, (members, B, classes)."""
        first = self._students[0]
        shown, augmented = first.normalised(pixels), bool(first.augment.kinds)
        if augmented:
            each = [student.augment(shown, epoch, views.batch) for student in self._students]
            shown = torch.stack(each)
        network = self._network[0]

        def one(weights: dict[str, Tensor], buffers: dict[str, Tensor], shown: Tensor) -> Tensor:
            return functional_call(network, (weights, buffers), (shown,))

        parts = dict(zip(self._names, self.weights, strict=True)), self._buffers_by_name()
        dimensions = (0, 0, 0 if augmented else None)
        return vmap(one, in_dims=dimensions, randomness="different")(*parts, shown)

    def _buffers_by_name(self) -> dict[str, Tensor]:
        return {name: self.get_buffer(place) for place, name in self._buffered.items()}

    @torch.no_grad()
    def restore(self) -> None:
        """Give each student its own weights and statistics."""
        named = {**dict(zip(self._names, self.weights, strict=True)), **self._buffers_by_name()}
        for number, student in enumerate(self._students):
            for name, tensor in student.network.state_dict().items():
                tensor.copy_(named[name][number])


class StackedBatchNorm(nn.BatchNorm2d):
    """A batch norm for use inside `vmap`: one of torch's own over all members' channels.

    `batch_norm` first chooses between cuDNN and torch's own kernel, and for cuDNN asks whether its
    input lies channels last, which `vmap` cannot answer ("NYI: querying is_contiguous inside of
    vmap"); so bf16 convolutions with a bias, as a ConvNet's, could not be stacked on a GPU.
    `native_batch_norm` is torch's own kernel without that choice: `vmap` folds the members into
    its channels, and running statistics are moved in place as always.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Of (B, channels, H, W), alike."""
        training = self.training or self.running_mean is None
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        assert self.momentum is not None
        return torch.native_batch_norm(
            input,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            training,
            self.momentum,
            self.eps,
        )[0]
