"""Shipping: a record's artefact and images, copied into one folder that can be given away."""

import shutil
from pathlib import Path

from . import artefact, distilled, records
from .errors import UserError


def ship(record_file: Path, target: Path, work: Path) -> None:
    """Copy what a record was measured with into `target`.

    Raises:
        UserError: the target exists, or the work folder no longer holds the artefact.
    """
    if target.exists():
        raise UserError(f"{str(target)!r} exists already; name a new folder.")
    found = records.read([record_file])
    if len(found) != 1:
        raise UserError(f"{str(record_file)!r} holds {len(found)} records; name one record's file.")
    inputs = found[0]["inputs"]
    labels = work / "stages" / inputs["labels"] / "artefact"
    images = work / "stages" / inputs["images_stage"]
    for folder in (labels, images):
        if not folder.is_dir():
            raise UserError(f"{str(folder)!r} is not there: is --work {str(work)!r} right?")
    artefact.read(labels)  # never give away what is damaged
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(labels, partial / "labels")
    (partial / "images").mkdir()
    shutil.copy(images / distilled.FILE, partial / "images" / distilled.FILE)
    partial.rename(target)
