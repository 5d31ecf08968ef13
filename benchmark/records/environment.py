"""What measures: the code, and the world that it runs in."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .record import Environment, World

if TYPE_CHECKING:
    from ..core.device import Compute

LIBRARIES = ("torch", "torchvision", "timm", "open_clip_torch", "peft", "numpy", "safetensors")


def world(compute: "Compute") -> World:
    """Where this process measures on a device: hardware, threads, full versions, platform."""
    import torch

    device = compute.device.type
    return World(
        device=device,
        hardware=cpu_name() if device == "cpu" else compute.name,
        threads=torch.get_num_threads() if device == "cpu" else None,
        python=platform.python_version(),
        libraries=dict(_versions()),
        platform=f"{platform.system()} {platform.machine()}",
    )


@cache
def environment() -> Environment:
    """The version of this package, and its commit."""
    return Environment(labelbench=version("labelbench"), commit=commit())


@cache
def _versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def commit() -> str | None:
    """The commit of the source tree, with `-dirty` if it was changed; None outside git."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


@cache
def cpu_name() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
