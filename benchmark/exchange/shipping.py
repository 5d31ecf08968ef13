"""Shipping: labels and images in a folder to give away, and such a folder opened again."""

import shutil
from pathlib import Path
from typing import Any

import torch

from ..core import plugins
from ..core.bounded import short
from ..core.device import Precision, choose
from ..core.errors import ArtefactError, UserError, unknown
from ..core.files import new_folder
from ..core.options import build
from ..data import distilled
from ..data.recipe import Objective
from ..data.views import ViewPlan
from ..labels import artefact
from ..labels.contract import LabelSource, method
from ..labels.manifest import Manifest
from ..labels.task import LabelTask
from ..records import store
from .hub import IMAGES, LABELS, on_this_machine
from .shipped import ShippedLabels


def ship(record_file: Path, target: Path, work: Path) -> None:
    """Copy what a record was measured with into `target`.

    Raises:
        UserError: the target exists, or the work folder no longer holds the artefact.
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
        shipped = artefact.read(labels)  # never give away what is damaged
        refuse_for_students_only(shipped.manifest, labels)
        distilled.read(images, torch.device("cpu"))
        shutil.copytree(labels, partial / "labels")
        (partial / "images").mkdir()
        shutil.copy(images / distilled.FILE, partial / "images" / distilled.FILE)


def refuse_for_students_only(manifest: Manifest, folder: Path) -> None:
    """Raise a UserError for labels whose pixels only this suite's students prepare."""
    if "whitened" in manifest or "dsa" in manifest["plan"]["augmentation"]:
        raise UserError(
            f"The labels in {str(folder)!r} are for a recipe that whitens or augments normalised "
            "pixels, which only this suite's students do: they serve no other training loop."
        )


def open_labels(
    labels: str | Path,
    images: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "auto",
    seed: int = 0,
    plugin: str | Path | None = None,
) -> ShippedLabels:
    """Open shipped labels with their images.

    Args:
        labels: the artefact's folder; or without `images` a shipped folder, which may be a URL or
            a dataset repository of the Hub, `hf:OWNER/NAME[@REVISION][:CONFIG]`.
        images: the folder with `images.safetensors`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ..., or `mps`.
        seed: of what the method draws while training, such as LPQLD's pool; the student's.
        plugin: file, or folder of a package, of the method, where it is none of this project's
            and not installed.

    Raises:
        ArtefactError: either is damaged, or they do not belong together.
        UserError: the method is not known here, or the device is not there.
    """
    if images is None:
        folder = on_this_machine(labels)
        labels, images = folder / LABELS, folder / IMAGES
    if plugin is not None:
        plugins.add(Path(plugin))
    compute = choose(device, precision)
    manifest = artefact.read_manifest(Path(labels))
    shown = distilled.read(Path(images), compute.device)
    if len(manifest["mean"]) != shown.channels:
        raise ArtefactError(
            f"The labels in {str(labels)!r} are for images of {len(manifest['mean'])} channels, "
            f"not {shown.channels}."
        )
    refuse_for_students_only(manifest, Path(labels))
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
        return ShippedLabels(cls.load(Path(labels), task))
    except UserError:
        raise
    except Exception as error:  # what a method does not expect may make it fail in any way
        raise ArtefactError(
            f"{cls.name} cannot restore the labels in {str(labels)!r} "
            f"({type(error).__name__}: {short(str(error), 200)})."
        ) from error


def _method(name: str) -> type[LabelSource[Any]]:
    """The method of shipped labels; where it is unknown, the error says how to add it."""
    known = plugins.found(plugins.METHODS)
    if name not in known:
        raise UserError(
            f"{unknown('method', name, known)} If it is a plugin's, pass its file: "
            "open_labels(..., plugin=PATH), or --plugin PATH on the command line."
        )
    return method(name)
