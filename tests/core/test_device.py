import pytest
import torch
from torch import nn

from benchmark.core import device
from benchmark.core.code_digest import Code
from benchmark.core.device import Compute, choose
from benchmark.core.errors import UserError
from benchmark.core.keys import key
from benchmark.models import networks
from benchmark.records.environment import world

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
        ("convnet-d3-bn", False, True),
        ("convnet-d3", True, False),
        ("convnet-d3", False, False),
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


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many GPUs, and Apple's or not."""

    def make(gpus: int, apple: bool = False) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
        monkeypatch.setattr(device, "_cuda_has_bf16", lambda chosen: chosen.index == 1)
        monkeypatch.setattr(device, "_cpu_has_bf16", lambda: True)

    return make


def test_one_of_several_gpus(machine):
    machine(2)
    assert choose("auto", "auto") == Compute(torch.device("cuda"), False)
    assert choose("cuda", "fp32") == Compute(torch.device("cuda"), False)
    assert choose("cuda:1", "auto") == Compute(torch.device("cuda", 1), True)
    assert choose("cpu", "auto") == Compute(CPU, True)
    with pytest.raises(UserError, match=r"'cuda:2' is not .* Valid: auto, cpu, cuda, cuda:0, cu"):
        choose("cuda:2", "auto")


def test_intels_gpu_is_taken_when_it_is_asked_for(machine, monkeypatch):
    machine(0)
    with pytest.raises(UserError, match=r"'xpu' is not available here\. Valid: auto, cpu\.$"):
        choose("xpu", "auto")
    monkeypatch.setattr(torch.xpu, "is_available", lambda: True)
    monkeypatch.setattr(torch.xpu, "device_count", lambda: 2)
    monkeypatch.setattr(torch.xpu, "get_device_name", lambda chosen: f"Intel {chosen.index}")
    assert choose("xpu:1", "auto") == Compute(torch.device("xpu", 1), False)
    assert choose("xpu:1", "auto").name == "Intel 1"
    assert choose("auto", "auto").device == CPU  # never by itself


def test_apples_gpu_is_taken_when_it_is_asked_for(machine):
    machine(0, apple=True)
    assert choose("mps", "auto") == Compute(torch.device("mps"), False)
    assert choose("auto", "fp32").device == CPU
    assert choose("mps", "fp32").name.startswith("Apple GPU")
    machine(0)
    with pytest.raises(UserError, match=r"'mps' is not available here\. Valid: auto, cpu\.$"):
        choose("mps", "fp32")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:-1", "cuda:01", "CUDA", "cpu:0", ""])
def test_names_that_no_device_has(name, machine):
    machine(1)
    with pytest.raises(UserError, match=f"Unknown device '{name}'. Valid: auto, cpu, cuda, cuda:N"):
        choose(name, "auto")


def test_keys_and_records_tell_the_kind_of_a_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda at: f"card {at.index}")
    second, code = Compute(torch.device("cuda", 1), False), Code("", {}, ())
    assert key({}, second, code) == key({}, Compute(torch.device("cuda"), False), code)
    told = world(second)
    assert (told["device"], told["hardware"]) == ("cuda", "card 1")
