"""The reference in `methods/README.md`, made from signatures and docstrings.

Run as a program it writes that part of the page anew; a test compares.
"""

import inspect
import re
from dataclasses import is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "methods" / "README.md"
FIRST, LAST = "<!-- reference: python tests/authors_guide.py -->", "<!-- /reference -->"
PARTS = {
    "What a method is given": [
        "labels.task:LabelTask",
        "labels.task:TaskShape",
        "data.images:ResidentImages",
        "data.images:Images",
        "models.teachers:Teacher",
    ],
    "Views": ["data.views:ViewPlan", "data.views:ViewBatch", "data.rendering:render"],
    "The contracts": [
        "labels.contract:LabelSource",
        "models.image_source:ImageSource",
        "models.image_source:ImageTask",
        "data.dataset_source:DatasetSource",
        "data.images:Dataset",
        "data.place:Place",
        "models.network_family:NetworkFamily",
        "data.recipe_source:RecipeSource",
        "data.recipe_source:RecipeSetting",
        "data.recipe:Recipe",
        "data.recipe:Augmentation",
        "data.recipe:Objective",
        "core.needs:Needs",
        "labels.task:Amounts",
        "core.work:Work",
        "core.work:Passes",
    ],
    "What is shipped": [
        "labels.artefact:StoredTensor",
        "labels.artefact:Artefact",
        "labels.packing:pack",
        "labels.packing:unpack",
        "labels.packing:width_for",
        "labels.packing:packed_bytes",
        "labels.weights:encode",
        "labels.weights:decode",
    ],
    "Helpers": [
        "labels.class_labels:ClassLabels",
        "labels.image_labels:ImageLabels",
        "labels.label_pool:LabelPool",
        "labels.teacher_logits:teacher_logits",
        "labels.writer:TensorWriter",
        "labels.writer:PackedWriter",
        "labels.distill:DistillOptions",
        "labels.distill:distill",
        "labels.validation:held_out",
        "models.networks:create",
        "models.priors:load_prior",
    ],
}


def reference() -> str:
    """All parts, in Markdown."""
    lines = []
    for title, names in PARTS.items():
        lines += [f"### {title}", ""]
        for name in names:
            lines += _entry(name)
    return "\n".join(lines).rstrip() + "\n"


def _entry(name: str) -> list[str]:
    module, _, attribute = name.partition(":")
    found = getattr(import_module(f"benchmark.{module}"), attribute)
    lines = [f"#### `benchmark.{module}.{attribute}`", ""]
    if inspect.isclass(found):
        if is_dataclass(found):
            lines += [f"`{attribute}{_signature(found)}`", ""]
        lines += [*_prose(found.__doc__), ""]
        for member, value in vars(found).items():
            if not member.startswith("_") and (about := _member(value)):
                told = f"{member}{_signature(value)}" if callable(_plain(value)) else member
                lines += [f"- `{told}`: {about}"]
        lines += [""]
    else:
        lines += [f"`{attribute}{_signature(found)}`", "", *_prose(found.__doc__), ""]
    return lines


def _plain(value: Any) -> Any:
    return value.__func__ if isinstance(value, classmethod | staticmethod) else value


def _member(value: Any) -> str:
    """The first sentences of a method's or property's docstring, in one line."""
    value = _plain(value)
    if not (inspect.isfunction(value) or isinstance(value, property)):
        return ""
    about = inspect.getdoc(value) or ""
    return " ".join(re.split(r"\n\s*\n(?:Args|Raises|Returns|Yields):", about)[0].split())


def _signature(value: Any) -> str:
    signature = inspect.signature(_plain(value))
    kept = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    told = []
    for parameter in kept:
        annotation = parameter.annotation
        text = parameter.name
        if annotation is not inspect.Parameter.empty:
            text += f": {_type(annotation)}"
        if parameter.default is not inspect.Parameter.empty:
            default = "..." if callable(parameter.default) else repr(parameter.default)
            text += f" = {'...' if '<' in default else default}"
        told.append(text)
    result = ""
    if signature.return_annotation not in (inspect.Signature.empty, None):
        result = f" -> {_type(signature.return_annotation)}"
    return f"({', '.join(told)}){result}"


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", text)
    return re.sub(r"ForwardRef\('(.*?)'\)", r"\1", text).replace("~", "")


def _prose(docstring: str | None) -> list[str]:
    """A docstring as Markdown: its attributes and arguments as a list."""
    lines = []
    for line in inspect.cleandoc(docstring or "").splitlines():
        match = re.match(r" {4}(\S.*)", line)
        if match and re.match(r"[\w, `]+: ", match[1]):
            lines.append(f"- {match[1]}")
        elif match and lines and lines[-1].startswith("- "):
            lines[-1] += f" {match[1].strip()}"
        elif line.startswith("        ") and lines:
            lines[-1] += f" {line.strip()}"
        else:
            lines += ["", line, ""] if re.fullmatch(r"[A-Z][\w ,]*:", line) else [line]
    return lines


def written(page: str) -> str:
    """The page with the reference as it is now."""
    head, _, rest = page.partition(FIRST)
    _, _, tail = rest.partition(LAST)
    return f"{head}{FIRST}\n\n{reference()}\n{LAST}{tail}"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
