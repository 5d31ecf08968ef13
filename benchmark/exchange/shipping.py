"""Shipping: labels and images in a folder to give away, and such a folder opened again.

The folder holds `README.md` (its card), `images/` (Parquet) and `labels/` (the artefact).
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..core import plugins
from ..core.arguments import typed
from ..core.bounded import short
from ..core.device import Precision, choose
from ..core.errors import ArtefactError, UserError, unknown
from ..core.files import new_folder
from ..core.options import build
from ..data import distilled
from ..data.images import ResidentImages
from ..data.recipe import Objective
from ..data.views import ViewPlan
from ..labels import artefact
from ..labels.contract import LabelSource, method
from ..labels.manifest import Manifest
from ..labels.task import LabelTask
from ..records import store
from ..records.record import Record
from . import card, image_table
from .hub import on_this_machine
from .plain_reader import Family, candidate, confirmed
from .shipped import ShippedLabels


def ship(record_file: Path, target: Path, work: Path, licence: str = card.UNKNOWN) -> None:
    """Copy what a record was measured with into `target`, with a card.

    The card's accuracies are of all records beside this one that were measured with these labels.

    Args:
        licence: of the folder, as the Hub calls it.

    Raises:
        UserError: the target exists, the work folder no longer holds the artefact, or the licence
            is no word of the Hub's.
    """
    with new_folder(target) as partial:
        found = store.read([record_file])
        if len(found) != 1:
            raise UserError(
                f"{str(record_file)!r} holds {len(found)} records; name one record's file."
            )
        inputs = found[0]["inputs"]
        if "images_stage" not in inputs:
            raise UserError(f"{str(record_file)!r} does not say which stage its images are of.")
        labels = work / "stages" / inputs["labels"] / "artefact"
        images = work / "stages" / inputs["images_stage"]
        for folder in (labels, images):
            if not folder.is_dir():
                raise UserError(f"{str(folder)!r} is not there: is --work {str(work)!r} right?")
        if not found[0]["storage"]["total"]:
            raise UserError(
                f"{str(record_file)!r} is of labels that take no byte: they are the images' own "
                "classes, so there is no file of them to give away."
            )
        shipped = artefact.read(labels)  # never give away what is damaged
        refuse_for_students_only(shipped.manifest, labels)
        (partial / "labels").mkdir()
        for file in labels.iterdir():  # without their modes: caches may be their owner's alone
            shutil.copyfile(file, partial / "labels" / file.name)
        told = card.Told(found[0]["recipe"], _repeats(record_file, found[0]), licence)
        complete(partial, distilled.read(images, torch.device("cpu")), told)


def complete(folder: Path, images: ResidentImages, told: card.Told) -> None:
    """Add the images and the card to a folder that holds `labels/`, and nothing else."""
    (folder / "images").mkdir()
    image_table.write(folder / "images", images)
    text = card.card(folder, images, told, _family(folder))
    (folder / card.FILE).write_text(text, encoding="utf-8")


def _repeats(file: Path, record: Record) -> list[Record]:
    """A record, and those beside it of the same labels, recipe and test images."""
    found = {store.identity(record): record}
    same: tuple[str, ...] = ("labels", "images_stage", "test")
    for entry in store.entries(sorted(file.parent.glob("*.json"))):
        other = entry.record
        if other is None or other["recipe"] != record["recipe"]:
            continue
        inputs: Mapping[str, Any] = other["inputs"]
        if all(inputs.get(name) == record["inputs"].get(name) for name in same):
            found.setdefault(store.identity(other), other)
    return [*found.values()]


def _family(folder: Path) -> Family | None:
    """The family of labels that the card's own reader reads; None where it does not."""
    family = candidate(artefact.read_manifest(folder / "labels"))
    if family is None:
        return None
    source = open_labels(folder, device="cpu", precision="fp32").source
    stored = artefact.read(folder / "labels").tensors
    return family if confirmed(family, source, stored) else None


def refuse_for_students_only(manifest: Manifest, folder: Path) -> None:
    """Raise a UserError for labels whose pixels only this suite's students prepare."""
    if "whitened" in manifest or "dsa" in manifest["plan"]["augmentation"]:
        raise UserError(
            f"The labels in {str(folder)!r} are for a recipe that whitens or augments normalised "
            "pixels, which only this suite's students do: they serve no other training loop."
        )


@typed
def open_labels(
    folder: str | Path,
    images: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    seed: int = 0,
    plugin: str | Path | None = None,
) -> ShippedLabels:
    """Open shipped labels with their images.

    Args:
        folder: what was given away, with `labels/` and `images/` in it, which may be a URL or a
            dataset repository of the Hub, `hf:OWNER/NAME[@REVISION][:CONFIG]`; or the labels'
            folder alone, where `images` says where theirs are.
        images: the folder of the images, Parquet or `images.safetensors`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ..., `xpu` or `mps`.
        seed: of what the method draws while training, such as LPQLD's pool; the student's.
        plugin: file, or folder of a package, of the method, where it is none of this project's
            and not installed.

    Raises:
        ArtefactError: either is damaged, or they do not belong together.
        UserError: the method is not known here, or the device is not there.
    """
    if plugin is not None:
        plugins.add(Path(plugin))
    compute = choose(device, precision)
    labels, shown_in = _folders(folder, images)
    manifest = artefact.read_manifest(labels)
    shown = image_table.read(shown_in, compute.device)
    if len(manifest["mean"]) != shown.channels:
        raise ArtefactError(
            f"The labels in {str(labels)!r} are for images of {len(manifest['mean'])} channels, "
            f"not {shown.channels}."
        )
    refuse_for_students_only(manifest, labels)
    task = LabelTask(
        images=shown,
        plan=build(ViewPlan, manifest["plan"], "plan"),
        objective=build(Objective, manifest["objective"], "objective"),
        compute=compute,
        seed=seed,
        mean=tuple(manifest["mean"]),
        std=tuple(manifest["std"]),
    )
    cls = _method(manifest["method"])
    try:
        return ShippedLabels(cls.load(labels, task))
    except UserError:
        raise
    except Exception as error:  # what a method does not expect may make it fail in any way
        raise ArtefactError(
            f"{cls.name} cannot restore the labels in {str(labels)!r} "
            f"({type(error).__name__}: {short(str(error), 200)})."
        ) from error


def _folders(folder: str | Path, images: str | Path | None) -> tuple[Path, Path]:
    """The folders of labels and of images that `open_labels` is asked for, on this machine."""
    if images is not None:
        labels = Path(folder)
        inside = labels / "labels"
        return inside if artefact.present(inside) else labels, Path(images)
    here = on_this_machine(folder)
    if not (here / "images").is_dir():
        raise UserError(
            f"{str(folder)!r} does not hold both `labels` and `images`, as a folder that was given "
            "away does: name the labels' folder and the images'."
        )
    return here / "labels", here / "images"


def _method(name: str) -> type[LabelSource[Any]]:
    """The method of shipped labels; where it is unknown, the error says how to add it."""
    known = plugins.found(plugins.METHODS)
    if name not in known:
        raise UserError(
            f"{unknown('method', name, known)} If it is a plugin's, pass its file, which is called "
            f"{name}.py: open_labels(..., plugin=PATH), or --plugin PATH on the command line."
        )
    return method(name)
