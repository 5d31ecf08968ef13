"""Pictures of any depth and orientation: scaled, turned, or refused; never clipped."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import SAMPLEFORMAT, ImageFileDirectory_v2

from benchmark.core.errors import UserError
from benchmark.data.images import decode, shape_of

RAMP16 = np.array([[0, 128], [257, 65535]], np.uint16)


@pytest.fixture
def decoded(tmp_path):
    """A picture written in a format, and decoded again."""

    def write(picture: Image.Image, kind: str, channels: int = 1, **more) -> np.ndarray:
        file = tmp_path / f"picture.{kind.lower()}"
        picture.save(file, kind, **more)
        return decode(file, channels, picture.width)

    return write


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_are_scaled(decoded, kind, channels):
    found = decoded(Image.fromarray(RAMP16), kind, channels)
    assert found.tolist() == [[[0, 0], [1, 255]]] * channels


def test_16_bits_of_the_other_byte_order_are_scaled(tmp_path):
    told = ImageFileDirectory_v2(b"MM\0\x2a\0\0\0\0")
    file = tmp_path / "big.tiff"
    Image.fromarray(RAMP16.astype(">u2")).save(file, "TIFF", tiffinfo=told)
    assert decode(file, 1, 2).tolist() == [[[0, 0], [1, 255]]]


def test_a_deep_picture_is_grey(tmp_path):
    for name, values in (("a", RAMP16), ("b", RAMP16 / np.float32(65535))):
        Image.fromarray(values).save(tmp_path / f"{name}.tiff")
    assert shape_of([tmp_path / "a.tiff", tmp_path / "b.tiff"]) == (1, 2)


def test_32_bits_are_scaled(decoded, tmp_path):
    signed = np.array([[0, 2**23], [2**30, 2**31 - 1]], np.int32)
    assert decoded(Image.fromarray(signed), "TIFF").tolist() == [[[0, 1], [128, 255]]]
    unsigned = np.array([[0, 2**24], [2**31, 2**32 - 1]], np.uint32)
    file = tmp_path / "unsigned.tiff"
    Image.fromarray(unsigned.view(np.int32)).save(file)
    # Pillow writes no unsigned ones: the entry of its tag, a short, is changed from 2 to 1.
    entry = struct.pack("<HHI", SAMPLEFORMAT, 3, 1)
    raw = file.read_bytes()
    assert raw.count(entry + b"\2") == 1
    file.write_bytes(raw.replace(entry + b"\2", entry + b"\1"))
    assert decode(file, 1, 2).tolist() == [[[0, 1], [128, 255]]]


def test_floats_are_scaled(decoded):
    values = np.array([[0, 0.25], [0.5, 1]], np.float32)
    assert decoded(Image.fromarray(values), "TIFF").tolist() == [[[0, 64], [128, 255]]]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[0, 1.5]] * 2, np.float32), "run from 0 to 1.5; valid for a picture of mode F"),
        (np.array([[0, -0.1]] * 2, np.float32), r"run from -0\.1 to 0; valid"),
        (np.array([[0, np.nan]] * 2, np.float32), "run from nan to nan; valid"),
        (np.array([[0, -1]] * 2, np.int32), "run from -1 to 0; valid for a picture of mode I"),
        (np.array([[0, 255]] * 2, np.int32), "reach 255 of .* so that 8 bits would be black"),
    ],
)
def test_values_outside_their_depth_are_refused_by_name(decoded, values, words):
    with pytest.raises(UserError, match=rf"Cannot decode .*picture\.tiff': .*{words}"):
        decoded(Image.fromarray(values), "TIFF")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, kind, orientation):
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16, :16], pixels[:16, 16:] = 255, 128
    # How a camera stores the upright picture: the inverse of its orientation's turn.
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.swapaxes(0, 1),
        6: np.rot90(pixels),
        7: pixels[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(pixels, -1),
    }[orientation]
    exif = Image.Exif()
    exif[Base.Orientation] = orientation
    file = tmp_path / f"turned.{kind.lower()}"
    options = {} if kind in ("PNG", "TIFF") else {"quality": 100}
    Image.fromarray(np.ascontiguousarray(stored)).save(file, kind, exif=exif, **options)
    found = decode(file, 1, 32)[0].astype(int)
    assert np.abs(found[[8, 8, 24, 24], [8, 24, 8, 24]] - [255, 128, 0, 0]).max() < 4


def test_exif_that_is_damaged_turns_nothing(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (9, 9, 9)).save(buffer, "JPEG", exif=b"Exif\0\0II*\0\xff\xff")
    (tmp_path / "a.jpg").write_bytes(buffer.getvalue())
    assert decode(tmp_path / "a.jpg", 1, 4).tolist() == [[[9] * 4] * 4]


@pytest.mark.parametrize("mode", ["P", "LA", "RGBA", "CMYK", "1"])
def test_other_modes_are_converted_as_pillow_does(tmp_path, mode):
    picture = Image.new("RGBA", (4, 4), (200, 100, 50, 255)).convert("RGB").convert(mode)
    file = tmp_path / ("a.tiff" if mode == "CMYK" else "a.png")
    picture.save(file)
    expected = np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode(file, 3, 4), expected)


def test_colours_in_a_grey_set_are_refused_and_grey_of_three_channels_is_not(tmp_path):
    shade = np.full((8, 8, 3), 90, np.uint8)
    Image.fromarray(shade).save(tmp_path / "grey.png")
    Image.fromarray(shade).save(tmp_path / "grey.jpg")
    assert decode(tmp_path / "grey.png", 1, 8).max() == 90
    assert decode(tmp_path / "grey.jpg", 1, 8).shape == (1, 8, 8)
    shade[0, 0] = (250, 10, 10)
    Image.fromarray(shade).save(tmp_path / "red.png")
    with pytest.raises(UserError, match=r"red\.png'.*it has colours, and the set it is for"):
        decode(tmp_path / "red.png", 1, 8)
