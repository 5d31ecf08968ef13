from unittest.mock import patch

import torch

from benchmark.data import distilled
from benchmark.data.images import ResidentImages

PIXELS = torch.randint(0, 256, (6, 3, 8, 8), generator=torch.Generator().manual_seed(0))
IMAGES = ResidentImages(PIXELS.to(torch.uint8), torch.arange(6), tuple("abcdef"))


def test_images_that_would_fill_half_a_device_stay_on_disk(tmp_path, monkeypatch, capsys):
    distilled.write(tmp_path, IMAGES)
    for free, told in ((2 * IMAGES.pixels.nbytes - 1, True), (2 * IMAGES.pixels.nbytes, False)):
        monkeypatch.setattr(distilled, "free_bytes", lambda device, free=free: free)
        with patch.object(ResidentImages, "to", autospec=True) as to:
            to.side_effect = lambda images, device: images
            found = distilled.read(tmp_path, torch.device("cpu"))
        assert to.called is not told
        assert ("they are read from disk by batch" in capsys.readouterr().err) is told
        assert torch.equal(found.pixels, IMAGES.pixels)
