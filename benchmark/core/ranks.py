"""Processes that train one student together, as `torchrun` starts them, and what they exchange.

Each has a rank from 0. Rank 0 leads: it makes stages, writes records and shows progress. Tensors
on CUDA go through nccl, all else through gloo.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from . import progress
from .errors import Lost, UserError

T = TypeVar("T")
# The others wait while rank 0 makes stages, which may take days. One that dies is not waited for:
# torchrun then ends all.
PATIENCE = timedelta(days=14)
_joined = False


def launched() -> bool:
    """Whether `torchrun` started this process as one of several."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return several and dist.is_available() and dist.is_torchelastic_launched()


def join(device: torch.device) -> None:
    """Become one of the processes that `torchrun` started; all but rank 0 are silent from here on.

    Args:
        device: where this process trains.
    """
    global _joined
    if _joined:  # by an earlier run of this process
        return
    nccl = device.type == "cuda"
    if nccl:
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if nccl else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE, device_id=device if nccl else None)
    _joined = True
    if not leads():
        progress.choose(progress.Quiet())


def count() -> int:
    """How many processes train one student; 1 without `torchrun`."""
    return dist.get_world_size() if _joined else 1


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if _joined else 0


def leads() -> bool:
    """Whether this is the process that writes and shows what there is."""
    return rank() == 0


def rows(size: int) -> slice:
    """This process's part of a batch of `size` rows."""
    return parts(size, count())[rank()]


def parts(size: int, count: int) -> list[slice]:
    """The rows of `count` parts of a batch, in order; their sizes differ by at most one."""
    return [slice(*each) for each in pairwise(size * part // count for part in range(count + 1))]


def gathered(own: Tensor, size: int) -> Tensor:
    """All rows of a batch, (size, ...), of each process's `own` (its rows, ...); no gradient."""
    if not _joined:
        return own
    each = parts(size, count())
    most = max(part.stop - part.start for part in each)
    sent = own.new_zeros((most, *own.shape[1:]))
    sent[: len(own)] = own.detach()
    found = [torch.empty_like(sent) for _ in each]
    with _connected():
        dist.all_gather(found, sent)
    return torch.cat([f[: p.stop - p.start] for f, p in zip(found, each, strict=True)])


def told(value: T) -> T:
    """What rank 0 has as `value`, in every process."""
    if not _joined:
        return value
    sent: list[Any] = [value if leads() else None]
    with _connected():
        dist.broadcast_object_list(sent, src=0)
    return sent[0]


@contextmanager
def together() -> Iterator[None]:
    """Work that each process does by itself, without exchange: where one fails, all fail.

    Raises:
        UserError: another process failed; says which, and what it said.
    """
    if not _joined:
        yield
        return
    failed: Exception | None = None
    try:
        yield
    except Exception as error:
        failed = error
    flag = torch.tensor(int(failed is not None))
    with _connected():
        dist.all_reduce(flag, dist.ReduceOp.MAX)
    if not flag:
        return
    texts: list[str | None] = [None] * count()
    with _connected():
        dist.all_gather_object(texts, f"{type(failed).__name__}: {failed}" if failed else None)
    if failed is not None:
        raise failed
    rank, text = next((rank, text) for rank, text in enumerate(texts) if text)
    raise UserError(f"Process {rank} of {count()} failed: {text}")


@contextmanager
def _connected() -> Iterator[None]:
    """Turn torch's errors of an exchange that broke off into one that says what happened."""
    try:
        yield
    except RuntimeError as error:  # torch's own kinds are kinds of it
        raise lost(error) from error


def lost(error: Exception) -> Lost:
    """What ends a process whose steps no longer match those of the others."""
    first = str(error).strip().partition("\n")[0]
    return Lost(
        f"One of the {count()} processes of this run ended, or fell out of step ({first}). "
        "Finished stages, records and checkpoints are kept: run the same command again to go on."
    )
