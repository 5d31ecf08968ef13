import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from benchmark.core import plugins
from benchmark.core.code_digest import code_of
from benchmark.core.errors import UserError
from benchmark.models import networks

NAMED = [name for name in networks.names() if name != "timm:NAME"]


def parameters(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def logits(name: str, channels: int, resolution: int) -> torch.Tensor:
    with torch.no_grad():
        network = networks.create(name, 7, channels, resolution)
        return network.eval()(torch.rand(2, channels, resolution, resolution))


@pytest.mark.parametrize(
    "name", [*NAMED, "convnet-d3-w32", "timm:resnet10t", "timm:vit_tiny_patch16_224"]
)
@pytest.mark.parametrize(("channels", "resolution"), [(3, 32), (1, 28)])
def test_small_images(name, channels, resolution):
    out = logits(name, channels, resolution)
    assert out.shape == (2, 7)
    assert out.isfinite().all()


@pytest.mark.parametrize("name", sorted({*NAMED} - {"convnet-d4", "resnet101"}))
def test_smallest_images_train(name):
    network = networks.create(name, 7, 1, 8)
    network(torch.rand(2, 1, 8, 8)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.parametrize("name", ["resnet18", "deit-tiny", "swin-tiny", "shufflenetv2"])
def test_at_64(name):
    assert logits(name, 3, 64).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "expected"),
    [  # as timm and torchvision count them for ImageNet
        ("resnet18", 11_689_512),
        ("resnet50", 25_557_032),
        ("mobilenetv2", 3_504_872),
        ("efficientnet-b0", 5_288_548),
        ("shufflenetv2", 2_278_604),
        ("deit-tiny", 5_717_416),
        ("swin-tiny", 28_288_354),
    ],
)
def test_large_images_get_the_standard_network(name, expected):
    with torch.device("meta"):
        network = networks.create(name, 1000, 3, 224)
        assert network(torch.empty(1, 3, 224, 224)).shape == (1, 1000)
    assert parameters(network) == expected


@pytest.mark.parametrize(
    ("name", "expected"), [("convnet-d3", 320_010), ("resnet20", 269_722), ("resnet56", 853_018)]
)
def test_published_parameter_counts(name, expected):
    assert parameters(networks.create(name, 10, 3, 32)) == expected


def test_width_and_depth():
    def features(name, channels, resolution):
        network = networks.create(name, 10, channels, resolution)
        return network.state_dict()["classifier.weight"].shape[1]

    assert features("convnet-d5-w32", 3, 64) == 32 * 2 * 2
    assert features("convnet-d3", 1, 28) == 128 * 3 * 3


@pytest.mark.parametrize("name", ["convnet-d3", "resnet20", "resnet18", "shufflenetv2"])
def test_equal_seeds_give_equal_weights(name):
    def weights(seed):
        torch.manual_seed(seed)
        return torch.cat([p.flatten() for p in networks.create(name, 10, 3, 32).parameters()])

    assert weights(1).equal(weights(1))
    assert not weights(1).equal(weights(2))


def test_published_weights_fit(data_root):
    for name in ("resnet20", "resnet56"):
        file = data_root / "teachers" / f"cifar10_{name}.safetensors"
        if not file.is_file():
            pytest.skip(f"{file} is absent")
        missing, unexpected = networks.create(name, 10, 3, 32).load_state_dict(
            load_file(file), strict=False
        )
        assert not unexpected
        assert all(key.endswith("num_batches_tracked") for key in missing)


