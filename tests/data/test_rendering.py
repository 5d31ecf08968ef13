from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from benchmark.data import rendering
from benchmark.data.rendering import render, render_gathered, resized_crops
from benchmark.data.views import Augmentation, ViewBatch, ViewPlan


def noise(count: int, channels: int, side: int) -> Tensor:
    generator = torch.Generator().manual_seed(side)
    return torch.randint(0, 256, (count, channels, side, side), generator=generator).byte()


def drawn(seed: int, side: int, count: int = 6, **augmentation) -> ViewBatch:
    return ViewPlan(seed, count, side, count, 1, Augmentation(**augmentation)).batch(0, 0)


@given(st.integers(0, 2**32), st.sampled_from([8, 28, 32, 64]), st.sampled_from([1, 3]))
def test_a_view_is_torchvisions_resized_crop_then_flip(seed, side, channels):
    images, views = noise(6, channels, side), drawn(seed, side, mix="none")
    for i, pixels in enumerate(render(images, views)):
        box = [round(share * side) for share in views.crop[i].tolist()]
        image = images[views.index[i]].float() / 255
        expected = tv.resized_crop(image, *box, size=[side, side], antialias=False)
        if views.flip[i]:
            expected = tv.horizontal_flip(expected)
        assert torch.allclose(pixels, expected, atol=1e-5)


@given(st.integers(0, 2**32), st.sampled_from([(32, 32), (32, 16), (64, 8)]))
def test_resized_crops_are_torchvisions_with_antialiasing(seed, sides):
    side, small = sides
    images, views = noise(6, 3, side), drawn(seed, side, mix="none")
    found = resized_crops(images[views.index], views.crop, small)
    for i, pixels in enumerate(found):
        box = [round(share * side) for share in views.crop[i].tolist()]
        image = images[views.index[i]].float() / 255
        expected = tv.resized_crop(image, *box, size=[small, small], antialias=True)
        assert torch.allclose(pixels, expected, atol=1e-4)


def test_views_at_imagenet_size_too():
    images, views = noise(6, 3, 224), drawn(0, 224, mix="none", flip=0.0)
    for i, pixels in enumerate(render(images, views)):
        box = [round(share * 224) for share in views.crop[i].tolist()]
        image = images[views.index[i]].float() / 255
        expected = tv.resized_crop(image, *box, size=[224, 224], antialias=False)
        assert torch.allclose(pixels, expected, atol=5e-5)


@pytest.mark.parametrize("side", [8, 28, 32, 64, 105, 224])
def test_the_identity_view_returns_the_image(side):
    images = noise(4, 3, side)
    views = drawn(0, side, count=4, crop_scale=(1.0, 1.0), flip=0.0, mix="none")
    pixels = render(images, views) * 255
    assert torch.equal(pixels.round().byte(), images[views.index])
    exact = side & (side - 1) == 0  # sides that are powers of two divide without rounding
    assert torch.allclose(pixels, images[views.index].float(), rtol=0, atol=0 if exact else 0.02)


def test_a_flipped_identity_view_is_the_mirror_image():
    images = noise(4, 3, 32)
    views = drawn(0, 32, count=4, crop_scale=(1.0, 1.0), flip=1.0, mix="none")
    assert torch.equal((render(images, views) * 255).round().byte(), images[views.index].flip(3))


@given(st.integers(0, 2**32), st.sampled_from([8, 28, 64]))
def test_cutmix_pastes_exactly_the_partners_pixels(seed, side):
    images, views = noise(6, 3, side), drawn(seed, side)
    alone = render(images, replace(views, mix_opacity=torch.zeros(6)))
    top, left, height, width = (round(share * side) for share in views.mix_box[0].tolist())
    expected = alone.clone()
    box = (slice(None), slice(None), slice(top, top + height), slice(left, left + width))
    expected[box] = alone[views.partner][box]
    assert torch.equal(render(images, views), expected)


def test_mixup_blends_every_pixel():
    images, views = noise(6, 3, 32), drawn(1, 32, mix="mixup")
    alone = render(images, replace(views, mix_opacity=torch.zeros(6)))
    weight = views.mix_weight[:, None, None, None]
    assert 0.05 < weight[0] < 0.95
    expected = weight * alone + (1 - weight) * alone[views.partner]
    assert torch.allclose(render(images, views), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mix", ["none", "cutmix", "mixup"])
def test_cutout_fills_its_box_with_its_colour_before_the_mix(mix, channels):
    images, views = noise(6, channels, 32), drawn(4, 32, mix=mix, cutout=0.5)
    whole = replace(views, cutout_box=torch.zeros(6, 4))
    expected = render(images, replace(whole, mix_opacity=torch.zeros(6)))
    for i, box in enumerate(views.cutout_box.tolist()):
        top, left, height, width = (round(share * 32) for share in box)
        assert height * width > 0
        colour = views.cutout_colour[i, :channels, None, None]
        expected[i, :, top : top + height, left : left + width] = colour
    top, left, height, width = (round(share * 32) for share in views.mix_box[0].tolist())
    box = (slice(None), slice(None), slice(top, top + height), slice(left, left + width))
    opacity = views.mix_opacity[0]
    mixed = expected.clone()
    mixed[box] = (1 - opacity) * expected[box] + opacity * expected[views.partner][box]
    found = render(images, views)
    assert torch.allclose(found, mixed, atol=1e-6)
    assert (mixed - expected).abs().max() > 0.1 or mix == "none"
    assert (found - render(images, whole)).abs().max() > 0.1


def test_views_stay_in_the_range_of_pixels():
    pixels = render(noise(64, 3, 28), drawn(2, 28, count=64))
    assert pixels.dtype == torch.float32
    assert 0 <= pixels.min() < pixels.max() <= 1


def test_images_may_be_gathered_beforehand():
    images, views = noise(6, 3, 28), drawn(3, 28)
    assert torch.equal(render_gathered(images[views.index], views), render(images, views))


@pytest.mark.parametrize("mix", ["none", "cutmix"])
@pytest.mark.parametrize("cutout", [0.0, 0.5])
def test_what_no_view_has_is_left_out_and_changes_no_bit(mix, cutout, monkeypatch):
    images, views = noise(6, 3, 32), drawn(5, 32, mix=mix, cutout=cutout).to("cpu")
    assert (views.mixed, views.filled) == (mix != "none", cutout > 0)
    expected = render(images, replace(views, mixed=True, filled=True))
    for name, wanted in (("mix", views.mixed), ("cut_out", views.filled)):
        if not wanted:
            monkeypatch.delattr(rendering, name)
    assert torch.equal(render(images, views), expected)
