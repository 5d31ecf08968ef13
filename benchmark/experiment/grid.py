"""The grid: what a run compares, from the command line and TOML files, expanded into cells."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    TypeAdapter,
)
from pydantic.dataclasses import dataclass as checked_dataclass

from ..core import bounded
from ..core.errors import UserError, unknown
from ..data.recipes import RECIPES

CONTROLS = ("hard", "soft", "teacher", "teacher[weights=fp16]", "teacher[weights=int8]")
FOREIGN = "foreign"  # the image source whose images have no labels of their own
CONFIGS = Path(__file__).parent / "configs"
MOST_BYTES = 2**18  # of a config
MOST_DOTS = 200  # of one line
MOST_CELLS = 100_000
DEEPEST = 8  # tables in tables, or dots in a name
BUDGET = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)(x?)")


def _from_text(value: Any) -> Any:
    """A whole number of the command line, where it is one."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,18}", value.strip()):
        return int(value)
    return value


def _value(value: Any) -> Any:
    """An option's value, for whom it belongs to to make sense of."""
    items = value if isinstance(value, list) else [value]
    if len(items) > 1000 or not all(map(_is_plain, items)):
        raise ValueError("must be a short text, a number, true or false, or a list of these")
    return value


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= 4096
    return isinstance(value, int | float) and abs(value) < 2.0**63


Text = Annotated[str, Field(strict=True, min_length=1, max_length=4096)]
Texts = Annotated[tuple[Text, ...], Field(max_length=1000)]
Whole = Annotated[int, Field(strict=True, ge=1, le=1_000_000), BeforeValidator(_from_text)]
Value = Annotated[Any, AfterValidator(_value)]


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
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

    dataset: Text
    images: Texts = ("rded",)
    ipc: Annotated[tuple[Whole, ...], Field(max_length=1000)] = (10,)
    methods: Texts = ("hello", "lpqld")
    students: Texts = ("convnet-d3",)
    recipe: Text = "standard"
    teacher: Text = "resnet18"
    seeds: Whole = 3
    budgets: Texts = ()
    controls: StrictBool = True
    set: Annotated[dict[Text, Value], Field(max_length=1000)] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("images", "ipc", "methods", "students"):
            if not getattr(self, name):
                raise UserError(f"The grid names no {name}.")
        if self.recipe not in RECIPES:
            raise unknown("recipe", self.recipe, RECIPES)
        for budget in self.budgets:
            budget_bytes(budget, 1)
        size = len(self.images) * len(self.ipc) * len(self.students) * self.seeds
        size *= len(self.methods) * max(1, len(self.budgets))
        if size > MOST_CELLS:
            raise UserError(
                f"The grid has {size:,} cells beside controls; at most {MOST_CELLS:,} are valid."
            )

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
    match = BUDGET.fullmatch(text.strip().replace("_", ""))
    if match is None or float(match[1]) <= 0:
        raise UserError(
            f"The budget {bounded.short(text)!r} is neither a number of bytes nor a ratio like 40x."
        )
    return int(soft_bytes / float(match[1])) if match[2] else int(float(match[1]))


def read_config(path: Path) -> dict[str, Any]:
    """The values of a TOML grid; nested tables of `set` become dotted names.

    A bare name is one of the grids that ship with the package.

    Raises:
        UserError: no such file, not TOML, too large or too deep, or a key that no grid has.
    """
    shipped = {p.stem: p for p in CONFIGS.glob("*.toml")}
    if not path.is_file():
        if str(path) not in shipped:
            raise unknown("config (no such file, and no shipped grid)", str(path), shipped)
        path = shipped[str(path)]
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    if len(raw) > MOST_BYTES:
        raise UserError(f"{str(path)!r} is larger than {MOST_BYTES:,} bytes, so no grid.")
    if any(line.count(b".") > MOST_DOTS for line in raw.splitlines()):  # tomllib would take hours
        raise UserError(f"{str(path)!r} has a line with more than {MOST_DOTS} dots, so no grid.")
    try:
        values = tomllib.loads(raw.decode())
    except RecursionError:
        raise UserError(f"{str(path)!r} is no TOML file: nested too deeply.") from None
    except ValueError as error:
        said = bounded.short(str(error), 200)
        raise UserError(f"{str(path)!r} is no TOML file: {said}.") from None
    names = [f.name for f in fields(Grid)]
    for name in values:
        if name not in names:
            raise unknown(f"key of {path.name}", name, names)
    if "set" in values:
        table = bounded.parse(TypeAdapter(dict[str, Any]), values["set"], "grid.set")
        values["set"] = dict(_flatten(table))
    return values


def make_grid(values: Mapping[str, Any]) -> Grid:
    """A grid from plain values, of a config or of the command line.

    Raises:
        UserError: values that are none of a grid.
    """
    if "dataset" not in values:
        raise UserError("The grid names no dataset.")
    return bounded.parse(TypeAdapter(Grid), dict(values), "grid")


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
    if prefix.count(".") > DEEPEST:
        raise UserError(f"Names of options have at most {DEEPEST} dots, not {prefix[:60]!r}...")
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _of_variant(grid: Grid, images: str, ipc: int, variant: Variant) -> Iterator[Cell]:
    for student in grid.students:
        for seed in range(grid.seeds):
            yield Cell(images, ipc, variant, student, seed)
