import json
import logging
from dataclasses import replace

import huggingface_hub.constants
import open_clip
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny import NAMES, pictures, reloaded, shipped, tiny_task  # type: ignore[import-not-found]
from torch import nn

from benchmark.artefact import MANIFEST
from benchmark.errors import ArtefactError, UserError
from benchmark.methods.hello import HeLlO
from benchmark.methods.hello.prior import EMBEDDED, Prior, load_prior, weights_digest
from benchmark.methods.hello.projector import Projector
from benchmark.render import render

CPU = torch.device("cpu")
QUICK = HeLlO.Options(epochs=1, batch_size=20, rank=2)


@pytest.fixture(scope="module")
def prior():
    return load_prior("embedded", CPU)


@pytest.fixture
def projector():
    fresh = load_prior("embedded", CPU)
    return Projector(fresh, fresh.embed_classes(NAMES), rank=2, map_rank=3, alpha=16.0)


def lora(projector):
    return {n: p for n, p in projector.named_parameters() if ".lora_" in n}


def zero_shot(prior, pixels, scale):
    """Logits of plain CLIP, computed without the projector."""
    tokens = prior.tokenise([f"a photo of a {name}." for name in NAMES])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (prior.mean, prior.std))
    with torch.no_grad():
        text = F.normalize(prior.clip.encode_text(tokens), dim=1)
        image = F.normalize(prior.clip.encode_image((pixels - mean) / std), dim=1)
    return scale * image @ text.T


@pytest.mark.parametrize("map_rank", [3, 64])  # 64 factors would hold more than the map itself
def test_the_projector_starts_as_zero_shot_clip(prior, map_rank):
    fresh = load_prior("embedded", CPU)
    projector = Projector(fresh, fresh.embed_classes(NAMES), 8, map_rank, 16.0)
    pixels = torch.rand(4, 3, 64, 64)
    expected = zero_shot(prior, pixels, projector.scale.item())
    assert torch.allclose(projector(pixels), expected, atol=1e-4)
    assert expected.std() > 1e-3


def test_changes_are_scaled_by_alpha_over_rank(prior):
    def change(rank, alpha):
        torch.manual_seed(0)
        fresh = load_prior("embedded", CPU)
        projector = Projector(fresh, fresh.embed_classes(NAMES), rank, 3, alpha)
        with torch.no_grad():
            for name, value in lora(projector).items():
                value.fill_(1e-3 if "lora_A" in name else 1e-2)
        layer = next(m for m in projector.tower.modules() if hasattr(m, "get_delta_weight"))
        return layer.get_delta_weight("default").mean().item()

    assert change(2, 16.0) == pytest.approx(16 * 1e-5, rel=1e-4)
    assert change(4, 16.0) == pytest.approx(16 * 1e-5, rel=1e-4)
    assert change(4, 8.0) == pytest.approx(8 * 1e-5, rel=1e-4)


def test_small_and_grey_pictures_are_fitted_to_the_tower(projector):
    small = torch.rand(2, 1, 8, 8)
    large = F.interpolate(small, 64, mode="bilinear", align_corners=False).expand(-1, 3, -1, -1)
    assert torch.allclose(projector(small), projector(large), atol=1e-4)
    assert projector(torch.rand(1, 3, 96, 96)).shape == (1, 10)


def test_only_low_rank_changes_map_and_scale_are_trainable(projector, prior):
    trainable = {n for n, p in projector.named_parameters() if p.requires_grad}
    assert trainable == {*lora(projector), "map_in", "map_out", "scale"}
    tower = dict(prior.clip.visual.named_modules())
    adapted = {n.removeprefix("tower.").partition(".lora_")[0] for n in lora(projector)}
    three = {n for n, m in tower.items() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)}
    assert adapted == three
    assert len(three) == 7


def test_training_mode_is_refused(projector):
    assert not projector.train().training
    assert not any(m.training for m in projector.modules())


def test_flat_and_back(projector):
    with torch.no_grad():
        for parameter in projector.trained():
            parameter.normal_()
    row = projector.flat()
    assert row.shape == (sum(p.numel() for p in projector.trained()),)
    pixels = torch.rand(2, 3, 64, 64)
    before = projector(pixels)
    projector.unflatten(torch.zeros_like(row))
    assert projector(pixels).abs().max() == 0  # the scale too
    projector.unflatten(row)
    assert projector.flat().equal(row)
    assert projector(pixels).equal(before)
    with pytest.raises(UserError, match=f"holds {len(row) - 1:,} weights, .* {len(row):,}"):
        projector.unflatten(row[1:])


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """As for other methods, but with twenty pictures to fit to: one step."""
    return replace(tiny_task(tmp_path_factory.mktemp("scratch")), train=pictures(20, seed=2))


@pytest.fixture(scope="module")
def fitted(task):
    return HeLlO.fit(task, QUICK)


