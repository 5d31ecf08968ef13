"""Pictures as they are meant: upright, and grey of any depth scaled to 8 bits, never clipped."""

import numpy as np
from PIL import Image
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import SAMPLEFORMAT, TiffImageFile

from ..core.errors import UserError

DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # Pillow's modes of more than 8 bits, all grey
UNSIGNED = 1  # of a TIFF's sample formats
TURNS = {  # by EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(picture: Image.Image) -> Image.Image:
    """The picture as 8 bits a channel, turned as its EXIF orientation says.

    Raises:
        UserError: its values lie outside its depth, or nothing of them is left in 8 bits.
    """
    picture.load()  # a TIFF is turned by this already
    try:
        turn = TURNS.get(picture.getexif().get(Base.Orientation, 1))
    except Exception:  # of a camera that wrote no EXIF: it is shown as it lies
        turn = None
    made = Image.fromarray(_eight_bits(picture)) if picture.mode in DEEP else picture
    return made if turn is None else made.transpose(turn)


def _eight_bits(picture: Image.Image) -> np.ndarray:
    values = np.asarray(picture)
    if picture.mode == "F":
        most = 1.0
    elif picture.mode.startswith("I;16") or picture.format in ("PNG", "PPM"):
        most = 2.0**16 - 1  # older Pillows open these as "I"
    else:
        values, most = _of_tiff(picture, values)
    values = values.astype(np.float64)
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= most):
        raise UserError(
            f"its values run from {values.min():g} to {values.max():g}; valid for a picture of "
            f"mode {picture.mode}: 0 to {most:g}."
        )
    scaled = np.rint(values * (255 / most)).astype(np.uint8)
    if most > 2**16 and values.max() > 0 and not scaled.any():
        raise UserError(
            f"its values reach {values.max():g} of {most:g}, so that 8 bits would be black: "
            "store it with 8 or 16 bits."
        )
    return scaled


def _of_tiff(picture: Image.Image, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Whole numbers of a TIFF, and the highest that they can be."""
    bits, kind = 32, 2
    if isinstance(picture, TiffImageFile):
        bits = int(picture.tag_v2.get(258, (32,))[0])
        kind = int(picture.tag_v2.get(SAMPLEFORMAT, (UNSIGNED,))[0])
    if kind != UNSIGNED:
        return values, 2.0 ** (bits - 1) - 1
    return (values.view(np.uint32) if bits == 32 else values), 2.0**bits - 1
