import pytest
import torch
from torch import nn

from benchmark.core import device
from benchmark.core.device import Compute, choose
from benchmark.models import networks

CPU = torch.device("cpu")


@pytest.mark.parametrize("native", [True, False])
def test_auto_takes_bfloat16_where_the_processor_computes_in_it(monkeypatch, native):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: native)
    assert choose("auto", "auto").precision == ("bf16" if native else "fp32")
    assert choose("cpu", "fp32").precision == "fp32"
    assert choose("cpu", "bf16").precision == "bf16"


def test_a_torch_that_cannot_tell_computes_in_single_precision(monkeypatch):
    for look in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, look, raising=False)
    assert not device._cpu_has_bf16()


@pytest.mark.parametrize(
    ("name", "bf16", "last"),
    [
        ("convnet-d3-bn", True, True),
        ("convnet-d3-bn", False, False),
        ("convnet-d3", True, False),
        ("resnet18", True, True),
    ],
)
def test_the_layout_is_the_one_that_is_faster(name, bf16, last):
    network = Compute(CPU, bf16).place(networks.create(name, 10, 3, 32))
    second = [m for m in network.modules() if isinstance(m, nn.Conv2d)][1]
    assert second.weight.is_contiguous(memory_format=torch.channels_last) == last


def test_layouts_give_the_same_logits():
    torch.manual_seed(0)
    network = networks.create("convnet-d3-bn", 10, 3, 32).eval()
    pixels = torch.rand(4, 3, 32, 32)
    before = network(pixels)
    placed = network.to(memory_format=torch.channels_last)
    torch.testing.assert_close(placed(pixels), before, rtol=1e-4, atol=1e-5)
