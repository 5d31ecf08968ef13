import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.data.images import (
    Dataset,
    Encoded,
    ResidentImages,
    Undecoded,
    decode,
    decode_all,
    decoded,
    images_digest,
    of_classes,
    pixel_statistics,
)

PIXELS = torch.arange(2 * 3 * 4 * 4).view(2, 3, 4, 4).to(torch.uint8)
LABELS = torch.tensor([1, 0])


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def row(data: bytes, number: int = 0) -> Encoded:
    return Encoded(data, Path("pets.parquet"), number)


def test_take_gives_images_in_the_order_asked_for():
    images = ResidentImages(PIXELS, LABELS, ("cat", "dog"))
    assert torch.equal(images.take(torch.tensor([1, 0, 1])), PIXELS[[1, 0, 1]])
    assert (len(images), images.channels, images.resolution) == (2, 3, 4)


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (PIXELS.float(), LABELS, "must be uint8 (N, C, R, R), got torch.float32 (2, 3, 4, 4)"),
        (PIXELS[..., :3], LABELS, "must be uint8 (N, C, R, R), got torch.uint8 (2, 3, 4, 3)"),
        (PIXELS, LABELS[:1], "2 images came with 1 labels"),
        (PIXELS, torch.tensor([0, 2]), "Labels run from 0 to 2, but there are 2 class names"),
        (PIXELS, torch.tensor([-1, 0]), "Labels run from -1 to 0, but there are 2 class names"),
    ],
)
def test_images_that_do_not_fit_together_are_refused(pixels, labels, message):
    with pytest.raises(UserError, match=re.escape(message)):
        ResidentImages(pixels, labels, ("cat", "dog"))


def test_the_digest_depends_on_pixels_labels_and_shape():
    digest = images_digest(PIXELS, LABELS)
    assert digest == images_digest(PIXELS.clone(), LABELS.clone())
    changed = PIXELS.clone()
    changed[1, 2, 3, 3] += 1
    assert digest != images_digest(changed, LABELS)
    assert digest != images_digest(PIXELS, 1 - LABELS)
    assert digest != images_digest(PIXELS.view(2, 3, 2, 8), LABELS)
    assert digest == images_digest(PIXELS.transpose(2, 3).contiguous().transpose(2, 3), LABELS)


def test_grey_and_colour_pictures_are_decoded_exactly():
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4) * 16
    colour = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    assert np.array_equal(decode(row(png(grey)), 1, 4), grey[None])
    assert np.array_equal(decode(row(png(grey)), 3, 4), np.stack([grey] * 3))
    assert np.array_equal(decode(row(png(colour)), 3, 4), colour.transpose(2, 0, 1))


def test_a_wide_picture_is_resized_by_its_short_side_and_centre_cropped():
    stripes = np.zeros((8, 24, 3), np.uint8)
    stripes[:, 8:16] = 200
    assert np.array_equal(decode(row(png(stripes)), 3, 8), np.full((3, 8, 8), 200))
    assert decode(row(png(stripes.transpose(1, 0, 2))), 3, 4).shape == (3, 4, 4)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(1, 20))
def test_every_picture_decodes_to_the_resolution_asked_for(height, width, channels, side):
    assert decode(row(png(np.zeros((height, width), np.uint8))), channels, side).shape == (
        channels,
        side,
        side,
    )


def test_a_damaged_picture_is_named(tmp_path):
    (tmp_path / "cut.png").write_bytes(png(np.zeros((4, 4), np.uint8))[:-30])
    with pytest.raises(UserError, match=r"Cannot decode .*cut\.png"):
        decode(tmp_path / "cut.png", 1, 4)
    with pytest.raises(UserError, match=r"Cannot decode row 7 of 'pets.parquet': it is no picture"):
        decode(row(b"no picture", 7), 1, 4)


def test_a_decoded_stage_holds_pixels_statistics_and_a_digest(tmp_path):
    sources = [row(png(pixels.permute(1, 2, 0).numpy())) for pixels in PIXELS]
    build = decode_all(sources, 3, 4, "decode")

    def read(labels, look_only=False):
        shape, cache = (3, 4), Cache(tmp_path, look_only)
        return decoded(cache, {"k": 1}, build, labels, ("cat", "dog"), shape)

    before, unknown = read(LABELS, look_only=True)
    assert list(tmp_path.iterdir()) == []
    images, statistics = read(LABELS)
    assert isinstance(images, ResidentImages)
    assert torch.equal(images.pixels, PIXELS)
    assert images.digest == before.digest == read(LABELS)[0].digest
    assert images.digest != read(1 - LABELS)[0].digest
    assert statistics == tuple(map(tuple, pixel_statistics(PIXELS).tolist()))
    assert all(math.isnan(number) for part in unknown for number in part)
    looked, known = read(LABELS, look_only=True)
    assert (looked.digest, looked.channels, looked.resolution) == (images.digest, 3, 4)
    assert isinstance(before, Undecoded)
    assert isinstance(looked, Undecoded)
    assert (before.missing, looked.missing, known) == (len(PIXELS) * 48, 0, statistics)
    with pytest.raises(RuntimeError, match="only labels and sizes were read"):
        looked.take(torch.tensor([0]))


def test_pixel_statistics_are_the_mean_and_deviation_of_each_channel():
    pixels = torch.randint(0, 256, (50, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    pixels[:, 1] //= 4
    exact = pixels.double().div(255).transpose(0, 1).flatten(1)
    mean, std = pixel_statistics(pixels.to(torch.uint8))
    assert mean == pytest.approx(exact.mean(1).numpy(), abs=1e-6)
    assert std == pytest.approx(exact.std(1, correction=0).numpy(), abs=1e-6)


def test_a_part_of_the_classes(tmp_path):
    pixels = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1)
    images = ResidentImages(pixels, torch.arange(8) % 4, ("a", "b", "c", "d"))
    whole = Dataset("whole", images, images, (0.1,), (0.2,), mirror=True)
    part = of_classes(whole, [3, 1], "part", Cache(tmp_path))
    assert part.class_names == ("d", "b")
    assert part.train.take(torch.arange(4)).flatten().tolist() == [1, 3, 5, 7]
    assert part.test.labels.tolist() == [1, 0, 1, 0]
    assert (part.name, part.mean, part.std, part.mirror) == ("part", (0.1,), (0.2,), True)
