import logging

import open_clip
import pytest
import timm
import torch
import torchvision
from torch import nn

from benchmark.core.errors import UserError
from benchmark.methods.hello import lora
from benchmark.methods.hello.projector import Map
from benchmark.models.priors import bare_tower
from benchmark.models.priors.clips import embedded_model


@pytest.fixture(scope="module")
def towers():
    """Towers of each make with random weights; a fresh one each call."""
    logging.disable(logging.WARNING)  # open_clip warns of random weights, which are wanted

    def clip(**vision):
        text = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 1, "layers": 1}
        return open_clip.CLIP(16, {"image_size": 32, **vision}, text).visual  # type: ignore

    def headless():
        vit = torchvision.models.VisionTransformer(32, 16, 2, 2, 32, 64)
        vit.heads = nn.Identity()  # type: ignore[assignment]
        return vit

    made = {
        "clip-resnet": lambda: clip(layers=[1, 1, 1, 1], width=8, head_width=16),
        "clip-vit": lambda: clip(layers=2, width=32, head_width=16, patch_size=16),
        "timm-vit": lambda: timm.create_model(
            "vit_tiny_patch16_224", num_classes=0, img_size=32, depth=2
        ),
        "timm-resnet": lambda: timm.create_model("resnet10t", num_classes=0),
        "torchvision-vit": headless,
    }
    yield {name: lambda make=make: make().eval() for name, make in made.items()}
    logging.disable(logging.NOTSET)


def changes(tower):
    return {n: p for n, p in tower.named_parameters() if p.requires_grad}


ALL = ("clip-resnet", "clip-vit", "timm-vit", "timm-resnet", "torchvision-vit")


@pytest.mark.parametrize("form", ["peft", "loralib"])
@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("layers", ["auto", "conv+linear+attention"])
def test_every_change_counts_and_merges(towers, name, layers, form):
    """Each changed layer alters the output, and merging alters nothing."""
    torch.manual_seed(0)
    plain = towers[name]()
    pixels = torch.rand(2, 3, 32, 32)
    before = plain(pixels).detach()
    foretold = lora.adapted_shapes(plain, layers, form, 2)
    tower = lora.adapt(plain, layers, form, 2, 4.0)
    assert sorted(foretold) == sorted(p.shape for p in changes(tower).values())
    torch.testing.assert_close(tower(pixels), before, rtol=1e-4, atol=1e-5)
    lora.check_used(tower, pixels)
    for parameter_name, parameter in changes(tower).items():
        if "lora_B" not in parameter_name:
            continue
        with torch.no_grad():
            parameter.add_(torch.randn_like(parameter))
            assert not torch.allclose(tower(pixels), before, atol=1e-7), parameter_name
            parameter.mul_(0.05)
    changed = tower(pixels).detach()
    merged = lora.merge(tower)
    assert not any("lora" in n for n in merged.state_dict())
    torch.testing.assert_close(merged(pixels), changed, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "layers", "expected"),
    [
        ("clip-resnet", "auto", 7),
        ("clip-resnet", "attention", 4),
        ("clip-resnet", "conv", 7 + 8 + 4),
        ("clip-vit", "auto", 2 * 2 + 2),
        ("clip-vit", "attention", 2),
        ("timm-vit", "auto", 2 * 4),
        ("timm-vit", "attention", 2 * 2),
        ("timm-vit", "linear", 2 * 2),
        ("torchvision-vit", "attention", 2),
    ],
)
def test_layers_by_kind(towers, name, layers, expected):
    assert len(lora.adapted_layers(towers[name](), layers)) == expected


def test_the_embedded_priors_layers_are_told_by_its_file_alone():
    told, _ = bare_tower("embedded")
    assert sorted(lora._kinds(told)) == sorted(lora._kinds(embedded_model()[0].visual))


def test_convolutions_in_groups_are_left_alone():
    tower = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 4, 3))
    assert lora.adapted_layers(tower, "auto") == ["1"]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("conv3", r"Unknown kind of layers 'conv3'. Did you mean 'conv"),
        ("linear", "no layers of the kind 'linear'; it has attention, conv, conv3x3"),
    ],
)
def test_kinds_that_are_not_there(towers, layers, message):
    with pytest.raises(UserError, match=message):
        lora.adapted_layers(towers["clip-resnet"](), layers)


