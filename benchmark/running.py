"""Running a grid: what is cached, what is missing, what it will take; then cell after cell."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict

import torch
import torch.nn.functional as F

from . import leaderboard, measuring, networks, publishing, records
from .comparison import comparisons
from .errors import UserError
from .grid import Cell
from .pipeline import Pipeline
from .progress import say
from .together import Failures, prepare
from .training import Schedule


def run(
    pipeline: Pipeline,
    cells: list[Cell],
    dry_run: bool,
    execute: Callable[[Pipeline, list[Cell]], Failures] | None = None,
) -> None:
    """Measure all missing cells, then print and write the tables of all, and their site.

    Args:
        execute: measures cells elsewhere than in this process, as `measure` does here.

    Raises:
        UserError: a name or option is wrong (before anything is made), or cells failed.
    """
    from .site import publish as publish_site

    pipeline.check(cells)
    force = pipeline.runtime.force
    missing = [c for c in cells if force or not measuring.record_path(pipeline, c).exists()]
    say(
        f"{len(cells)} cells: {len(cells) - len(missing)} cached, {len(missing)} to run"
        f"{estimate(pipeline, missing)}"
    )
    for line in dict.fromkeys(filter(None, (bought(pipeline, cell) for cell in cells))):
        say(line)
    if dry_run:
        for cell in cells:
            print(f"{'missing' if cell in missing else 'cached '}  {cell.label}")
        return
    failed = (execute or measure)(pipeline, missing)
    paths = [path for c in cells if (path := measuring.record_path(pipeline, c)).exists()]
    absent = [
        measuring.names(pipeline, c)
        for c in cells
        if not measuring.record_path(pipeline, c).exists()
    ]
    found = comparisons(records.read(paths), absent)
    for table in leaderboard.tables(found):
        print(table.text())
    work = pipeline.runtime.work
    written = publishing.publish(found, work / "tables")
    say(f"records: {work / measuring.RECORDS}, tables: {written[0]}")
    say(f"site: {publish_site(found, work / 'site')}")
    if failed:
        raise UserError("; ".join(f"{cell.label}: {error}" for cell, error in failed))


def bought(pipeline: Pipeline, cell: Cell) -> str:
    """What a method chose to meet its byte budget; empty without one."""
    variant = cell.variant
    if variant.budget is None:
        return ""
    chosen = asdict(pipeline.options(variant, cell.ipc))
    plain = asdict(pipeline.asked(variant))
    changed = [f"{name}={value}" for name, value in chosen.items() if value != plain[name]]
    return f"{variant.label} at IPC {cell.ipc} chose {', '.join(changed) or 'its defaults'}"


def measure(pipeline: Pipeline, missing: list[Cell]) -> Failures:
    """Measure cell after cell; returns those that failed, the others go on.

    A cell that another run is at work on is left for later.
    """
    torch.set_flush_denormal(True)  # vanishing weights slow a CPU down twentyfold
    failed = prepare(pipeline, missing)
    lost = dict(failed)
    waiting = [cell for cell in missing if cell not in lost]
    done, wait = len(failed), False
    while waiting:
        busy = []
        for cell in waiting:
            started = time.monotonic()
            try:
                if not measuring.run(pipeline, cell, wait):
                    busy.append(cell)
                    continue
            except UserError as error:
                failed.append((cell, error))
                say(f"failed: {cell.label}: {error}")
            done += 1
            say(f"[{done}/{len(missing)}] {cell.label}: {time.monotonic() - started:.1f} s")
        waiting, wait = busy, True
    return failed


def estimate(pipeline: Pipeline, missing: Iterable[Cell]) -> str:
    """What the missing cells take at least: the bare steps of their students, timed here."""
    seconds = 0.0
    dataset, compute = pipeline.dataset, pipeline.runtime.compute
    images = dataset.train
    for (student, ipc), count in Counter((c.student, c.ipc) for c in missing).items():
        plan = pipeline.plan(ipc)
        network = networks.create(
            student, len(dataset.class_names), images.channels, images.resolution
        ).to(compute.device)
        optimiser, _ = Schedule(1, 1).build(network)
        batch = plan.sizes()[0]
        pixels = torch.rand(batch, images.channels, images.resolution, images.resolution)
        pixels = pixels.to(compute.device)
        for repeat in range(4):
            if repeat == 1:  # the first one warms up
                compute.wait()
                started = time.perf_counter()
            with compute.autocast():
                logits = network(pixels)
            loss = F.cross_entropy(logits.float(), logits.argmax(1))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        compute.wait()
        seconds += (time.perf_counter() - started) / 3 * plan.steps * count
    if not seconds:
        return ""
    return f"; students' bare steps take about {seconds / 60:.1f} min, labels and tests on top"
