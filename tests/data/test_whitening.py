import numpy as np
import pytest
import torch

from benchmark.core.errors import UserError
from benchmark.data.images import ResidentImages
from benchmark.data.whitening import read_whitening, write_whitening


def images(count=4000, channels=3, side=3):
    """Neighbouring numbers of an image resemble each other."""
    numbers = torch.randn(count, channels * side**2, generator=torch.Generator().manual_seed(0))
    smooth = numbers.cumsum(1)
    pixels = (smooth * 12 + 128).clamp(0, 255).byte().view(count, channels, side, side)
    return ResidentImages(pixels, torch.zeros(count), ["one"])


def test_the_map_is_zca_of_the_covariance(tmp_path):
    shown = images()
    write_whitening(shown, tmp_path)
    whiten = read_whitening(tmp_path, torch.device("cpu"))
    pixels = shown.pixels.double() / 255
    rows = pixels.flatten(1).numpy()
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    expected = vectors @ np.diag((values + 0.1) ** -0.5) @ vectors.T
    found = whiten(pixels.float())
    assert found.shape == pixels.shape
    by_hand = (rows - rows.mean(0)) @ expected
    torch.testing.assert_close(found.flatten(1).double().numpy(), by_hand, rtol=1e-4, atol=1e-4)


def test_images_that_are_too_large_are_refused(tmp_path):
    large = ResidentImages(torch.zeros(1, 3, 80, 80).byte(), torch.zeros(1), ["one"])
    with pytest.raises(UserError, match=r"Images of 19,200 numbers are too large"):
        write_whitening(large, tmp_path)
