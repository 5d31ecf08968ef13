import hashlib
import itertools
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from benchmark.data import views as views_module
from benchmark.data.rendering import render
from benchmark.data.views import (
    CROP,
    CUTOUT,
    FLIP,
    MIX,
    ORDER,
    POOL,
    SAMPLE,
    Augmentation,
    ViewPlan,
    beta,
    concatenated,
    random_words,
)

PLAN = ViewPlan(3, 10, 32, batch_size=4, epochs=5, augmentation=Augmentation())


def fingerprint(plan: ViewPlan) -> str:
    """SHA-256 over every tensor of an epoch's views."""
    sha = hashlib.sha256()
    for views in plan.epoch(4):
        for name in ("index", "crop", "flip", "partner", "mix_box", "mix_opacity"):
            sha.update(getattr(views, name).numpy())
    return sha.hexdigest()


def test_golden_views():
    # Shipped labels find their views by these rules: a change here orphans every artefact.
    views = PLAN.batch(epoch=2, batch=1)
    assert views.index.tolist() == [3, 5, 2]
    assert (views.crop * 32).tolist() == [[1, 6, 25, 24], [0, 1, 32, 30], [4, 1, 23, 21]]
    assert views.flip.tolist() == [False, True, False]
    assert views.partner.tolist() == [1, 0, 2]
    assert (views.mix_box * 32).tolist() == [[0, 3, 16, 22]] * 3
    assert views.mix_weight.tolist() == [1 - 16 * 22 / 32**2] * 3


@pytest.mark.parametrize("mix", ["cutmix", "mixup", "none"])
def test_concatenated_batches_look_as_they_do_alone(mix):
    plan = replace(PLAN, resolution=8, augmentation=Augmentation(mix=mix, cutout=0.5))
    batches = list(plan.epoch(1))
    assert [len(batch) for batch in batches] == [4, 3, 3]
    images = torch.randint(0, 256, (10, 3, 8, 8), dtype=torch.uint8)
    whole = concatenated(batches)
    alone = torch.cat([render(images, batch) for batch in batches])
    assert render(images, whole).equal(alone)
    for part, batch in zip(whole.parts(batches), batches, strict=True):
        for name, value in vars(batch).items():
            found = getattr(part, name)
            assert found.equal(value) if isinstance(value, torch.Tensor) else found == value, name


def test_golden_mixup():
    plan = ViewPlan(3, 10, 32, batch_size=4, epochs=5, augmentation=Augmentation(mix="mixup"))
    views = plan.batch(epoch=2, batch=1)
    assert views.mix_weight.tolist() == pytest.approx([0.46791813] * 3, abs=1e-7)
    assert views.mix_box.tolist() == [[0, 0, 1, 1]] * 3


def test_golden_cutout():
    plan = replace(PLAN, augmentation=Augmentation(cutout=0.5))
    views = plan.batch(epoch=2, batch=1)
    assert (views.cutout_box * 32).tolist() == [[13, 2, 16, 16], [6, 4, 16, 16], [0, 18, 13, 14]]
    assert views.cutout_colour[0].tolist() == pytest.approx([0.385452, 0.52967, 0.094593], abs=1e-6)
    assert views.cutout_colour[2].tolist() == pytest.approx([0.73632, 0.704169, 0.543763], abs=1e-6)


def test_golden_words():
    assert random_words(3, 2, 1, FLIP, 3).tolist() == [
        12745140852552841779,
        3896744549165374090,
        16648206784921581552,
    ]


def test_a_new_process_replays_the_same_views():
    code = "from test_views import PLAN, fingerprint; print(fingerprint(PLAN))"
    replayed = forked.run(code, cwd=Path(__file__).parent)
    assert replayed.stdout.strip() == fingerprint(PLAN)


