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

from ..core import bounded, plugins
from ..core.command import Option
from ..core.errors import UserError, unknown
from ..data import recipes

FLOOR, FULL = "floor", "full"  # the controls that also stand on real images
OWN = ("teacher", "recipe")  # whose options `--set` sets under these names, not a plugin's
CONFIGS = Path(__file__).parent / "configs"
MOST_BYTES = 2**18  # of a config
MOST_DOTS = 200  # of one line
MOST_CELLS = 100_000
DEEPEST = 8  # tables in tables, or dots in a name
JOINS = ("teacher", "images", "labels")  # that `--accept` lets through
BUDGET = re.compile(r"(\d{1,18}(?:\.\d{1,18})?) ?(x|[kKMG]i?B|B)?")
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}  # by their names in capitals
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


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
        budgets: byte budgets, as bytes, `10kB` or `40x` of the full labels; each makes a variant of
            every method that is no control.
        controls: whether the methods that declare themselves controls join the others, and real
            images the image sources.
        accept: joins that are let through though they disagree; see `benchmark.models.joins`.
        set: options by dotted name: `hello.rank`, `rded.factor`, `teacher.epochs`, and
            `recipe.X`, which makes a run off-protocol. (A method called `teacher` has its
            options in brackets.)
    """

    dataset: Annotated[Text, Option("A dataset; some take a part or place: NAME:ARGUMENT.")]
    images: Annotated[
        Texts, Option("Image sources, as methods: rded[factor=2]; or path:PATH.", kind="list")
    ] = ("rded",)
    ipc: Annotated[
        tuple[Whole, ...], Field(max_length=1000), Option("Images per class.", kind="list")
    ] = (10,)
    methods: Annotated[
        Texts, Option("Comma-separated; options in brackets: lpqld[k=4].", kind="list")
    ] = ("hello", "lpqld")
    students: Annotated[Texts, Option("Networks, comma-separated.", kind="list")] = ("convnet-d3",)
    recipe: Annotated[Text, Option("How students are trained.")] = "rded"
    teacher: Annotated[
        Text,
        Option("NETWORK to train, NETWORK:FILE, NETWORK:hf:OWNER/NAME, or timm:NAME:pretrained."),
    ] = "resnet18"
    seeds: Annotated[Whole, Option("Students a cell.", kind="number")] = 3
    budgets: Annotated[
        Texts,
        Option("Byte budgets: 4096, 10kB, 2MiB, or 40x of the full labels.", "budget", "list"),
    ] = ()
    controls: Annotated[
        StrictBool, Option("Also run the controls, and real images.", kind="flag")
    ] = True
    accept: Annotated[
        Texts,
        Option("Joins let through though they disagree: teacher, images, labels.", kind="list"),
    ] = ()
    set: Annotated[
        dict[Text, Value],
        Field(max_length=1000),
        Option("NAME.OPTION=VALUE; repeatable.", kind="pairs"),
    ] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("images", "ipc", "methods", "students"):
            if not getattr(self, name):
                raise UserError(f"The grid names no {name}.")
        recipes.require(self.recipe)
        for budget in self.budgets:
            budget_bytes(budget, 1)
        for join in self.accept:
            if join not in JOINS:
                raise unknown("join to accept", join, JOINS)
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
        """The cell in a line, for progress and errors."""
        return (
            f"{self.variant.label} on {self.images} IPC {self.ipc}, {self.student}, "
            f"seed {self.seed}"
        )


def cells(grid: Grid) -> Iterator[Cell]:
    """All cells of a grid, those that share images and labels side by side."""
    chosen, sources = variants(grid), plugins.found(plugins.IMAGES)
    asked = list(dict.fromkeys(images_label(text) for text in grid.images))
    known = controls() if grid.controls else {}
    baselines = [name for name, plugin in sources.items() if plugin.literal("baseline", False)]
    for ipc in grid.ipc:
        for images in asked:
            source = sources.get(parse_images(images)[0])
            labelled = source is None or source.literal("labelled", True)
            kept = [v for v, role in known.items() if labelled or role != FLOOR]
            for variant in dict.fromkeys([*chosen, *kept]):
                yield from _of_variant(grid, images, ipc, variant)
        if known and not {parse_images(images)[0] for images in asked} & {*baselines}:
            for baseline in baselines:
                for variant, role in known.items():
                    if role in (FLOOR, FULL):
                        yield from _of_variant(grid, baseline, ipc, variant)


def controls() -> dict["Variant", str]:
    """The forms of methods that declare themselves controls, and which end each marks."""
    found = {}
    for name, plugin in plugins.found(plugins.METHODS).items():
        if role := plugin.literal("control", None):
            for form in plugin.literal("control_forms", ("",)):
                found[parse_variant(f"{name}[{form}]", {})] = role
    return found


def variants(grid: Grid) -> list[Variant]:
    """The grid's methods, once for each byte budget if there are any."""
    found = []
    known = controls()
    for text in grid.methods:
        method = text.partition("[")[0]
        # `--set teacher.X` is about the teacher's training; a method of that name takes its
        # options in brackets only.
        common = {} if method in OWN else grid.of(method)
        variant = parse_variant(text, common)
        if grid.budgets and variant not in known:
            found += [Variant(method, variant.options, budget) for budget in grid.budgets]
        else:
            found.append(variant)
    return found


