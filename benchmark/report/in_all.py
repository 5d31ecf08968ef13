"""All bytes that must be there for a student to train: labels, images, prior, teacher."""

from collections.abc import Iterable

from ..records.comparison import Row
from ..records.record import Record

# What the images may be shipped as, and where records hold their bytes.
FORMS = {"raw": "images", "PNG": "images_png", "JPEG": "images_jpeg"}


def in_all(row: Row, form: str) -> int | None:
    """Bytes of labels, images as `form`, prior and teacher, of the repeat that takes most.

    None where a record does not tell what its images take as that.
    """
    sizes = [_of(record, form) for record in row.records]
    return None if None in sizes else max(size for size in sizes if size is not None)


def form_of(rows: Iterable[Row]) -> str:
    """What the images count as where these rows stand on one axis.

    PNG, which is smaller and loses nothing, where all records tell its bytes; else raw, which all
    do: the two are never mixed.
    """
    told = all(FORMS["PNG"] in record["storage"] for row in rows for record in row.records)
    return "PNG" if told else "raw"


def _of(record: Record, form: str) -> int | None:
    stored = record["storage"]
    images = stored.get(FORMS[form])
    if not isinstance(images, int):
        return None
    prior = stored["prior"] if record["prior"] else 0
    return stored["total"] + images + prior + stored["teacher"]
