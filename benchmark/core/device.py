"""The device that work runs on, and its arithmetic."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from .errors import UserError

Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Compute:
    """A device and whether networks run there in bfloat16 (weights stay fp32)."""

    device: torch.device
    bf16: bool

    def autocast(self) -> AbstractContextManager:
        """The context in which networks compute; their outputs are cast back by the caller."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def wait(self) -> None:
        """Until all work queued on the device is done; only for timing."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        """In which networks run, for keys and records."""
        return "bf16" if self.bf16 else "fp32"

    @property
    def name(self) -> str:
        """The device in words, for records."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        return f"CPU, {torch.get_num_threads()} threads"


def choose(device: str, precision: Precision) -> Compute:
    """The device named `auto`, `cpu` or `cuda`, and its precision.

    `auto` takes CUDA where it is, and bfloat16 where CUDA has it.

    Raises:
        UserError: CUDA is asked for and not there.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise UserError("Device 'cuda' is not available here. Valid: auto, cpu.")
    chosen = torch.device("cuda" if has_cuda and device != "cpu" else "cpu")
    automatic = chosen.type == "cuda" and torch.cuda.is_bf16_supported()
    return Compute(chosen, precision == "bf16" or (precision == "auto" and automatic))
