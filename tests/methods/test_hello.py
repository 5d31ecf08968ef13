from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hostile import manifest_of, reseal
from safetensors.torch import load_file
from tiny import NAMES, pictures, reloaded, shipped, tiny_task  # type: ignore[import-not-found]
from torch import nn

from benchmark.core.errors import ArtefactError, UserError
from benchmark.data.rendering import render
from benchmark.methods import hello
from benchmark.methods.hello import HeLlO
from benchmark.methods.hello.projector import Map, Projector
from benchmark.models.priors import load_prior
from benchmark.models.priors.clips import EMBEDDED

CPU = torch.device("cpu")
QUICK = HeLlO.Options(epochs=1, batch_size=20, rank=2)


def fresh_projector(rank=2, map_rank=3, alpha=16.0):
    prior = load_prior("embedded", CPU)
    return Projector(prior, prior.embed_classes(NAMES, "photo"), rank, map_rank, alpha)


@pytest.fixture
def projector():
    return fresh_projector()


def lora(projector):
    return {n: p for n, p in projector.named_parameters() if ".lora_" in n}


def zero_shot(pixels, scale):
    """Logits of plain CLIP, computed without the projector."""
    prior = load_prior("embedded", CPU)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (prior.mean, prior.std))
    with torch.no_grad():
        text = prior.texts([f"a photo of a {name}." for name in NAMES])  # type: ignore[misc]
        image = F.normalize(prior.tower((pixels - mean) / std), dim=1)
    return scale * image @ text.T


@pytest.mark.parametrize("map_rank", [0, 3, 64])  # 64 factors would hold more than the map
def test_the_projector_starts_as_zero_shot_clip(map_rank):
    projector = fresh_projector(8, map_rank)
    pixels = torch.rand(4, 3, 64, 64)
    expected = zero_shot(pixels, projector.map.scale.item())
    assert torch.allclose(projector(pixels), expected, atol=1e-4)
    assert expected.std() > 1e-3


def test_changes_are_scaled_by_alpha_over_rank():
    def change(rank, alpha):
        projector = fresh_projector(rank, 3, alpha)
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


def test_only_low_rank_changes_map_and_scale_are_trainable(projector):
    trainable = {n for n, p in projector.named_parameters() if p.requires_grad}
    assert trainable == {*lora(projector), "map.into", "map.out", "map.scale"}
    tower = dict(load_prior("embedded", CPU).tower.named_modules())
    adapted = {n.removeprefix("tower.").partition(".lora_")[0] for n in lora(projector)}
    three = {n for n, m in tower.items() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)}
    assert adapted == three
    assert len(three) >= 7


def test_a_projector_of_rank_zero_is_a_linear_probe():
    projector = fresh_projector(rank=0, map_rank=0)
    assert {n for n, p in projector.named_parameters() if p.requires_grad} == {
        "map.out",
        "map.scale",
    }


def test_training_mode_is_refused(projector):
    assert not projector.train().training
    assert not any(m.training for m in projector.modules())


def test_merged_changes_give_the_same_logits(projector):
    with torch.no_grad():
        for parameter in projector.changes():
            parameter.add_(0.05 * torch.randn_like(parameter))
    pixels = torch.rand(2, 3, 64, 64)
    before = projector(pixels)
    projector.merge()
    torch.testing.assert_close(projector(pixels), before, rtol=1e-3, atol=1e-3)
    assert not lora(projector)
    assert not any(p.requires_grad for p in projector.parameters())


