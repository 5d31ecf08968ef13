"""Files of weights that others made: safetensors, or what `torch.save` wrote, read without risk.

A checkpoint may hold the weights under a key of its own (`state_dict`, `model`), and every name
may start alike (`module.` of DataParallel, `_orig_mod.` of torch.compile): both are dropped.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core.bounded import short
from ..core.errors import UserError
from ..core.pickles import SUFFIXES, read_pickled

DEEPEST = 4  # keys within keys around the weights


def read_weights(
    file: Path, expected: Mapping[str, Tensor], what: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights of a network, on the CPU, and the file's metadata (of safetensors alone).

    Args:
        expected: the network's own, by name.
        what: whose weights they are, for errors.

    Raises:
        UserError: the file is not there, is damaged, carries code, or holds another network's.
    """
    weights, metadata = _pickled(file) if file.suffix in SUFFIXES else _safetensors(file)
    weights = _without_prefix(weights, expected)
    shapes = {name: value.shape for name, value in weights.items()}
    if wrong := misfits({name: value.shape for name, value in expected.items()}, shapes):
        raise UserError(
            f"{str(file)!r} does not hold the weights of {what}: {len(wrong)} names or shapes "
            f"differ, first {short(wrong[0])!r}."
        )
    for name in sorted(weights):
        value, floats = weights[name], expected[name].is_floating_point()
        if value.is_floating_point() != floats or not value.isfinite().all():
            fault = "not finite" if value.is_floating_point() == floats else str(value.dtype)
            raise UserError(f"{name} in the teacher file {str(file)!r} is {fault}.")
    return weights, metadata


def misfits(expected: Mapping[str, torch.Size], found: Mapping[str, torch.Size]) -> list[str]:
    """The names that are in one only, or of another shape; counters of steps may be absent."""
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    alone = (expected.keys() - counters) ^ (found.keys() - counters)
    both = expected.keys() & found.keys()
    return sorted(alone) + sorted(name for name in both if expected[name] != found[name])


def _safetensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, framework="pt") as handle:
            names = handle.keys()
            return {name: handle.get_tensor(name) for name in names}, handle.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"Cannot read the teacher file {str(file)!r}: {error}. It must be of safetensors, or "
            f"a file of torch.save that ends in {', '.join(SUFFIXES)}."
        ) from error


def _pickled(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    loaded = read_pickled(file)
    for _ in range(DEEPEST):
        tensors = _tensors(loaded)
        if tensors:
            return tensors, {}
        inside = [value for value in _values(loaded) if isinstance(value, Mapping) and value]
        holding = [value for value in inside if _tensors(value)] or inside
        if len(holding) != 1:
            break
        loaded = holding[0]
    keys = ", ".join(map(str, loaded)) if isinstance(loaded, Mapping) else type(loaded).__name__
    raise UserError(
        f"The teacher file {str(file)!r} holds no weights, or several sets of them: "
        f"{short(keys)}. Save one state dict."
    )


def _values(loaded: Any) -> list[Any]:
    return list(loaded.values()) if isinstance(loaded, Mapping) else []


def _tensors(loaded: Any) -> dict[str, Tensor]:
    """A mapping's entries, where all are named tensors; else none."""
    if not isinstance(loaded, Mapping) or not loaded:
        return {}
    fits = all(isinstance(n, str) and isinstance(v, Tensor) for n, v in loaded.items())
    return {name: value.detach() for name, value in loaded.items()} if fits else {}


def _without_prefix(
    weights: dict[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Names without what they all start with, up to a dot, as long as the network knows none."""
    while weights and not weights.keys() & expected.keys():
        starts = {name.partition(".")[0] for name in weights}
        if len(starts) != 1 or not all("." in name for name in weights):
            break
        weights = {name.partition(".")[2]: value for name, value in weights.items()}
    return weights
