"""The command line. Nothing here imports torch until a command needs it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..core.errors import UserError
from . import labels

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Compare ways of compressing the soft labels of distilled datasets.",
)

app.add_typer(labels.app, name="labels")

Plugins = Annotated[
    list[Path] | None, typer.Option("--plugin", help="A Python file with a method; repeatable.")
]
Records = Annotated[
    list[Path] | None, typer.Argument(help="Record files and folders; results if none.")
]


@app.command()
def run(
    methods: Annotated[
        str | None, typer.Option(help="Comma-separated; options in brackets: lpqld[k=4].")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="A dataset, or parquet:PATH.")] = None,
    images: Annotated[
        str | None, typer.Option(help="Image sources, as methods: rded[factor=2]; or path:PATH.")
    ] = None,
    base_images: Annotated[
        str | None,
        typer.Option(help="A dataset whose images get this one's labels; comma-separated."),
    ] = None,
    ipc: Annotated[str | None, typer.Option(help="Images per class, comma-separated.")] = None,
    students: Annotated[str | None, typer.Option(help="Networks, comma-separated.")] = None,
    recipe: Annotated[str | None, typer.Option(help="How students are trained.")] = None,
    teacher: Annotated[
        str | None, typer.Option(help="NETWORK to train, NETWORK:FILE, or timm:NAME:pretrained.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Students a cell.")] = None,
    budget: Annotated[
        str | None, typer.Option(help="Byte budgets: bytes, or 40x of the full labels.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="NAME.OPTION=VALUE; repeatable.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML grid, or the name of a shipped one (see list).")
    ] = None,
    controls: Annotated[
        bool, typer.Option(help="Also run hard, soft, teacher, and random real images.")
    ] = True,
    plugin: Plugins = None,
    data_root: Annotated[
        Path | None, typer.Option(envvar="LABELBENCH_DATA", help="Where real datasets lie.")
    ] = None,
    download: Annotated[
        bool, typer.Option("--download", help="Let torchvision fetch into the data root.")
    ] = False,
    work: Annotated[
        Path, typer.Option(file_okay=False, help="Folder of stages, records and tables.")
    ] = Path("runs"),
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto takes CUDA where it is.")
    ] = "auto",
    precision: Annotated[
        Literal["auto", "fp32", "bf16"], typer.Option(help="auto: bf16 on CUDA, fp32 on the CPU.")
    ] = "auto",
    shard: Annotated[
        str | None, typer.Option(help="I/N: only every N-th cell from the I-th (from 0).")
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="ray needs labelbench[ray].")
    ] = "local",
    batched: Annotated[
        int,
        typer.Option(
            min=1,
            help="Base sets whose labels are learned side by side, where memory allows (a GPU's).",
        ),
    ] = 1,
    force: Annotated[bool, typer.Option("--force", help="Measure finished cells anew.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is cached and missing, and stop.")
    ] = False,
) -> None:
    """Train students on each method's labels, record what they reach, print the tables.

    Without --config and --dataset, runs the quick start: real 8x8 digits, in about a minute or
    two on a laptop.
    """
    from ..core import plugins
    from ..experiment import grid as grids

    for path in plugin or ():
        plugins.add_plugin(path)
    values: dict[str, Any] = {}
    if config is not None:
        values = grids.read_config(config)
    elif dataset is None:
        values = grids.read_config(Path("quick"))
    foreign = [f"{grids.FOREIGN}[dataset={name}]" for name in _split(base_images) or ()]
    given = {
        "dataset": dataset,
        "images": [*(_split(images) or ()), *foreign] or None,
        "ipc": _split(ipc),
        "students": _split(students),
        "recipe": recipe,
        "teacher": teacher,
        "seeds": seeds,
        "budgets": _split(budget),
        "methods": _split(methods),
    }
    values |= {name: value for name, value in given.items() if value is not None}
    if not controls:
        values["controls"] = False
    values["set"] = {**values.get("set", {}), **dict(_assignment(text) for text in set_ or ())}
    grid = grids.make_grid(values)
    cells = list(grids.cells(grid))
    for cell in cells:
        if cell.variant.method not in plugins.methods():
            raise plugins.unknown("method", cell.variant.method, plugins.methods())
    chosen = _shard(cells, shard)

    from ..core.device import choose
    from ..experiment import run_grid
    from ..experiment.dataset_and_teacher import Runtime
    from ..experiment.stages import Experiment

    runtime = Runtime(work, choose(device, precision), data_root, download, force, batched)
    execute = None
    if executor == "ray":
        if batched > 1:
            raise UserError(
                "--batched learns labels in one process, which --executor ray has many of: "
                f"leave out --batched {batched}, or the executor."
            )
        try:
            from ..experiment.on_ray import execute
        except ModuleNotFoundError as error:
            raise UserError(
                f"--executor ray needs ray ({error}): pip install 'labelbench[ray]'."
            ) from error
    run_grid.run(
        Experiment(grid, runtime), chosen, dry_run, lambda made: _show_tables(made, work), execute
    )


@app.command(name="list")
def list_() -> None:
    """Show methods, datasets, image sources, networks, recipes and shipped grids."""
    from ..core import plugins
    from ..data.recipes import RECIPES
    from ..experiment.grid import CONFIGS
    from ..models import networks

    def section(title: str, rows: dict[str, str]) -> None:
        typer.echo(f"\n{title}")
        width = max(map(len, rows), default=0)
        for name, text in rows.items():
            typer.echo(f"  {name:<{width}}  {text}")

    def of_files(found: dict[str, Any]) -> dict[str, str]:
        return {name: plugins.summary(where) for name, where in found.items()}

    section("methods (--methods)", of_files(plugins.methods()))
    section("datasets (--dataset)", of_files(plugins.datasets()))
    section("image sources (--images)", of_files(plugins.image_sources()))
    section("students and teachers (--students, --teacher)", networks.names())
    section(
        "recipes (--recipe)",
        {name: _in_words(recipe) for name, recipe in RECIPES.items()},
    )
    grids = {path.stem: path for path in sorted(CONFIGS.glob("*.toml"))}
    first = {n: p.read_text(encoding="utf-8").partition("\n")[0] for n, p in grids.items()}
    section("grids (--config)", {n: line.lstrip("# ") for n, line in first.items()})


@app.command()
def check(
    name: Annotated[str, typer.Argument(help="A method.")],
    plugin: Plugins = None,
) -> None:
    """Hold a method against the contract, on a tiny real task on the CPU, in seconds."""
    from ..core import plugins

    for path in plugin or ():
        plugins.add_plugin(path)
    if name not in plugins.methods():
        raise plugins.unknown("method", name, plugins.methods())
    from ..experiment.conformance.method import check_method

    failures = 0
    for title, problem in check_method(name):
        typer.echo(f"{'ok    ' if problem is None else 'FAILED'} {title}")
        if problem is not None:
            failures += 1
            typer.echo(f"       {problem}")
    if failures:
        typer.echo(f"{name}: {failures} checks failed.")
        raise typer.Exit(1)
    typer.echo(f"{name} keeps the contract.")


@app.command()
def leaderboard(
    records: Records = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write tables (Markdown, CSV, LaTeX, JSON), pictures and the site here.",
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Print the leaderboards of records; with --out, also publish them in a folder."""
    from ..records.comparison import comparisons
    from ..report.leaderboard import tables

    found = comparisons(_read(records))
    for table in tables(found):
        typer.echo(table.text())
    if out is not None:
        from ..report import curves, frontier
        from ..report.site import write_site
        from ..report.tables import write_tables

        drawn = [*frontier.draw(found, out), *curves.draw(found, out)]
        shown = [path for path in drawn if path.suffix == ".png"]
        for path in [*write_tables(found, out, shown), *drawn, write_site(found, out / "site")]:
            typer.echo(f"wrote {path}")