def test_layers_that_the_tower_passes_by_are_refused():
    class Sly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.passed = nn.Linear(12, 4), nn.Linear(4, 4)

        def forward(self, pixels):
            return nn.functional.linear(self.used(pixels.flatten(1)), self.passed.weight)

    tower = lora.adapt(Sly(), "linear", "peft", 2, 4.0)
    with pytest.raises(UserError, match=r"does not call 1 of the layers .* 'passed'"):
        lora.check_used(tower, torch.rand(2, 3, 2, 2))


def test_torchvisions_swin_hands_its_projections_to_a_function():
    swin = torchvision.models.SwinTransformer([4, 4], 8, [2], [2], [4, 4], num_classes=4)
    tower = lora.adapt(swin, "attention", "peft", 2, 4.0)
    with pytest.raises(UserError, match="does not call 4 of the layers"):
        lora.check_used(tower, torch.rand(2, 3, 32, 32))


@pytest.mark.parametrize(("form", "numbers"), [("peft", 307_928), ("loralib", 557_784)])
def test_rn50_has_the_layers_and_weights_of_the_paper(towers, form, numbers):
    tower: nn.Module = open_clip.create_model("RN50", pretrained=None).visual  # type: ignore
    names = lora.adapted_layers(tower, "auto")
    assert len(names) == 19
    assert all(tower.get_submodule(name).kernel_size == (3, 3) for name in names)
    tower = lora.adapt(tower, "auto", form, 8, 16.0)
    assert sum(p.numel() for p in changes(tower).values()) == numbers


def test_the_map_at_rank_128_holds_what_the_paper_counts():
    imagenet = Map(torch.zeros(1000, 1024), 128)
    assert sum(p.numel() for p in imagenet.parameters()) - 1 == 259_072  # and the scale
    assert imagenet.out.shape == (1000, 128)
    whole = Map(torch.zeros(1000, 1024), 0)
    assert sum(p.numel() for p in whole.parameters()) - 1 == 1_024_000


def closed_form(tower):
    """The tower's weights, each W + s B A of its changes, by the names of the plain tower."""
    state, parts = tower.state_dict(), dict(tower.named_parameters())
    plain = {}
    for name, value in state.items():
        if "lora_" in name:
            continue
        stem = name.replace(".parametrizations", "").replace(".original", "")
        stem = stem.replace(".base_layer", "")
        if ".original" in name:
            change = name.replace("original", "0.lora_")
            value = value + 2.0 * parts[change + "B"] @ parts[change + "A"]
        elif name.endswith("base_layer.weight"):
            change = name.replace("base_layer.weight", "lora_{}.default.weight")
            b, a = parts[change.format("B")], parts[change.format("A")]
            delta = torch.einsum("or,rikl->oikl", b[:, :, 0, 0], a) if a.ndim == 4 else b @ a
            value = value + 2.0 * delta
        plain[stem] = value
    return plain


@pytest.mark.parametrize("layers", ["conv", "linear", "attention", "conv+linear+attention"])
@pytest.mark.parametrize("name", ["clip-resnet", "clip-vit", "torchvision-vit"])
def test_changes_are_the_closed_form_before_and_after_merging(towers, name, layers):
    """In double precision, where only the formula is left."""
    kinds = {kind for _, kind in lora._kinds(towers[name]())}
    if not kinds & {*layers.split("+"), "conv3x3" if "conv" in layers else ""}:
        pytest.skip(f"{name} has no {layers}")
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    tower = lora.adapt(towers[name]().double(), layers, "peft", 2, 4.0).double()
    with torch.no_grad():
        for parameter in changes(tower).values():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    expected = towers[name]().double()
    expected.load_state_dict(closed_form(tower))
    expected = expected(pixels)
    torch.testing.assert_close(tower(pixels), expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(lora.merge(tower)(pixels), expected, rtol=1e-6, atol=1e-9)
