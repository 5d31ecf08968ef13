"""The grid: what a run compares, from the command line and TOML files, expanded into cells."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from .errors import UserError, unknown
from .options import build
from .recipes import RECIPES

CONTROLS = ("hard", "soft", "teacher", "teacher[weights=fp16]", "teacher[weights=int8]")
FOREIGN = "foreign"  # the image source whose images have no labels of their own
CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True)
class Grid:
    """What a run compares.

    Attributes:
        images: image sources, each with options in brackets if any: `rded[factor=2]`;
            `path:PATH` names images that others distilled.
        methods: names, each with options in brackets if any: `lpqld[k=4,keep=0.05]`.
        students, teacher: network names; see `teachers` for the teacher's other forms.
        seeds: students a cell; the seed sets a student's initial weights, the same for all
            methods. Images and artefacts are made once, and shared by all seeds.
        budgets: byte budgets, as bytes or `40x` of the full labels; each makes a variant of
            every method that is no control.
        controls: whether `hard`, `soft` and `teacher` join the methods, and random real images
            the image sources.
        set: options by dotted name: `hello.rank`, `rded.factor`, `teacher.epochs`, and
            `recipe.X`, which makes a run off-protocol. (The label source `teacher` has its
            options in brackets.)
    """

    dataset: str
    images: tuple[str, ...] = ("rded",)
    ipc: tuple[int, ...] = (10,)
    methods: tuple[str, ...] = ("hello", "lpqld")
    students: tuple[str, ...] = ("convnet-d3",)
    recipe: str = "standard"
    teacher: str = "resnet18"
    seeds: int = 3
    budgets: tuple[str, ...] = ()
    controls: bool = True
    set: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("images", "ipc", "methods", "students"):
            if not getattr(self, name):
                raise UserError(f"The grid names no {name}.")
        for ipc in self.ipc:
            if ipc < 1:
                raise UserError(f"IPC must be at least 1, got {ipc}.")
        if self.seeds < 1:
            raise UserError(f"seeds must be at least 1, got {self.seeds}.")
        if self.recipe not in RECIPES:
            raise unknown("recipe", self.recipe, RECIPES)

    def of(self, prefix: str) -> dict[str, Any]:
        """The options set for one name: those of `lpqld.k` for `lpqld`."""
        return {
            key.removeprefix(prefix + "."): value
            for key, value in self.set.items()
            if key.startswith(prefix + ".")
        }


@dataclass(frozen=True)
class Variant:
    """A method with the options a user gave it, as text."""

    method: str
    options: tuple[tuple[str, str], ...] = ()
    budget: str | None = None

    @property
    def label(self) -> str:
        """How tables call it: `lpqld[k=4]`, `lpqld[budget=40x]`."""
        budget = [("budget", self.budget)] if self.budget else []
        return self.method + _in_brackets([*self.options, *budget])


@dataclass(frozen=True)
class Cell:
    """One point of the grid.

    Attributes:
        images: an image source as `images_label` writes it.
    """

    images: str
    ipc: int
    variant: Variant
    student: str
    seed: int

    @property
    def label(self) -> str:
        return (
            f"{self.variant.label} on {self.images} IPC {self.ipc}, {self.student}, "
            f"seed {self.seed}"
        )


def cells(grid: Grid) -> Iterator[Cell]:
    """All cells of a grid, those that share images and labels side by side."""
    chosen = variants(grid)
    controls = [parse_variant(text, {}) for text in CONTROLS] if grid.controls else []
    of_random = [v for v in controls if v.method in ("hard", "soft")]
    sources = list(dict.fromkeys(images_label(text) for text in grid.images))
    names = {parse_images(source)[0] for source in sources}
    for ipc in grid.ipc:
        for images in sources:
            unlabelled = parse_images(images)[0] == FOREIGN
            kept = [v for v in controls if not (unlabelled and v.method == "hard")]
            for variant in dict.fromkeys([*chosen, *kept]):
                yield from _of_variant(grid, images, ipc, variant)
        if grid.controls and "random" not in names:
            for variant in of_random:
                yield from _of_variant(grid, "random", ipc, variant)


def variants(grid: Grid) -> list[Variant]:
    """The grid's methods, once for each byte budget if there are any."""
    found = []
    controls = {parse_variant(text, {}) for text in CONTROLS}
    for text in grid.methods:
        method = text.partition("[")[0]
        # `--set teacher.X` is about the teacher's training; the source of that name takes
        # its options in brackets only.
        common = {} if method == "teacher" else grid.of(method)
        variant = parse_variant(text, common)
        if grid.budgets and variant not in controls:
            found += [Variant(method, variant.options, budget) for budget in grid.budgets]
        else:
            found.append(variant)
    return found


