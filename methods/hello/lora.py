"""Low-rank changes to an image tower: which layers get them, in which form, and their merging.

By peft (Hu et al., LoRA, ICLR 2022), but for fused attention (see `LowRank`). Its change to a
convolution is a convolution to `rank` channels followed by a 1x1 one: r (in k² + out) numbers.
The original LoRA code's form makes a whole kernel from factors of r k rows and columns:
r k² (in + out) numbers, which is what HeLlO's parameter counts fit (557,784 on the 3x3
convolutions of RN50 at rank 8; peft's form has 307,928).
"""

import re
from collections.abc import Iterator
from types import MethodType
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmark.core.errors import UserError, unknown

LoraForm = Literal["peft", "loralib"]
KINDS = ("conv3x3", "conv", "linear", "attention")


def adapt(tower: nn.Module, layers: str, form: LoraForm, rank: int, alpha: float) -> nn.Module:
    """`tower` with trainable low-rank changes, zero at first; all else is frozen.

    Args:
        layers: see `adapted_layers`.
        form: of the changes to convolutions.
        alpha: changes are multiplied by alpha / rank.
    """
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import

    tower.requires_grad_(False)
    names = adapted_layers(tower, layers)
    for pool, module in tower.named_modules():
        changed = any(name.startswith(f"{pool}.") for name in names)
        if changed and type(module).__name__ == "AttentionPool2d":
            module.forward = MethodType(_pool_by_layers, module)
    kinds = {name: type(tower.get_submodule(name)) for name in names}
    whole = [n for n, kind in kinds.items() if form == "loralib" and issubclass(kind, nn.Conv2d)]
    fused = [n for n, kind in kinds.items() if issubclass(kind, nn.MultiheadAttention)]
    if rest := [re.escape(name) for name in names if name not in whole + fused]:
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="|".join(rest))  # type: ignore[arg-type]
        device = next(tower.parameters()).device
        tower = inject_adapter_in_model(config, tower).to(device)
    for layer in map(tower.get_submodule, whole):
        _parametrise(layer, "weight", WholeKernel(layer.weight, rank, alpha / rank))  # type: ignore[arg-type]
    for layer in map(tower.get_submodule, fused):
        for owner, weight in (layer, "in_proj_weight"), (layer.out_proj, "weight"):
            value: Tensor = getattr(owner, weight)  # type: ignore[arg-type]
            _parametrise(owner, weight, LowRank(value, rank, alpha / rank))  # type: ignore[arg-type]
    return tower


def adapted_shapes(tower: nn.Module, layers: str, form: LoraForm, rank: int) -> list[torch.Size]:
    """The shapes of the trainable tensors that `adapt` gives a tower; nothing is changed.

    Without peft, which takes longer to import than all else that it takes to count them.
    """
    found: list[tuple[int, ...]] = []
    for layer in map(tower.get_submodule, adapted_layers(tower, layers)):
        if isinstance(layer, nn.Conv2d):
            out, into, high, wide = layer.weight.shape
            if form == "loralib":
                found += [(rank * high, into * high), (out * high, rank * high)]
            else:
                found += [(rank, into, high, wide), (out, rank, 1, 1)]
        elif isinstance(layer, nn.MultiheadAttention):
            for weight in (layer.in_proj_weight, layer.out_proj.weight):
                found += [(rank, weight.shape[1]), (weight.shape[0], rank)]
        else:
            assert isinstance(layer, nn.Linear)
            found += [(rank, layer.in_features), (layer.out_features, rank)]
    return [torch.Size(shape) for shape in found]


def _parametrise(layer: nn.Module, weight: str, change: nn.Module) -> None:
    parametrize.register_parametrization(layer, weight, change)


def adapted_layers(tower: nn.Module, layers: str) -> list[str]:
    """Full names of the layers that get low-rank changes.

    Full, since a bare `conv1` would also catch 1x1 convolutions. Convolutions in groups are
    left out.

    Args:
        layers: kinds joined by `+`: `conv3x3`, `conv` (of any size), `linear` (outside
            attention), `attention` (its projections, fused ones too). `auto` is `conv3x3` where
            there are such, which the paper's counts fit (RN50 has 19), else
            `linear+attention`.

    Raises:
        UserError: there is no such kind, or the tower has no such layer.
    """
    found = dict(_kinds(tower))
    kinds = set(found.values())
    if layers == "auto":
        chosen = {"conv3x3"} if "conv3x3" in kinds else {"linear", "attention"}
    else:
        chosen = set(layers.split("+"))
        for kind in chosen - set(KINDS):
            raise unknown("kind of layers", kind, ["auto", *KINDS])
        chosen |= {"conv3x3"} if "conv" in chosen else set()
    names = [name for name, kind in found.items() if kind in chosen]
    if not names:
        raise UserError(
            f"This prior's image tower has no layers of the kind {layers!r}; it has "
            f"{', '.join(sorted(kinds)) or 'none that low-rank changes suit'}."
        )
    return names