def test_a_fit_leaves_the_prior_as_it_was(fitted):
    state = fitted.projector.tower.state_dict()
    own = {n.replace(".base_layer", ""): v for n, v in state.items() if ".lora_" not in n}
    kept = {
        n.removeprefix("visual."): v.float()
        for n, v in load_file(EMBEDDED / "weights.safetensors").items()
        if n.startswith("visual.")
    }
    assert own.keys() == kept.keys()
    assert any(n.endswith("running_mean") for n in own)
    assert all(value.float().equal(kept[name]) for name, value in own.items())
    assert any(value.abs().max() > 0 for n, value in state.items() if ".lora_B" in n)


def test_what_is_shipped(task, fitted, tmp_path):
    loaded = reloaded(fitted, tmp_path / "saved")
    views = task.plan.batch(1, 0)
    pixels = render(task.images.pixels, views)
    assert torch.allclose(
        loaded.targets(views, pixels, 0), fitted.targets(views, pixels, 0), atol=0.1
    )
    assert loaded.projector.flat().equal(fitted.projector.flat().half().float())
    assert reloaded(loaded, tmp_path / "again").projector.flat().equal(loaded.projector.flat())
    ledger = loaded.storage()
    assert ledger.weights == 2 * len(fitted.projector.flat())
    assert ledger.parameters == len(fitted.projector.flat())
    assert ledger.prior == (EMBEDDED / "weights.safetensors").stat().st_size
    assert ledger.total < ledger.prior


def test_a_fit_depends_on_the_seed_alone(task, fitted):
    torch.rand(3)
    again, other = (HeLlO.fit(replace(task, seed=seed), QUICK) for seed in (0, 1))
    assert again.projector.flat().equal(fitted.projector.flat())
    assert not other.projector.flat().equal(fitted.projector.flat())


def test_another_prior_is_refused(task, fitted, tmp_path):
    reloaded(fitted, tmp_path / "saved")
    manifest = tmp_path / "saved" / MANIFEST
    values = json.loads(manifest.read_text())
    own, other = values["requires"]["prior"]["sha256"], "0" * 64
    values["requires"]["prior"]["sha256"] = other
    manifest.write_text(json.dumps(values))
    with pytest.raises(ArtefactError, match=f"SHA-256 {other}; .* has {own}"):
        HeLlO.load(tmp_path / "saved", shipped(task))


def test_the_digest_covers_names_and_values():
    def digest(change):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
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


def test_classes_that_list_synonyms_count_by_the_first(prior):
    plain = prior.embed_classes(["goldfish", "tree frog"])
    listed = prior.embed_classes(["goldfish, Carassius auratus", "tree_frog"])
    assert listed.equal(plain)
    assert plain.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_rn50_has_the_layers_and_weights_of_the_paper():
    logging.disable(logging.WARNING)  # open_clip warns of random weights, which are wanted
    try:
        clip = open_clip.create_model("RN50", pretrained=None).requires_grad_(False)
    finally:
        logging.disable(logging.NOTSET)
    prior = Prior("RN50", clip, len, 224, (0.0,) * 3, (1.0,) * 3, "", 0)  # type: ignore[arg-type]
    projector = Projector(prior, torch.zeros(100, 1024), 8, 64, 16.0)
    changed = lora(projector)
    assert len(changed) == 2 * 19
    assert sum(p.numel() for p in changed.values()) == 307_928
    rest = sum(p.numel() for p in projector.trained()) - 307_928
    assert rest == 64 * (100 + 1024) + 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("embeded", r"Unknown prior 'embeded'. Did you mean 'embedded'\?"),
        ("RN5:openai", r"Unknown prior 'RN5'. Did you mean 'RN50'"),
        ("RN50:opnai", r"Unknown weights of RN50 'opnai'. Did you mean 'openai'\?"),
        ("RN50", r"Unknown weights of RN50 ''. Valid: cc12m, openai, yfcc15m"),
    ],
)
def test_unknown_priors(name, message):
    with pytest.raises(UserError, match=message):
        load_prior(name, CPU)


def test_weights_that_cannot_be_downloaded(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=r"'RN50:openai' is not on this machine.* Offline: fetch"):
        load_prior("RN50:openai", CPU)


@pytest.mark.parametrize(
    ("name", "quick", "file"),
    [
        ("RN50:openai", True, "RN50-quickgelu:PATH"),
        ("RN50-quickgelu:openai", True, "RN50-quickgelu:PATH"),
        ("ViT-B-32:laion2b_s34b_b79k", False, "ViT-B-32:PATH"),
    ],
)
def test_weights_get_the_activation_they_were_trained_with(monkeypatch, name, quick, file):
    def create(model, pretrained, force_quick_gelu):
        assert f"{model}:{pretrained}" == name
        assert force_quick_gelu is quick
        raise OSError("no network")

    monkeypatch.setattr(open_clip, "create_model_and_transforms", create)
    with pytest.raises(UserError, match=f"name the file: {file}"):
        load_prior(name, CPU)
