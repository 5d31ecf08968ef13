"""Labels that change hands: looked at, checked, taken from others' forms, and given in them.

A folder of labels is either ours (an artefact, or a folder that `ship` or `import_labels`
wrote, with `labels/` and `images/`) or in the form of SRe2L, LPLD or LPQLD.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from ..core import bounded, plugins
from ..core.device import choose
from ..core.errors import ArtefactError, UserError
from ..core.files import new_folder
from ..core.options import build
from ..core.progress import track
from ..data import distilled, recipes
from ..data.class_folders import by_number, class_folders, image_files, positions
from ..data.images import ResidentImages, decode, opened
from ..data.recipe import Recipe
from ..data.recipe_source import RecipeSetting
from ..data.rendering import render
from ..data.views import ViewPlan
from ..labels import artefact
from ..labels.contract import LabelSource, method
from ..labels.manifest import Manifest
from ..labels.task import LabelTask, task_shape
from ..models import joins
from ..models.agreement import agreement
from ..records.ledger import KINDS, Ledger
from .card import Told
from .image_table import read as read_given
from .image_table import tables
from .normalisation import normalisation
from .official import OfficialBatch, open_folder, write_images, write_lpqld
from .shipping import complete, open_labels

DROPPED = -65504.0  # the lowest float16: no softmax gives it any mass


def read_images(path: Path) -> ResidentImages:
    """Distilled images: those of a folder that was given away, or class folders of pictures.

    Class folders count by their number where all have one (`00012`, `new00012`), else as sorted;
    where torchvision's `ImageFolder`, which the official forms count by, lists the pictures in
    another order, the images know it (`positions`).

    Raises:
        UserError: there are none, or they are of several sizes.
    """
    if tables(path) or (path / distilled.FILE).is_file():
        return read_given(path, torch.device("cpu"))
    listed = class_folders(path)
    names = by_number(listed, path) or listed
    files = [image_files(path / name) for name in names]
    paths = [file for found in files for file in found]
    if not paths:
        raise UserError(f"The class folders of {str(path)!r} hold no pictures.")
    sizes: dict[tuple[int, int], Path] = {}
    grey = True
    for file in paths:
        with opened(file) as picture:
            sizes.setdefault(picture.size, file)
            grey &= picture.mode in ("1", "L")
    if len(sizes) > 1 or any(width != height for width, height in sizes):
        found = ", ".join(f"{w}x{h} ({file.name})" for (w, h), file in list(sizes.items())[:4])
        raise UserError(
            f"The pictures of {str(path)!r} must be squares of one size; they are {found}."
        )
    channels, side = 1 if grey else 3, next(iter(sizes))[0]
    pixels = np.stack([decode(file, channels, side) for file in track(paths, "decode images")])
    counts = [len(found) for found in files]
    labels = torch.arange(len(names)).repeat_interleave(torch.tensor(counts))
    places = positions(names, counts)
    return ResidentImages(torch.from_numpy(pixels), labels, names, positions=places)


def inspect(folder: Path, images: Path | None) -> dict[str, str]:
    """What a folder of labels is and what it weighs, as rows for the terminal."""
    ours = _artefact(folder)
    if ours is not None:
        manifest = artefact.read_manifest(ours)
        plan = build(ViewPlan, manifest["plan"], "plan")
        rows = {
            "form": f"labelbench artefact, format {manifest['format']}",
            "method": bounded.short(manifest["method"]),
            "options": ", ".join(
                f"{bounded.short(k)}={_plain(v)}" for k, v in manifest["options"].items()
            ),
            "images": f"{plan.images} of {plan.resolution} pixels, {manifest['images'][:16]}…",
            "made for": f"{plan.epochs} epochs of {plan.batches} batches",
            "normalised by": _pixels(manifest),
        }
        return rows | _bytes(artefact.measure(ours, manifest))
    distilled_images = _needed(images)
    found = open_folder(folder, len(distilled_images), distilled_images.resolution)
    rows = {
        "form": found.form,
        "batches": f"{found.batches} of up to {max(found.sizes)} labels, {found.labels} in all",
        "logits a label": f"{found.kept}"
        + ("" if found.classes is None else " (all classes)")
        + ("" if found.first.values.dtype == torch.float16 else ", float32"),
        "images": f"{len(distilled_images)} of {distilled_images.resolution} pixels",
    }
    return rows | _bytes(found.ledger)


def verify_labels(folder: Path, images: Path | None, accept: Sequence[str] = ()) -> str:
    """Read every label of a folder, and check what can be checked; says what was found.

    Of ours every byte is checked, and if the images are there, the labels of one epoch.

    Raises:
        UserError: something is damaged or does not fit.
    """
    ours = _artefact(folder)
    if ours is not None and images is None and (folder / "images").is_dir():
        images = folder / "images"
    if ours is not None and images is None:
        artefact.read(ours)
        return "All bytes are as they were written. Pass the images to check the labels as well."
    if ours is not None and images is not None:
        source = open_labels(ours, images, "cpu").source
        shown, count = source.task.images, source.task.plan.batches
        batches = (
            (views, source.targets(views, render(shown.pixels, views), 0))
            for views in source.views(0)
        )
        read = "All bytes, and the labels of one epoch"
    else:
        shown = _needed(images)
        found = open_folder(
            folder,
            len(shown),
            shown.resolution,
            classes=len(shown.class_names),
            positions=shown.positions,
        )
        count, classes = len(found), len(shown.class_names)
        batches = ((batch.views, batch.logits(classes)) for batch in found)
        read = "All labels"
    labels, named, known = 0, [], []
    for views, rows in track(batches, "verify", count):
        if rows.isnan().any() or (rows == torch.inf).any():
            raise ArtefactError(
                f"Labels of batch {views.batch} in {str(folder)!r} are not finite numbers: the "
                "teacher's logits were beyond what float16 holds, or no numbers themselves."
            )
        own = views.mix_weight > 0.5
        labels += len(rows)
        named.append(rows.argmax(1)[own].cpu())
        known.append(shown.labels[views.index.cpu()][own.cpu()])
    found = agreement(torch.cat(named), torch.cat(known), len(shown.class_names))
    if ours is None:  # ours are sealed, and name their images by digest
        joins.check_labels(found, shown.class_names, repr(str(folder)), accept)
    share = f"{found.share:.1%}" if found.seen else "none"
    return (
        f"{read} can be read. {labels} labels were; their top class is that of the image in "
        f"{share} of the views that are mostly one image (by chance: "
        f"{1 / len(shown.class_names):.1%}). Of which picture of a class each one is, labels do "
        "not tell: pictures must keep the names they were made under."
    )


def import_labels(
    folder: Path,
    images: Path,
    target: Path,
    recipe_name: str,
    options: Mapping[str, object],
    mean: str = "imagenet",
    std: str = "imagenet",
    accept: Sequence[str] = (),
) -> dict[str, str]:
    """Turn labels of others into an artefact of ours, with their images, in the new `target`.

    All of them are kept, exactly (float32 logits are rounded to float16), unless `options` of the
    method that takes them up say what to drop.

    Args:
        mean, std: by which students normalise pixels; see `normalisation`.

    Returns:
        What `inspect` says of the result.
    """
    with new_folder(target) as partial:
        compute = choose("cpu", "fp32")
        distilled_images = read_images(images)
        found = open_folder(folder, len(distilled_images), distilled_images.resolution)
        cls = importing_method()
        recipe, plan = _training(recipe_name, distilled_images, max(found.sizes))
        if found.batches > plan.steps and not options.keys() & {"keep", "batches"}:
            raise UserError(
                f"{str(folder)!r} holds {found.batches} batches, and students of recipe "
                f"{recipe.name!r} take {plan.steps} steps: choose a longer recipe, or say with "
                "--set keep=SHARE how many to keep."
            )
        shape = task_shape(len(distilled_images.class_names), plan)
        asked = cls.importing(folder, None if found.classes else found.kept, options)
        chosen = cls.resolve_options(asked, shape, None)
        means, stds = normalisation(mean, std, distilled_images)
        with TemporaryDirectory() as scratch:
            task = LabelTask(
                images=distilled_images,
                plan=plan,
                objective=recipe.objective,
                compute=compute,
                seed=0,
                mean=means,
                std=stds,
                scratch=Path(scratch),
                accepted=tuple(accept),
            )
            source = cls.fit(task, chosen)
            (partial / "labels").mkdir()
            source.save(partial / "labels")
        complete(partial, distilled_images, Told(asdict(recipe)))
    return inspect(target, None)


def _training(name: str, images: ResidentImages, batch_size: int) -> tuple[Recipe, ViewPlan]:
    """The recipe `name` for these images, and its plan, in batches of the size that is stored."""
    classes = len(images.class_names)
    setting = RecipeSetting(classes, len(images) // classes, images.resolution)
    recipe = recipes.make(name, setting)
    epochs = recipe.epochs_of(len(images))
    plan = ViewPlan(0, len(images), images.resolution, batch_size, epochs, recipe.augmentation)
    return recipe, plan


def importing_method() -> type[LabelSource[Any]]:
    """The method that takes up labels of others.

    Raises:
        UserError: there is none, or several declare that they do.
    """
    known = plugins.found(plugins.METHODS)
    names = [name for name, plugin in known.items() if plugin.literal("imports", False)]
    if len(names) != 1:
        raise UserError(f"One method must declare `imports`; these do: {', '.join(names) or '-'}.")
    return method(names[0])


def export(folder: Path, target: Path) -> list[str]:
    """Write shipped labels and images as LPQLD's training script reads them.

    Args:
        folder: with `labels/` and `images/`, as `ship` writes it.
        target: a new folder, for `labels/batch_n.tar` and class folders in `images/`.

    Returns:
        What was written, and what of it the released script does not take as it is.

    Raises:
        UserError: the method stores no labels of views, or the form cannot hold them.
    """
    source = open_labels(folder, device="cpu").source
    shown, kept = [], 0
    for views, logits in source.stored_labels():
        shown.append(views.index)
        kept = max(kept, int(logits.isfinite().sum(1).max()))  # one number for all, in the form

    def batches() -> Iterator[OfficialBatch]:
        for views, logits in source.stored_labels():
            values, indices = logits.topk(kept, dim=1)
            yield OfficialBatch(views, values.clamp_min(DROPPED).half(), indices)

    plan, classes = source.task.plan, source.task.classes
    with new_folder(target) as partial:
        write_lpqld(partial / "labels", batches(), plan.resolution, classes)
        write_images(partial / "images", source.task.images)
    said = [f"wrote {len(shown)} batches and {len(source.task.images)} images to {str(target)!r}"]
    sizes = sorted({len(index) for index in shown})
    if len(sizes) > 1:
        said.append(f"LPQLD's script wants batches of one size; these have {sizes}.")
    if len({tuple(index[:3].tolist()) for index in shown}) < len(shown):
        said.append("LPQLD's script tells batches apart by their first three images; some share.")
    return said


def _artefact(folder: Path) -> Path | None:
    """Where our artefact lies in a folder, if it is one of ours."""
    for place in (folder / "labels", folder):
        if artefact.present(place):
            return place
    return None


def _needed(images: Path | None) -> ResidentImages:
    if images is None:
        raise UserError(
            "Labels in the form of SRe2L, LPLD or LPQLD are told apart by their images: pass "
            "--images with their folder."
        )
    return read_images(images)


def _pixels(manifest: Manifest) -> str:
    """What students do to pixels in 0..1."""
    if "whitened" in manifest:
        return "whitening"
    mean, std = (", ".join(f"{n:.4g}" for n in manifest[name]) for name in ("mean", "std"))
    return f"mean {mean} and standard deviation {std}"


def _plain(value: Any) -> str:
    """An option's value as it is set, in one line that is not long."""
    return bounded.short(value) if isinstance(value, str) else bounded.shown(value)


def _bytes(ledger: Ledger) -> dict[str, str]:
    rows = {kind: f"{getattr(ledger, kind):,} B" for kind in KINDS}
    rows |= {"container": f"{ledger.container:,} B", "total": f"{ledger.total:,} B"}
    return {**rows, "in 4-KiB blocks": f"{ledger.blocks:,} B"}