def test_the_map_is_solved_for_by_ridge_regression():
    torch.manual_seed(0)
    start = F.normalize(torch.randn(4, 6), dim=1)
    features, wanted = F.normalize(torch.randn(500, 6), dim=1), torch.randn(500, 4)
    full = Map(start, 0)
    full.solve(features, wanted)
    penalty = 1e-4 * (features.T @ features).trace() / 6
    # The same least squares with the penalty as extra rows that ask for the start.
    rows = torch.cat([full.scale * features, full.scale * penalty.sqrt() * torch.eye(6)])
    asked = torch.cat([wanted, full.scale * penalty.sqrt() * start.T])
    expected = torch.linalg.lstsq(rows, asked).solution.T
    torch.testing.assert_close(full.start + full.out, expected, rtol=1e-3, atol=1e-4)
    low = Map(start, 1)
    low.solve(features, wanted)
    u, s, v = torch.linalg.svd(full.out)
    torch.testing.assert_close(low.out @ low.into, s[0] * u[:, :1] @ v[:1], rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """As for other methods, but with thirty pictures to fit to: two steps, one held out."""
    return replace(tiny_task(tmp_path_factory.mktemp("scratch")), train=pictures(30, seed=2))


@pytest.fixture(scope="module")
def fitted(task):
    return HeLlO.fit(task, QUICK)


@pytest.mark.parametrize("options", [QUICK, replace(QUICK, form="loralib")])
def test_a_fit_leaves_the_prior_as_it_was(task, monkeypatch, tmp_path, options):
    seen = []
    real = hello.fit_projector

    def spy(task, options, projector, checkpoint):
        notes = real(task, options, projector, checkpoint)
        seen.append(projector.tower.state_dict())
        return notes

    monkeypatch.setattr(hello, "fit_projector", spy)
    (tmp_path / "scratch").mkdir()
    HeLlO.fit(replace(task, scratch=tmp_path / "scratch"), options)
    for old, new in ((".base_layer", ""), (".parametrizations.weight.original", ".weight")):
        seen[0] = {n.replace(old, new): v for n, v in seen[0].items()}
    own = {n: v for n, v in seen[0].items() if ".lora_" not in n}
    kept = {
        n.removeprefix("visual."): v.float()
        for n, v in load_file(EMBEDDED / "weights.safetensors").items()
        if n.startswith("visual.")
    }
    assert own.keys() == kept.keys()
    assert any(n.endswith("running_mean") for n in own)
    assert all(value.float().equal(kept[name]) for name, value in own.items())
    assert any(value.abs().max() > 0 for n, value in seen[0].items() if "lora_B" in n)


@pytest.mark.parametrize("weights", ["fp16", "int8", "int4"])
def test_what_is_shipped(task, fitted, tmp_path, weights):
    source = HeLlO.fit(task, replace(QUICK, weights=weights))
    loaded = reloaded(source, tmp_path / "saved")
    views = task.plan.batch(1, 0)
    pixels = render(task.images.pixels, views)
    assert loaded.targets(views, pixels, 0).equal(source.targets(views, pixels, 0))
    spread = fitted.targets(views, pixels, 0).std()
    gap = (
        (loaded.targets(views, pixels, 0) - fitted.targets(views, pixels, 0)).square().mean().sqrt()
    )
    assert gap <= {"fp16": 0.0, "int8": 0.1, "int4": 1.0}[weights] * spread
    again = reloaded(loaded, tmp_path / "again")
    assert again.targets(views, pixels, 0).equal(loaded.targets(views, pixels, 0))
    ledger = loaded.storage()
    numbers = sum(p.numel() for p in fresh_projector(2, 64).changes())
    least = {"fp16": 2.0, "int8": 1.0, "int4": 0.5}[weights] * numbers
    assert least <= ledger.weights <= 1.5 * least
    assert ledger.prior == (EMBEDDED / "weights.safetensors").stat().st_size
    assert ledger.total < ledger.prior


def test_shipped_forms_share_one_fit(task, fitted, monkeypatch):
    monkeypatch.setattr(hello, "fit_projector", None)  # would fail if called
    HeLlO.fit(task, replace(QUICK, weights="int4"))


def test_a_fit_depends_on_the_seed_alone(task, fitted, tmp_path):
    def row(seed, name):
        torch.rand(3)
        (tmp_path / name).mkdir()
        other = replace(task, seed=seed, scratch=tmp_path / name)
        return HeLlO.fit(other, QUICK).shipped[0].tensor

    assert row(0, "a").equal(fitted.shipped[0].tensor)
    assert not row(1, "b").equal(fitted.shipped[0].tensor)


@pytest.mark.parametrize("replay", [0, 1])
def test_a_linear_probe_learns_from_features(task, tmp_path, replay):
    options = replace(QUICK, rank=0, map_rank=0, text=False, replay=replay, epochs=20, probe=0)
    source = HeLlO.fit(replace(task, scratch=tmp_path), options)
    assert source.storage().parameters == 10 * 128 + 1
    assert source.notes["loss"][-1] < 0.9 * source.notes["loss"][0]


def test_records_are_told_of_the_fit(fitted):
    assert len(fitted.notes["agreement"]) == len(fitted.notes["loss"]) == 1
    assert fitted.notes["ended"] == "all epochs done"


def test_weak_teachers_are_averaged(task, tmp_path):
    asked = []

    class Weak(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = nn.Parameter(torch.tensor(value))

        def forward(self, pixels):
            asked.append(self.value.item())
            return self.value.expand(len(pixels), 10)

    options = replace(QUICK, teachers="trajectory", probe=0, held_out=0.0)
    weak = replace(task, scratch=tmp_path, snapshot_source=lambda: [Weak(1.0), Weak(3.0)])
    HeLlO.fit(weak, options)
    assert set(asked) == {1.0, 3.0}
    with pytest.raises(UserError, match=r"no weak teachers.* teacher.epochs must be at least 2"):
        HeLlO.fit(replace(weak, scratch=task.scratch, snapshot_source=None), options)


def test_another_prior_is_refused(task, fitted, tmp_path):
    reloaded(fitted, tmp_path / "saved")
    manifest = manifest_of(tmp_path / "saved")
    own, other = fitted.requires()["prior"]["sha256"], "0" * 64
    reseal(manifest, lambda told: told["requires"]["prior"].update(sha256=other))
    with pytest.raises(ArtefactError, match=f"'embedded' .*SHA-256 {other}; .* has {own}"):
        HeLlO.load(tmp_path / "saved", shipped(task))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": -1}, "rank must not be negative, got -1"),
        ({"alpha": 0.0}, "alpha must be positive"),
        ({"prompts": "a photo"}, "photo"),
        ({"epochs": 0}, "at least 1"),
        ({"patience": 1, "held_out": 0.0}, "patience needs held_out"),
    ],
)
def test_options_that_make_no_sense(options, message):
    with pytest.raises((ValueError, UserError), match=message):
        HeLlO.Options(**options)