def _kinds(tower: nn.Module) -> Iterator[tuple[str, str]]:
    """Each layer that can be changed, and its kind."""
    fused = {n for n, m in tower.named_modules() if isinstance(m, nn.MultiheadAttention)}
    for name, module in tower.named_modules():
        parent = name.rpartition(".")[0]
        if name in fused:
            yield name, "attention"
        elif isinstance(module, nn.Conv2d) and module.groups == 1:
            yield name, "conv3x3" if module.kernel_size == (3, 3) else "conv"
        elif isinstance(module, nn.Linear) and parent not in fused:
            yield name, "attention" if re.search(r"att(entio)?n", parent) else "linear"


class LowRank(nn.Module):
    """The change to a weight (out, in) of fused attention: W + scale B A.

    Ours, since peft 0.13 does not know such layers, and later ones add the change of the output
    projection twice.

    Args:
        scale: multiplies the change.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        out, into = weight.shape
        self.lora_A = nn.Parameter(weight.new_empty(rank, into))
        self.lora_B = nn.Parameter(weight.new_zeros(out, rank))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        """The changed weight."""
        return weight + self.scale * (self.lora_B @ self.lora_A)


class WholeKernel(nn.Module):
    """The original LoRA code's change to a convolution's kernel (out, in, k, k).

    Args:
        scale: multiplies the change.
    """

    def __init__(self, kernel: Tensor, rank: int, scale: float) -> None:
        super().__init__()
        out, into, side, _ = kernel.shape
        self.lora_A = nn.Parameter(kernel.new_empty(rank * side, into * side))
        self.lora_B = nn.Parameter(kernel.new_zeros(out * side, rank * side))
        nn.init.kaiming_uniform_(self.lora_A, a=5**0.5)
        self.scale = scale

    def forward(self, kernel: Tensor) -> Tensor:
        """The changed kernel."""
        return kernel + self.scale * (self.lora_B @ self.lora_A).view(kernel.shape)


def check_used(tower: nn.Module, pixels: Tensor) -> None:
    """Raise a UserError if the tower passes by one of its changed layers.

    Some architectures hand a layer's weights to a function instead of calling the layer, and
    low-rank changes to it would then do nothing, in silence. Such changes get no gradient.

    Args:
        pixels: what the tower takes, (B, 3, R, R).
    """
    features = tower(pixels)
    if features.requires_grad:
        features.backward(torch.randn_like(features))
    unused = [n for n, p in tower.named_parameters() if "lora_B" in n and p.grad is None]
    tower.zero_grad(set_to_none=True)
    if unused:
        raise UserError(
            f"This prior does not call {len(unused)} of the layers that hello.layers chose, "
            f"first {unused[0].partition('.lora_B')[0]!r}: choose other kinds of layers."
        )


def merge(tower: nn.Module) -> nn.Module:
    """The tower with all changes added to its weights: as fast as it was before them."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(tower.named_modules()):
        if parametrize.is_parametrized(module):
            for weight in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, weight, leave_parametrized=True)
        elif isinstance(module, LoraLayer) and ".base_layer." not in name:
            module.merge()  # type: ignore[operator]
            parent, _, own = name.rpartition(".")
            setattr(tower.get_submodule(parent), own, module.get_base_layer())
    return tower.requires_grad_(False)


def _pool_by_layers(self: Any, x: Tensor) -> Tensor:
    """CLIP's attention pooling by calls of its layers, (B, C, h, w) to (B, d).

    open_clip hands the layers' weights to one function, which would pass by changes to them.
    """
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + self.positional_embedding

    def heads(y: Tensor) -> Tensor:
        return y.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    query, key, value = self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x)
    pooled = F.scaled_dot_product_attention(heads(query), heads(key), heads(value))
    return self.c_proj(pooled.transpose(1, 2).flatten(1))
