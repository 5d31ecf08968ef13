"""Labels too many for memory, read from their memory map while the step before them runs."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BUFFERS = 2  # one that a step's labels come from, one that the next step's are read into


@dataclass
class _Buffer:
    """Memory for the rows of one batch, and what was read into it.

    Attributes:
        copied: what a device still reads from it, if anything.
    """

    memory: Tensor
    rows: slice
    read: "Future[None]"
    copied: Any = None


class ReadAhead:
    """Rows of a memory-mapped tensor, which a thread reads before they are asked for.

    For a GPU it reads into pinned memory, whose copies to the device wait for nothing. There are
    two buffers and no more: rows that are expected beyond that take the place of the oldest.

    Args:
        tensor: on the CPU, (rows, ...).
        device: where rows are wanted.
    """

    def __init__(self, tensor: Tensor, device: torch.device) -> None:
        self.tensor, self.device = tensor, device
        self._pinned = device.type == "cuda" and torch.cuda.is_available()
        self._buffers: list[_Buffer] = []
        self._thread = ThreadPoolExecutor(1, "labels")

    def expect(self, rows: slice) -> None:
        """Have rows read that will be asked for soon; returns at once."""
        if self._found(rows) is not None:
            return
        memory, copied = None, None
        if len(self._buffers) == BUFFERS:
            oldest = self._buffers.pop(0)
            memory, copied = oldest.memory, oldest.copied
        count = rows.stop - rows.start
        if memory is None or len(memory) < count:
            shape = (count, *self.tensor.shape[1:])
            memory = torch.empty(shape, dtype=self.tensor.dtype, pin_memory=self._pinned)
        read = self._thread.submit(self._read, memory, rows, copied)
        self._buffers.append(_Buffer(memory, rows, read))

    def __getitem__(self, rows: slice) -> Tensor:
        """These rows on the device, read now if nobody expected them."""
        buffer = self._found(rows)
        if buffer is None:
            return self.tensor[rows].to(self.device, non_blocking=True, copy=True)
        buffer.read.result()
        # A copy, so that no reader's labels change when the buffer is filled anew.
        taken = buffer.memory[: rows.stop - rows.start].to(
            self.device, non_blocking=True, copy=True
        )
        if self._pinned:
            buffer.copied = torch.cuda.Event()
            buffer.copied.record(torch.cuda.current_stream(self.device))
        return taken

    def _found(self, rows: slice) -> _Buffer | None:
        return next((buffer for buffer in self._buffers if buffer.rows == rows), None)

    def _read(self, memory: Tensor, rows: slice, copied: Any) -> None:
        if copied is not None:
            copied.synchronize()
        memory[: rows.stop - rows.start].copy_(self.tensor[rows])