def test_views_depend_on_the_seed():
    other = ViewPlan(4, 10, 32, batch_size=4, epochs=5, augmentation=Augmentation())
    assert fingerprint(other) != fingerprint(PLAN)


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 9), st.integers(0, 2**64 - 1))
def test_an_epoch_shows_every_image_once_in_even_batches(images, batch_size, epoch, seed):
    plan = ViewPlan(seed, images, 8, batch_size, 10, Augmentation())
    batches = list(plan.epoch(epoch))
    sizes = [len(views) for views in batches]
    assert sorted(torch.cat([views.index for views in batches]).tolist()) == list(range(images))
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == plan.batches == -(-images // batch_size)
    for batch, views in enumerate(batches):
        assert (views.epoch, views.batch) == (epoch, batch)
        assert sorted(views.partner.tolist()) == list(range(len(views)))


@given(
    st.integers(0, 2**32),
    st.sampled_from([8, 28, 64, 224]),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(lambda pair: tuple(sorted(pair))),
    st.sampled_from([(1.0, 1.0), (0.75, 4 / 3)]),
)
def test_crops_and_boxes_lie_on_whole_pixels_inside_the_image(seed, side, scale, ratio):
    plan = ViewPlan(seed, 16, side, 16, 1, Augmentation(scale, ratio))
    views = plan.batch(0, 0)
    for boxes in (views.crop.double() * side, views.mix_box.double() * side):
        assert (boxes - boxes.round()).abs().max() < 1e-4
        assert (boxes >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= side + 1e-4).all()
    assert (views.crop[:, 2:] > 0).all()


def test_a_scale_of_one_keeps_the_whole_image():
    for side in (8, 28, 64, 224):
        plan = ViewPlan(0, 500, side, 500, 1, Augmentation(crop_scale=(1.0, 1.0)))
        assert plan.batch(0, 0).crop.unique(dim=0).tolist() == [[0, 0, 1, 1]]


def test_crops_cover_the_areas_and_ratios_asked_for():
    plan = ViewPlan(0, 4000, 224, 4000, 1, Augmentation((0.2, 0.4), (0.5, 2.0)))
    _, _, height, width = plan.batch(0, 0).crop.double().T
    area, ratio = height * width, (width / height).log2()
    assert (area.min(), area.max()) == (pytest.approx(0.2, abs=0.01), pytest.approx(0.4, abs=0.01))
    assert (ratio.min(), ratio.max()) == (pytest.approx(-1, abs=0.03), pytest.approx(1, abs=0.03))
    assert area.mean() == pytest.approx(0.3, abs=0.005)
    assert ratio.mean() == pytest.approx(0, abs=0.05)


@given(
    st.integers(0, 2**32),
    st.sampled_from([7, 8, 28, 64, 224]),
    st.floats(0, 0.99, allow_subnormal=False),
)
def test_cutout_boxes_are_even_squares_cut_at_the_border(seed, side, cutout):
    plan = ViewPlan(seed, 16, side, 16, 1, Augmentation(cutout=cutout))
    length = int(cutout * side + 0.5) // 2 * 2
    views = plan.batch(0, 0)
    boxes = views.cutout_box.double() * side
    assert (boxes - boxes.round()).abs().max() < 1e-4
    for top, left, height, width in boxes.round().tolist():
        for low, extent in ((top, height), (left, width)):
            assert 0 <= low <= low + extent <= side
            at_border = low == 0 or low + extent == side
            assert extent == length or (at_border and length / 2 <= extent < length)
    assert 0 <= views.cutout_colour.min() <= views.cutout_colour.max() < 1


def test_cutout_centres_and_colours_are_uniform():
    plan = ViewPlan(1, 6000, 64, 6000, 1, Augmentation(cutout=0.25))
    views = plan.batch(0, 0)
    boxes = (views.cutout_box.double() * 64).round()
    for low, extent in ((boxes[:, 0], boxes[:, 2]), (boxes[:, 1], boxes[:, 3])):
        # The centre is known from the side that was not cut.
        centre = torch.where(low > 0, low + 8, extent - 8)
        assert chisquare(torch.bincount(centre.long(), minlength=64)).pvalue > 0.01
    for colour in views.cutout_colour.T:
        assert kstest(colour.numpy(), "uniform").pvalue > 0.01
    assert abs(torch.corrcoef(views.cutout_colour.T) - torch.eye(3)).max() < 0.05


def test_cutout_leaves_all_other_draws_alone():
    plan = replace(PLAN, augmentation=Augmentation(cutout=0.5))
    assert fingerprint(plan) == fingerprint(PLAN)
    assert plan.batch(0, 0).cutout_box[:, 2:].min() > 0
    without = PLAN.batch(0, 0)
    assert without.cutout_box.tolist() == [[0] * 4] * len(without)
    assert without.cutout_colour.tolist() == [[0] * 3] * len(without)


@pytest.mark.parametrize("flip", [0.0, 0.25, 1.0])
def test_flips_come_as_often_as_asked_for(flip):
    plan = ViewPlan(1, 4000, 8, 4000, 1, Augmentation(flip=flip))
    assert plan.batch(0, 0).flip.float().mean() == pytest.approx(flip, abs=0.02)


def test_streams_do_not_overlap():
    purposes = (ORDER, CROP, FLIP, MIX, POOL, SAMPLE, CUTOUT)
    assert len(set(purposes)) == 7
    addresses = list(itertools.product((0, 1), range(3), range(3), purposes))
    words = np.concatenate([random_words(*address, 1000) for address in addresses])
    assert len(np.unique(words)) == len(addresses) * 1000


def test_large_seeds_are_told_apart():
    assert (random_words(2**64 - 1, 0, 0, 0, 4) != random_words(2**64 - 2, 0, 0, 0, 4)).all()


@pytest.mark.parametrize("alpha", [0.2, 0.8, 1.0, 2.0])
def test_the_mix_weight_follows_its_beta_distribution(alpha):
    draws = [beta(random_words(0, epoch, 0, MIX, 64), alpha) for epoch in range(2000)]
    assert kstest(draws, "beta", (alpha, alpha)).pvalue > 0.01


@pytest.mark.parametrize("mix", ["none", "cutmix", "mixup"])
@pytest.mark.parametrize("side", [8, 28, 64])
def test_the_mix_weight_is_the_rendered_share_of_the_own_image(mix, side):
    shades = torch.arange(0, 240, 24, dtype=torch.uint8)
    images = shades.view(10, 1, 1, 1).expand(10, 1, side, side)
    plan = ViewPlan(5, 10, side, 10, 20, Augmentation(mix=mix))
    for epoch in range(20):
        views = plan.batch(epoch, 0)
        own = shades[views.index] / 255
        expected = views.mix_weight * own + (1 - views.mix_weight) * own[views.partner]
        assert torch.allclose(render(images, views).mean((1, 2, 3)), expected, atol=1e-6)


def test_rows_number_all_views_of_the_plan_in_order():
    rows = [range(200)[PLAN.rows(e, b)] for e in range(5) for b in range(PLAN.batches)]
    assert [row for batch in rows for row in batch] == list(range(50))
    assert [len(batch) for batch in rows] == PLAN.sizes() * 5


@pytest.mark.parametrize("side", [7, 28, 32, 105])
def test_whole_images_are_what_the_rule_of_crops_comes_to(side, monkeypatch):
    """As nearly whole ones are, which are drawn; whole ones cost no random words."""
    nearly = Augmentation(crop_scale=(1.0, 1.0), crop_ratio=(1.0, 1 + 1e-12))
    drawn = replace(PLAN, resolution=side, augmentation=nearly).batch(2, 1)
    whole = replace(PLAN, resolution=side, augmentation=replace(nearly, crop_ratio=(1.0, 1.0)))
    purposes = []

    def words(seed, epoch, batch, purpose, count):
        purposes.append(purpose)
        return random_words(seed, epoch, batch, purpose, count)

    monkeypatch.setattr(views_module, "random_words", words)
    views = whole.batch(2, 1)
    assert torch.equal(views.crop, drawn.crop)
    assert views.crop.dtype == torch.float32
    assert CROP not in purposes
    assert FLIP in purposes


def test_mirrored_views_are_the_views_mirrored():
    pixels = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)
    augmentation = Augmentation(crop_scale=(0.3, 1.0), cutout=0.5)
    views = ViewPlan(0, 6, 8, 6, 3, augmentation).batch(1, 0)
    assert views.flip.any()
    assert not views.flip.all()
    mirrored = render(pixels, views.mirrored())
    torch.testing.assert_close(mirrored, render(pixels, views).flip(3))
    torch.testing.assert_close(views.mirrored().mirrored().mix_box, views.mix_box)


@pytest.mark.parametrize("mix", ["cutmix", "mixup", "none"])
def test_parts_of_a_batch_come_out_as_they_would_among_all(mix):
    """Also where views are mixed with some of another part."""
    plan = ViewPlan(3, 20, 8, 9, 4, Augmentation((0.5, 1.0), mix=mix, cutout=0.4))
    pixels = torch.rand(20, 3, 8, 8).mul(255).to(torch.uint8)
    views = plan.batch(1, 0)
    expected = render(pixels, views)
    for rows in (slice(0, 3), slice(3, 7)):
        found = render(pixels, views.with_partners(rows))
        assert found[: rows.stop - rows.start].equal(expected[rows])


def test_rows_know_no_partner_outside_of_them():
    views = ViewPlan(3, 20, 8, 20, 4, Augmentation()).batch(0, 0)
    part = views.rows(slice(5, 12))
    assert part.index.equal(views.index[5:12])
    within = (views.partner[5:12] >= 5) & (views.partner[5:12] < 12)
    assert within.any()
    assert not within.all()
    assert views.index[5:12][part.partner[within]].equal(views.index[views.partner[5:12][within]])
    with pytest.raises(IndexError):
        part.index[part.partner]
