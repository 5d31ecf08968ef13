import io

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data.images import ResidentImages
from benchmark.data.picture_bytes import BLOCK, picture_bytes


def of(pixels: torch.Tensor) -> dict[str, int]:
    return picture_bytes(ResidentImages(pixels, torch.zeros(len(pixels), dtype=torch.long), ["a"]))


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_are_those_of_the_files(channels):
    pixels = torch.randint(0, 256, (3, channels, 8, 8), generator=torch.Generator().manual_seed(0))
    pixels = pixels.to(torch.uint8)
    png = jpeg = 0
    for image in pixels:
        array = image.permute(1, 2, 0).numpy()
        picture = Image.fromarray(array.squeeze(2) if channels == 1 else array)
        for settings in ({"format": "PNG", "optimize": True}, {"format": "JPEG", "quality": 95}):
            data = io.BytesIO()
            picture.save(data, **settings)
            if settings["format"] == "PNG":
                back = torch.from_numpy(np.array(Image.open(data)))
                assert torch.equal(back.reshape(8, 8, channels).permute(2, 0, 1), image)
                png += len(data.getvalue())
            else:
                jpeg += len(data.getvalue())
    assert of(pixels) == {"png": png, "jpeg": jpeg}


def test_every_image_of_several_blocks_counts():
    one = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    single, many = of(one), of(one.expand(BLOCK + 3, -1, -1, -1).contiguous())
    assert many == {form: (BLOCK + 3) * size for form, size in single.items()}


def test_flat_pictures_take_less_than_noise():
    noise = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    flat = torch.full((2, 3, 32, 32), 7, dtype=torch.uint8)
    assert of(flat)["png"] < of(noise.to(torch.uint8))["png"]
