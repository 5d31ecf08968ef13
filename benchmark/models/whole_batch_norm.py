"""Batch norm over the whole batch, where each of several processes sees a part of it.

So a network learns from its batch's statistics what it would in one process. On CUDA torch's
`SyncBatchNorm` does it; on a CPU, where there is none, the layer below.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def layers(module: nn.Module) -> list[_BatchNorm]:
    """The batch norms of a module that see each batch's own statistics while it trains."""
    return [part for part in module.modules() if isinstance(part, _BatchNorm)]


def synchronise(module: nn.Module) -> list[tuple[_BatchNorm, type[_BatchNorm]]]:
    """Have a module's batch norms take all processes' rows; returns what each was.

    In place, and without other weights, so that an optimiser's stay the module's.
    """
    found = [(part, type(part)) for part in layers(module) if type(part) in KINDS]
    for part, _ in found:
        if next(module.parameters()).is_cuda:
            part.__class__ = nn.SyncBatchNorm
            vars(part)["process_group"] = None
        else:
            part.__class__ = WholeBatchNorm
    return found


def restore(found: list[tuple[_BatchNorm, type[_BatchNorm]]]) -> None:
    """Make them again what they were."""
    for part, kind in found:
        part.__class__ = kind


class WholeBatchNorm(_BatchNorm):
    """Batch norm whose statistics are those of all processes' rows; on any device.

    The variance is taken in a second pass, since a difference of large sums would be less exact.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"expected inputs of at least two dimensions, got {input.ndim}")

    def forward(self, input: Tensor) -> Tensor:
        """Of (B, features, ...), alike."""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1] + [1] * (input.ndim - 2)
        values = input.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        dist.all_reduce(count)
        mean = all_reduce(values.sum(axes)) / count
        centred = values - mean.view(shape)
        variance = all_reduce(centred.square().sum(axes)) / count
        if self.running_mean is not None and self.running_var is not None:
            self._remember(mean.detach(), variance.detach() * count / (count - 1))
        found = centred * (variance + self.eps).rsqrt().view(shape)
        if self.weight is not None:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            share = 1 / float(self.num_batches_tracked) if share is None else share
        self.running_mean.lerp_(mean, share or 0.0)
        self.running_var.lerp_(variance, share or 0.0)
