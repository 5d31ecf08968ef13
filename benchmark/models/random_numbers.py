"""Where torch's random numbers stand, on the CPU and on the device that trains."""

from collections.abc import Mapping

import torch
from torch import Tensor


def state(device: torch.device, seed: int | None = None) -> dict[str, Tensor]:
    """Where they stand, or where they begin with a seed; named as checkpoints have them."""
    if seed is not None:
        found = {"rng": torch.Generator().manual_seed(seed).get_state()}
    else:
        found = {"rng": torch.get_rng_state()}
    if device.type == "cuda" and torch.cuda.is_available():
        if seed is not None:
            found["cuda_rng"] = torch.Generator(device).manual_seed(seed).get_state()
        else:
            found["cuda_rng"] = torch.cuda.get_rng_state(device)
    return found


def go_on_from(found: Mapping[str, Tensor], device: torch.device) -> None:
    """Draw on from where they stood."""
    torch.set_rng_state(found["rng"])
    if "cuda_rng" in found:
        torch.cuda.set_rng_state(found["cuda_rng"], device)