def test_unknown_names():
    for name in ("resnet18", "convnet-d4-w64", "timm:looked-up-later"):
        networks.require(name)
    with pytest.raises(UserError, match=r"Unknown network 'resnet19'\. Did you mean .*'resnet18'"):
        networks.require("resnet19")
    for name in ("convnet-d0", "convnet-d3-w0", "convnet-d3-w032", "convnet-d3-w32x", ""):
        with pytest.raises(UserError, match="Unknown network"):
            networks.create(name, 10, 3, 32)
    with pytest.raises(UserError, match=r"Unknown timm model 'resnet19'\. Did you mean"):
        networks.create("timm:resnet19", 10, 3, 32)


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("convnet-d3-w100000", "width is at most 1024"),
        ("convnet-d1000000", "depth is at most 9"),
        ("convnet-d3-w" + "9" * 5000, "width is at most 1024"),
    ],
)
def test_absurd_sizes_are_refused_in_a_sentence(name, limit):
    with pytest.raises(UserError, match=limit) as refused:
        networks.create(name, 10, 3, 32)
    assert len(str(refused.value)) < 300


def test_every_name_has_one_family_in_a_file_of_its_own():
    for name in (*networks.names(), "convnet-d5-w32", "timm:resnet10t"):
        (family,) = [f for f in networks.families() if f.answers(name)]
        assert plugins.module_of(plugins.NETWORKS, family.plugin.name) == networks.module_of(name)
    assert networks.module_of("resnet20") == "benchmark.models.networks.cifar_resnet"
    assert networks.module_of("convnet-d5-w32") == "benchmark.models.networks.convnet"
    with pytest.raises(UserError, match="Unknown network"):
        networks.module_of("resnet19")


LINE = """
from torch import nn
from benchmark import NetworkFamily

class Lines(NetworkFamily):
    names = {"line": "one linear layer"}

    def create(self, name, classes, channels, resolution):
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * resolution**2, classes))
"""


def test_a_plugin_is_a_new_network(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    (tmp_path / "lines.py").write_text(LINE)
    before = code_of(networks.module_of("lenet"), networks.__name__)
    plugins.add(tmp_path / "lines.py")
    assert networks.names()["line"] == "one linear layer"
    assert networks.create("line", 7, 1, 8)(torch.rand(2, 1, 8, 8)).shape == (2, 7)
    assert code_of(networks.module_of("lenet"), networks.__name__) == before


def test_a_name_that_two_families_make_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    (tmp_path / "lines.py").write_text(LINE.replace('"line"', '"lenet"'))
    plugins.add(tmp_path / "lines.py")
    with pytest.raises(UserError, match="'lenet' is made by several families, lenet and lines"):
        networks.create("lenet", 10, 3, 32)


def test_a_familys_code_is_its_own():
    code = code_of(networks.module_of("resnet18")).modules
    others = {
        plugins.module_of(plugins.NETWORKS, family.plugin.name) for family in networks.families()
    } - {"benchmark.models.networks.resnet"}
    assert "benchmark.models.networks.resnet" in code
    assert not others & {*code, *code_of("benchmark.labels.student").modules}


def test_images_that_do_not_fit():
    with pytest.raises(UserError, match="at least 16 pixels a side, not 8"):
        networks.create("convnet-d4", 10, 3, 8)
    with pytest.raises(UserError, match="30 pixels a side into patches of 4"):
        networks.create("deit-tiny", 10, 3, 30)
    with pytest.raises(UserError, match="multiple of 4"):
        networks.create("swin-tiny", 10, 3, 62)
    with pytest.raises(UserError, match="timm:inception_v3 does not take images of 8 pixels"):
        networks.create("timm:inception_v3", 10, 3, 8)


def test_names_need_no_torch():
    code = "import sys, benchmark.models.networks as n; n.names(); n.require('resnet18'); "
    code += "sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        ("convnet-d3", torch.nn.GroupNorm),
        ("convnet-d3-bn", torch.nn.BatchNorm2d),
        ("convnet-d2-w8-bn", torch.nn.BatchNorm2d),
        ("convnet-d3-w8-gn", torch.nn.GroupNorm),
    ],
)
def test_convnets_have_the_norm_of_their_name(name, norm):
    network = networks.create(name, 7, 3, 32)
    found = [module for module in network.modules() if isinstance(module, norm)]
    assert len(found) == int(name[9])
    if norm is torch.nn.GroupNorm:
        assert {module.num_groups for module in found} == {4 if "gn" in name else 128}