@app.command()
def compare(
    first: Annotated[
        str, typer.Argument(metavar="A", help="A method as tables call it, or IMAGES/METHOD.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    records: Records = None,
) -> None:
    """Say whether method A beats method B, in every comparison that holds both.

    `rded/lpqld` is lpqld on the image source rded. Without IMAGES a method is taken on the images
    of the other one, or on all that have both.
    """
    from ..records.comparison import comparisons
    from ..report.compare import pairs_of

    found = pairs_of(comparisons(_read(records)), first, second)
    for pair in found:
        typer.echo(pair.text())
    typer.echo(
        "A difference is shown if a paired t test over repeats and one over test images both find "
        f"it at 5 %, corrected for the {len(found)} above by Benjamini and Hochberg."
    )


@app.command()
def verify(
    paths: Annotated[list[Path], typer.Argument(help="Record files and folders.")],
) -> None:
    """Check records before they are published: each whole, rows and controls complete."""
    report = _verified(paths)
    if report.problems:
        typer.echo(f"{report.count} records: {len(report.problems)} problems")
        raise typer.Exit(1)
    typer.echo(f"{report.count} records: complete")


@app.command()
def collect(
    paths: Annotated[list[Path], typer.Argument(metavar="RECORDS", help="Files and folders.")],
    to: Annotated[Path, typer.Option(help="results/NAME.jsonl; made, or added to.")],
) -> None:
    """Add the records of runs, of several machines too, to a collection that can be published.

    They are verified first. One that the collection already holds is passed over; nothing is
    written if any record is wrong, or differs from the one of its key and world there.
    """
    from ..records.collection import collect as gather

    report = _verified(paths)
    if report.problems:
        raise UserError(f"Nothing was collected: {len(report.problems)} problems.")
    added, count = gather(paths, to)
    typer.echo(f"{to}: {added} records added, {count} in all")


@app.command()
def ship(
    record: Annotated[Path, typer.Argument(help="A record of this work folder.")],
    to: Annotated[Path, typer.Argument(help="A new folder for `labels/` and `images/`.")],
    work: Annotated[Path, typer.Option(help="Folder of stages.")] = Path("runs"),
) -> None:
    """Copy a record's artefact and images into a folder that can be given away."""
    from ..exchange.shipping import ship as copy

    copy(record, to, work)
    typer.echo(f"wrote {to / 'labels'} and {to / 'images'}")


def _show_tables(made: list[Any], work: Path) -> None:
    """Print and write the tables of a run, and their site."""
    from ..core.progress import say
    from ..experiment.run_cell import RECORDS
    from ..report.leaderboard import tables
    from ..report.site import write_site
    from ..report.tables import write_tables

    for table in tables(made):
        print(table.text())
    say(f"records: {work / RECORDS}, tables: {write_tables(made, work / 'tables')[0]}")
    say(f"site: {write_site(made, work / 'site')}")


def _verified(paths: list[Path]) -> Any:
    """The report on these records, shown."""
    from ..report.verify import verify_records

    report = verify_records(paths)
    for line in report.warnings:
        typer.echo(f"warning: {line}")
    for line in report.problems:
        typer.echo(f"problem: {line}")
    return report


def _read(paths: list[Path] | None) -> list[Any]:
    """The records at these paths, or the published ones."""
    from ..records.store import read

    paths = paths or [Path("results")]
    found = read(paths)
    if not found:
        raise UserError(f"There are no records in {', '.join(map(str, paths))}.")
    return found


def _in_words(recipe: Any) -> str:
    objective = recipe.objective
    loss = "mse" if objective.loss == "mse" else f"kl at T={objective.temperature:g}"
    parts = [
        f"at most {recipe.steps} steps" if recipe.steps else f"{recipe.epochs} epochs",
        f"batch {recipe.batch_size}",
        f"{recipe.optimiser} {recipe.lr:g}" + (" constant" * (recipe.schedule == "constant")),
        recipe.augmentation.mix,
        loss + (f" + {objective.ce_weight:g} ce" if objective.ce_weight else ""),
        *(["steps chosen on held-out images"] if recipe.stop == "held-out" else []),
        *(["ridge evaluator"] if recipe.evaluator == "ridge" else []),
    ]
    return ", ".join(parts)


def _split(text: str | None) -> list[str] | None:
    from ..experiment.grid import split_outside_brackets

    return None if text is None else split_outside_brackets(text)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or "." not in name:
        raise UserError(f"--set takes NAME.OPTION=VALUE, got {text!r}.")
    return name.strip(), value.strip()


def _shard(cells: list[Any], shard: str | None) -> list[Any]:
    if shard is None:
        return cells
    number, _, count = shard.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise UserError(f"--shard takes I/N with 0 <= I < N, got {shard!r}.")
    return cells[int(number) :: int(count)]