def set_for_nothing(grid: Grid, asked: Iterable[str]) -> list[str]:
    """Those of some options that are of methods and image sources which no cell has."""
    chosen = list(cells(grid))
    here = {cell.variant.method for cell in chosen}
    here |= {parse_images(cell.images)[0] for cell in chosen}
    known = {*plugins.found(plugins.METHODS), *plugins.found(plugins.IMAGES)} - {*OWN}
    return [key for key in asked if key.partition(".")[0] in known - here]


def parse_variant(text: str, common: Mapping[str, Any]) -> Variant:
    """`name[option=value,...]` with options common to all variants of the method."""
    match = re.fullmatch(r"([\w.-]+)(?:\[(.*)\])?", text.strip())
    if match is None:
        raise UserError(f"{text!r} is no method: write NAME or NAME[option=value,...].")
    options = {key: str(value) for key, value in common.items()} | _options(match[2], text)
    return Variant(match[1], tuple(sorted(options.items())))


def parse_images(text: str) -> tuple[str, str, dict[str, str]]:
    """An image source's name, what stands after a colon, and the options in brackets.

    Raises:
        UserError: it is no `NAME[option=value,...]` or `NAME:ARGUMENT[option=value,...]`.
    """
    match = re.fullmatch(r"([\w.-]+)(?::(.*?))?(?:\[([^\[\]]*)\])?", text.strip())
    if match is None:
        raise UserError(
            f"{text!r} is no image source: write NAME, NAME:ARGUMENT, or either with "
            "[option=value,...]."
        )
    return match[1], match[2] or "", _options(match[3], text)


def images_label(text: str) -> str:
    """How cells and tables call an image source: its options in brackets, sorted.

    The option that may stand after a colon does.

    Raises:
        UserError: that option is given twice.
    """
    name, argument, options = parse_images(text)
    plugin = plugins.found(plugins.IMAGES).get(name)
    option = plugin.literal("argument", "") if plugin is not None else ""
    if option in options:
        if argument:
            raise UserError(f"{text!r} gives {option} twice: after the colon, and in brackets.")
        argument = options.pop(option)
    return written_images(name, argument, options)


def written_images(name: str, argument: str, options: Mapping[str, str]) -> str:
    """An image source as `parse_images` reads it."""
    return name + (f":{argument}" if argument else "") + _in_brackets(sorted(options.items()))


def budget_bytes(text: str, soft_bytes: int) -> int:
    """Bytes of a budget: a number of bytes, `10kB` (10,000), `10KiB` (10,240), or `40x`.

    `40x` is that fraction of the full labels. Units go up to GB and GiB; 0 is a budget as well.

    Raises:
        UserError: it is neither.
    """
    match = BUDGET.fullmatch(text.strip().replace("_", ""))
    if match is None or (match[2] == "x" and float(match[1]) == 0):
        raise UserError(
            f"The budget {bounded.short(text)!r} is neither a number of bytes nor a ratio like "
            "40x; bytes may have a unit: 10kB, 2MiB."
        )
    if match[2] == "x":
        return int(soft_bytes / float(match[1]))
    return int(float(match[1]) * UNITS[(match[2] or "B").upper()])


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