def parse_variant(text: str, common: Mapping[str, Any]) -> Variant:
    """`name[option=value,...]` with options common to all variants of the method."""
    match = re.fullmatch(r"([\w.-]+)(?:\[(.*)\])?", text.strip())
    if match is None:
        raise UserError(f"{text!r} is no method: write NAME or NAME[option=value,...].")
    options = {key: str(value) for key, value in common.items()} | _options(match[2], text)
    return Variant(match[1], tuple(sorted(options.items())))


def parse_images(text: str) -> tuple[str, dict[str, str]]:
    """The name of an image source and its options, of `NAME[option=value,...]` or `path:PATH`.

    Raises:
        UserError: it is neither.
    """
    match = re.fullmatch(r"([\w.-]+)(?::(.*?))?(?:\[([^\[\]]*)\])?", text.strip())
    if match is None:
        raise UserError(
            f"{text!r} is no image source: write NAME, NAME[option=value,...] or path:PATH."
        )
    path = {"path": match[2]} if match[2] else {}
    return match[1], path | _options(match[3], text)


def images_label(text: str) -> str:
    """How cells and tables call an image source: its options in brackets, sorted."""
    name, options = parse_images(text)
    path = options.pop("path", "")
    return name + (f":{path}" if path else "") + _in_brackets(sorted(options.items()))


def split_outside_brackets(text: str) -> list[str]:
    """`hello,lpqld[k=2,keep=0.1]` at the commas outside brackets."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", text) if part.strip()]


def budget_bytes(text: str, soft_bytes: int) -> int:
    """Bytes of a budget: a number of bytes, or `40x`, that fraction of the full labels.

    Raises:
        UserError: it is neither.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(x?)", text.strip().replace("_", ""))
    if match is None or float(match[1]) <= 0:
        raise UserError(f"The budget {text!r} is neither a number of bytes nor a ratio like 40x.")
    return int(soft_bytes / float(match[1])) if match[2] else int(float(match[1]))


def read_config(path: Path) -> dict[str, Any]:
    """The values of a TOML grid; nested tables of `set` become dotted names.

    A bare name is one of the grids that ship with the package.

    Raises:
        UserError: no such file, not TOML, or a key that no grid has.
    """
    shipped = {p.stem: p for p in CONFIGS.glob("*.toml")}
    if not path.is_file():
        if str(path) not in shipped:
            raise unknown("config (no such file, and no shipped grid)", str(path), shipped)
        path = shipped[str(path)]
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{str(path)!r} is no TOML file: {error}.") from error
    names = [f.name for f in fields(Grid)]
    for name in values:
        if name not in names:
            raise unknown(f"key of {path.name}", name, names)
    if "set" in values:
        values["set"] = dict(_flatten(values["set"]))
    return values


def make_grid(values: Mapping[str, Any]) -> Grid:
    """A grid from plain values, types checked."""
    if "dataset" not in values:
        raise UserError("The grid names no dataset.")
    plain = {name: value for name, value in values.items() if name != "set"}
    return replace(build(Grid, plain, "grid"), set=dict(values.get("set", {})))


def _options(inside: str | None, text: str) -> dict[str, str]:
    """The options that stand `inside` the brackets of `text`."""
    options = {}
    for part in filter(None, (inside or "").split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise UserError(f"{text!r}: {part!r} is no option; write option=value.")
        options[key.strip()] = value.strip()
    return options


def _in_brackets(options: Iterable[tuple[str, str]]) -> str:
    shown = ",".join(f"{name}={value}" for name, value in options)
    return f"[{shown}]" if shown else ""


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _of_variant(grid: Grid, images: str, ipc: int, variant: Variant) -> Iterator[Cell]:
    for student in grid.students:
        for seed in range(grid.seeds):
            yield Cell(images, ipc, variant, student, seed)
