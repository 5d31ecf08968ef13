from pathlib import Path

import pytest
import torch
from synthetic_imagenet import picture

from benchmark.data import jpeg
from benchmark.data.images import Encoded, decode

DATA = Encoded(picture(0, 0, (60, 45)), Path("a.tar"), 3)


def test_pixels_are_within_one_of_pillows_whichever_decoder(monkeypatch):
    fast = jpeg.decode_streamed(DATA, 32)
    monkeypatch.setattr(jpeg, "torchcodec", lambda: None)
    plain = jpeg.decode_streamed(DATA, 32)
    assert torch.equal(fast, plain)
    assert plain.shape == (3, 32, 32)
    assert (plain.int() - torch.from_numpy(decode(DATA, 3, 32)).int()).abs().max() <= 1


def test_torchcodec_is_used_where_it_is_installed():
    pytest.importorskip("torchcodec")
    assert jpeg.torchcodec() is not None
