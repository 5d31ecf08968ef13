"""The card of a folder of labels to give away: what it is, what it reached, how to train on it.

`README.md` after the Hub's conventions: YAML in front, then Markdown. Every number is read from the
files beside it and from records; the code in it is run by this suite's tests.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..core import bounded, plugins
from ..core.errors import UserError
from ..core.plugins import Kind
from ..data.images import ResidentImages
from ..labels import artefact
from ..labels.contract import LabelSource, method
from ..labels.manifest import Manifest
from ..labels.packing import width_for
from ..records.environment import environment
from ..records.record import Record
from ..records.statistics import mean_interval
from . import image_table
from .plain_reader import Family

FILE = "README.md"
UNKNOWN = "unknown"  # the Hub's word for a licence that nobody named
LICENCE = re.compile("[a-z0-9][a-z0-9.+-]{0,99}")
MOST_NAMES = 1000  # of classes, in the YAML
SMALL = 64  # pixels a side, up to which networks take images without a coarse stem
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
ARXIV = re.compile(r"arXiv[ :]?(\d{4}\.\d{4,5})")
PLACE = re.compile(r"(?<!\w)[~.]*[/\\](?:[^\s,\[\]]*[/\\])?")  # of a file on somebody's disk
SCHEDULES = {  # of the learning rate: in words, and as code of the card
    "constant": ("constant", "1.0"),
    "quarters": (
        "three tenths of it after each quarter of the epochs",
        "0.3 ** (step // batches_an_epoch // max(1, epochs // 4))",
    ),
    "to-half": (
        "along a quarter of a cosine to half of it, by epochs",
        "0.5 * (1 + math.cos(math.pi * (step // batches_an_epoch) / (2 * epochs)))",
    ),
    "cosine": (
        "along half a cosine to zero",
        "0.5 * (1 + math.cos(math.pi * ({done})))",
    ),
}


@dataclass(frozen=True)
class Told:
    """What the files of a folder do not say themselves.

    Attributes:
        recipe: as records hold it.
        records: what was measured with these labels, the one that is shipped first.
        licence: as the Hub calls it, `cc-by-4.0`.
    """

    recipe: Mapping[str, Any]
    records: Sequence[Record] = ()
    licence: str = UNKNOWN


def card(folder: Path, images: ResidentImages, told: Told, family: Family | None) -> str:
    """The text of a card for `folder`, which holds `labels/` and `images/`.

    Args:
        family: of the card's own reader of the labels; None where there can be none.

    Raises:
        UserError: the licence is no word of the Hub's.
    """
    if not LICENCE.fullmatch(told.licence):
        raise UserError(
            f"A licence is named as the Hub does, such as cc-by-4.0, mit or {UNKNOWN}; got "
            f"{bounded.shown(told.licence)}."
        )
    manifest = artefact.read_manifest(folder / "labels")
    environment_ = Environment(
        loader=PackageLoader("benchmark.exchange"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment_.filters |= {"quoted": _quoted, "line": _line, "ticked": _ticked}
    facts = _files(folder, images, manifest) | _training(images, manifest, told.recipe)
    facts |= _measured(told.records, manifest) | _sources(told, manifest)
    facts |= {"licence": told.licence, "reader": "", "epochs": manifest["plan"]["epochs"]}
    if told.records:  # of a recipe that has a pilot choose them
        facts["epochs"] = told.records[0]["inputs"].get("epochs", facts["epochs"])
    facts["title"] = _title(facts)
    facts["tags"] = _tags(facts)
    facts["no_reader"] = (
        "the views have Cutout"
        if manifest["plan"]["augmentation"]["cutout"]
        else "they are pruned, quantised or predicted, computed by a network, or have a loss or "
        "views of their own"
    )
    places = artefact.packed_places(folder / "labels", manifest)
    facts["packed"] = places is not None
    if family is not None:
        reader = environment_.get_template("reader.py.jinja")
        reading = _reading(family, manifest, len(images.class_names)) | {"places": places}
        facts["reader"] = reader.render(reading)
    return environment_.get_template("card.md.jinja").render(facts)


def _files(folder: Path, images: ResidentImages, manifest: Manifest) -> dict[str, Any]:
    """What lies in the folder, and its bytes."""
    names, count = images.class_names, len(images)
    return {
        "class_names": names,
        "classes": len(names),
        "names_fit": len(names) <= MOST_NAMES,
        "channels": images.channels,
        "resolution": images.resolution,
        "small": images.resolution <= SMALL,
        "positioned": images.positions is not None,
        "size": next((size for most, size in SIZES if count < most), ""),
        "label_bytes": artefact.measure(folder / "labels", manifest).total,
        "image_bytes": sum(file.stat().st_size for file in image_table.tables(folder / "images")),
        "requires": [
            f"{kind} {_ticked(needed['name'])}, {needed['bytes']:,} bytes"
            for kind, needed in manifest["requires"].items()
        ],
    }


def _training(
    images: ResidentImages, manifest: Manifest, recipe: Mapping[str, Any]
) -> dict[str, Any]:
    """How students train, in words and as the card's code has it."""
    plan = manifest["plan"]
    batches = -(-plan["images"] // plan["batch_size"])
    rising = round(recipe["warmup"] * plan["epochs"] * batches)
    words, schedule = SCHEDULES[recipe["schedule"]]
    done = f"(step - {rising}) / max(1, steps - {rising})" if rising else "step / steps"
    rise = [f"rising over the first {rising} steps"] if rising else []
    return {
        "plan": plan,
        "batches": batches,
        "recipe": recipe,
        "rising": rising,
        "schedule": schedule.format(done=done),
        "schedule_words": ", then ".join([*rise, words]),
        "views": _views(plan["augmentation"]) + _shown(manifest["method"]),
        "loss": _loss(manifest),
        "mean": ", ".join(f"{value:.6g}" for value in manifest["mean"]),
        "std": ", ".join(f"{value:.6g}" for value in manifest["std"]),
    }


def _views(drawn: Any) -> str:
    """How views are drawn, as a sentence without its stop."""
    low, high = drawn["crop_scale"]
    what = "A view is "
    if (low, high) == (1, 1) == tuple(drawn["crop_ratio"]):
        what += "a whole image"
    else:
        what += f"a crop of {100 * low:.3g} to {100 * high:.3g} % of an image's area"
    parts = [f"mirrored with probability {drawn['flip']:g}"] if drawn["flip"] else []
    if drawn["cutout"]:
        parts.append(f"with a square of {100 * drawn['cutout']:.3g} % of its side filled")
    if drawn["mix"] != "none":
        name = {"cutmix": "CutMix", "mixup": "Mixup"}[drawn["mix"]]
        parts.append(f"mixed with another one of the batch by {name} (alpha {drawn['mix_alpha']})")
    return ", ".join([what, *parts])


def _shown(name: str) -> str:
    """What a method changes of the plan's views, as the rest of their sentence."""
    try:
        own = method(name).views is not LabelSource.views
    except UserError:  # a plugin that is not there
        return ""
    return "; which of them are shown, how often and how, is the method's" if own else ""


def _loss(manifest: Manifest) -> str:
    aim = manifest["objective"]
    try:
        cls = method(manifest["method"])
    except UserError:  # a plugin that is not there
        return "the method's, which is a plugin"
    if cls.loss is not LabelSource.loss:
        return "the method's own, which `labels.loss` computes"
    if cls.space == "probabilities":
        said = "the KL divergence from the labels, which are probabilities, to the softmax"
    elif aim["loss"] == "mse":
        said = "the mean squared error of the logits"
    else:
        said = f"the KL divergence of softmaxes at temperature {aim['temperature']:g}"
        scale = aim.get("label_scale", 1)
        said += f", the labels' logits scaled by {scale:g}" if scale != 1 else ""
        said += ", times the square of the temperature" if aim["rescale"] else ""
    if aim["ce_weight"]:
        said += f", and {aim['ce_weight']:g} times the cross-entropy with the images' classes"
    return said


def _measured(records: Sequence[Record], manifest: Manifest) -> dict[str, Any]:
    """What the records say: of the first one what it is, of all how well students did."""
    made: dict[str, Any] = dict.fromkeys(("dataset", "source", "ipc", "teacher"), "")
    made |= {"accuracies": _accuracies(records), "on_protocol": True, **environment()}
    made |= {"version": made.pop("labelbench"), "test_images": 0, "teacher_accuracy": 0.0}
    if records:
        first = records[0]
        cell = first["cell"]
        made |= {name: PLACE.sub("", cell[name]) for name in ("dataset", "source", "teacher")}
        if cell["draw"]:
            made["source"] += f", draw {cell['draw']}"
        made |= {
            "ipc": cell["ipc"],
            "teacher_accuracy": first["inputs"]["teacher_accuracy"],
            "test_images": first["result"]["test_images"],
            "on_protocol": first["on_protocol"],
            "version": first["environment"]["labelbench"],
            "commit": first["environment"]["commit"],
        }
    return made


def _accuracies(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Mean and interval of each student, on each hardware, in the order of the records."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for record in records:
        found = record["cell"]["student"], record["precision"], record["world"]["hardware"]
        groups.setdefault(found, []).append(record["result"]["accuracy"])
    rows = []
    for (student, precision, hardware), values in groups.items():
        mean, half = mean_interval(values)
        rows.append(
            {"student": student, "mean": mean, "half": half, "n": len(values)}
            | {"precision": precision, "hardware": hardware}
        )
    return rows


def _sources(told: Told, manifest: Manifest) -> dict[str, Any]:
    """The method, and whom to cite."""
    name, recipe = manifest["method"], told.recipe["name"]
    cited = [("The labels' method", _paper(plugins.METHODS, name))]
    if told.records:
        cell = told.records[0]["cell"]
        source, dataset = (re.split(r"[\[:]", cell[key])[0] for key in ("source", "dataset"))
        cited.append(("The images", _paper(plugins.IMAGES, source)))
        cited.append(("The dataset that they are made from", _paper(plugins.DATASETS, dataset)))
    cited.append(("The protocol", _paper(plugins.RECIPES, recipe)))
    options = (f"{key}={PLACE.sub('', _plain(v))}" for key, v in manifest["options"].items())
    known = plugins.found(plugins.METHODS)
    return {
        "method": name,
        "options": _line(", ".join(options)).replace("`", "'"),
        "papers": [(what, paper) for what, paper in cited if paper],
        "plugin": name not in known or not known[name].builtin,
    }


def _paper(kind: Kind, name: str) -> str:
    """What a plugin asks to be cited."""
    found = plugins.found(kind).get(name)
    return str(found.literal("paper", "")) if found else ""


def _title(facts: Mapping[str, Any]) -> str:
    images = f"{facts['source']} images, IPC {facts['ipc']}" if facts["source"] else "images"
    of = f"{facts['dataset']}, distilled" if facts["dataset"] else "A distilled dataset"
    return f"{of}: {images}, labels by {facts['method']}"


def _tags(facts: Mapping[str, Any]) -> list[str]:
    numbers = [n for _, paper in facts["papers"] for n in ARXIV.findall(paper)]
    ipc = [f"ipc-{facts['ipc']}"] if facts["ipc"] else []
    arxiv = [f"arxiv:{number}" for number in dict.fromkeys(numbers)]
    return ["dataset-distillation", "soft-labels", "labelbench", *ipc, *arxiv]


def _reading(family: Family, manifest: Manifest, classes: int) -> dict[str, Any]:
    """What the reader's code depends on."""
    aim, drawn = manifest["objective"], manifest["plan"]["augmentation"]
    beside = bool(aim["ce_weight"])
    return {
        "family": family,
        "manifest": manifest,
        "classes": classes,
        "aim": {"label_scale": 1, **aim},
        "packed": "indices" in manifest["tensors"],
        "width": width_for(classes),
        "cropped": not drawn["crop_scale"] == drawn["crop_ratio"] == [1, 1],
        "mix": drawn["mix"],
        "beside": beside,
        "hard": beside or family.kind == "classes",
        "weighted": beside or family.kind != "views",
    }


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _quoted(text: str) -> str:
    """Text as YAML takes it: JSON's quotes, and nothing that does not print."""
    whole = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in whole)


def _line(text: str) -> str:
    """Text in one line, also within a table."""
    return bounded.short(text, 4096).replace("|", "\\|")


def _ticked(text: str) -> str:
    """Text as code in one line."""
    return f"`{_line(text).replace('`', chr(39))}`"
