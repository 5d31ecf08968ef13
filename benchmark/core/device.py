"""The device that work runs on, and its arithmetic."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import nn

from .errors import UserError

Module = TypeVar("Module", bound=nn.Module)
Precision = Literal["auto", "fp32", "bf16"]


@dataclass(frozen=True)
class Compute:
    """A device and whether networks run there in bfloat16 (weights stay fp32)."""

    device: torch.device
    bf16: bool

    def autocast(self) -> AbstractContextManager:
        """The context in which networks compute; their outputs are cast back by the caller."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def place(self, network: Module) -> Module:
        """`network`, moved to the device, in the memory layout that is faster there.

        Convolutions in bfloat16 run faster channels last, but for group and instance norm, which
        would be laid out anew.
        """
        network = network.to(self.device)
        regrouped = any(isinstance(part, nn.GroupNorm) for part in network.modules())
        if self.bf16 and not regrouped:
            network = network.to(memory_format=torch.channels_last)
        return network

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

    `auto` takes CUDA where it is, and bfloat16 where the hardware computes in it.

    Raises:
        UserError: CUDA is asked for and not there.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise UserError("Device 'cuda' is not available here. Valid: auto, cpu.")
    chosen = torch.device("cuda" if has_cuda and device != "cpu" else "cpu")
    automatic = torch.cuda.is_bf16_supported() if chosen.type == "cuda" else _cpu_has_bf16()
    return Compute(chosen, precision == "bf16" or (precision == "auto" and automatic))


def _cpu_has_bf16() -> bool:
    """Whether this processor multiplies in bfloat16 itself; emulated, it is slower than fp32."""
    looks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, look, lambda: False)() for look in looks)
