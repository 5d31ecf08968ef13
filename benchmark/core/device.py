"""The device that work runs on, and its arithmetic."""

import platform
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from . import freed_memory
from .bounded import shown
from .errors import UserError

Module = TypeVar("Module", bound=nn.Module)
Precision = Literal["auto", "fp32", "bf16"]
NAMES = re.compile("auto|cpu|mps|(cuda|xpu)(:(0|[1-9][0-9]{0,3}))?")


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

        Convolutions in bfloat16, and on a CPU in any precision, run faster channels last, but for
        group and instance norm, which would be laid out anew.
        """
        if self.device.type == "cpu":
            freed_memory.keep()
        network = network.to(self.device)
        regrouped = any(isinstance(part, nn.GroupNorm) for part in network.modules())
        if (self.bf16 or self.device.type == "cpu") and not regrouped:
            network = network.to(memory_format=torch.channels_last)
        return network

    def wait(self) -> None:
        """Until all work queued on the device is done; only for timing."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "xpu":
            torch.xpu.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    @property
    def precision(self) -> Literal["fp32", "bf16"]:
        """In which networks run, for keys and records."""
        return "bf16" if self.bf16 else "fp32"

    @property
    def name(self) -> str:
        """The device in words, for records."""
        if self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        if self.device.type == "xpu":
            return torch.xpu.get_device_name(self.device)
        if self.device.type == "mps":
            return f"Apple GPU, {platform.machine()}"
        return f"CPU, {torch.get_num_threads()} threads"


def choose(device: str, precision: Precision) -> Compute:
    """The device of a name, `auto`, `cpu`, `cuda`, `cuda:1`, `xpu` or `mps`, and its precision.

    `auto` takes CUDA where it is, and bfloat16 where the hardware computes in it. Keys and records
    hold the kind of a device, `cuda`, not which one of several. `xpu` is Intel's, `mps` Apple's.

    Raises:
        UserError: the name is none of these, or the device is not there.
    """
    if not NAMES.fullmatch(device):
        raise UserError(
            f"Unknown device {shown(device)}. Valid: auto, cpu, cuda, cuda:N, xpu, xpu:N, mps."
        )
    there = _there()
    if device not in ("auto", *there):
        raise UserError(
            f"Device {shown(device)} is not available here. Valid: {', '.join(['auto', *there])}."
        )
    if device == "auto":
        device = "cuda" if "cuda" in there else "cpu"
    chosen = torch.device(device)
    looks = {"cpu": _cpu_has_bf16, "cuda": lambda: _cuda_has_bf16(chosen)}
    automatic = precision == "auto" and chosen.type in looks and looks[chosen.type]()
    return Compute(chosen, precision == "bf16" or automatic)


def moved(tensors: Sequence[Tensor], device: torch.device | str) -> list[Tensor]:
    """Small tensors, on a device.

    From the CPU to a GPU all go in one copy, from pinned memory: for any other memory CUDA first
    waits until the device has done all that was asked of it.
    """
    device = torch.device(device)
    from_cpu = all(tensor.device.type == "cpu" for tensor in tensors)
    if device.type != "cuda" or not from_cpu or not torch.cuda.is_available():
        return [tensor.to(device, non_blocking=True) for tensor in tensors]
    # The widest numbers first, so that each part begins where numbers of its width may.
    order = sorted(range(len(tensors)), key=lambda n: tensors[n].element_size(), reverse=True)
    parts = [tensors[n].flatten().view(torch.uint8) for n in order]
    pinned = torch.empty(sum(map(len, parts)), dtype=torch.uint8, pin_memory=True)
    there = torch.cat(parts, out=pinned).to(device, non_blocking=True)
    sections = dict(zip(order, there.split([len(part) for part in parts]), strict=True))
    return [sections[n].view(tensor.dtype).view(tensor.shape) for n, tensor in enumerate(tensors)]


def _there() -> list[str]:
    """The names of the devices of this machine."""
    names = ["cpu"]
    for kind, torch_of in (("cuda", torch.cuda), ("xpu", torch.xpu)):
        count = torch_of.device_count() if torch_of.is_available() else 0
        names += [*([kind] if count else []), *(f"{kind}:{number}" for number in range(count))]
    return [*names, "mps"] if torch.backends.mps.is_available() else names


def _cuda_has_bf16(device: torch.device) -> bool:
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported()


def _cpu_has_bf16() -> bool:
    """Whether this processor multiplies in bfloat16 itself; emulated, it is slower than fp32."""
    looks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, look, lambda: False)() for look in looks)
