"""`run`: measure a grid of cells, and show what it came to."""

from typing import Any

import typer

from ..api.measure import measured
from ..api.results import Results
from ..api.surroundings import Surroundings
from ..core import progress
from ..core.errors import UserError
from ..experiment.grid import Grid
from .options import takes
from .showing import Showing, show_json, show_tables, width


@takes(Grid, Surroundings, Showing)
def run(asked: dict[str, Any], at: Surroundings, showing: Showing) -> None:
    """Train students on each method's labels, record what they reach, print the tables.

    Without --config and --dataset, runs the quick start: real 8x8 digits, in about a minute or
    two on a laptop.
    """
    with progress.quiet(showing.quiet):
        results = measured(asked, at)
        from ..core import ranks  # with torch, which wrong words need not wait for

        if at.dry_run:
            _show_plan(results, showing)
        elif ranks.leads():
            show(results, at, showing)


def show(results: Results, at: Surroundings, showing: Showing) -> None:
    """Print and write the tables of a run, and their site.

    Raises:
        UserError: cells failed, or something could not be written to the work folder's URL.
    """
    from ..core.remote import shown
    from ..experiment.run_cell import FAILURES, RECORDS
    from ..records import measurements
    from ..report.leaderboard import tables
    from ..report.site import write_site
    from ..report.tables import as_json, write_tables

    made, work, place = results.comparisons, at.folder, shown(at.work)
    if showing.json:
        show_json({**as_json(made), **_told(results), "records": results.records})
    else:
        show_tables(tables(made), showing.wide)
    with progress.stage("tables", str(work / "tables"), aloud=False):
        written = write_tables(made, work / "tables")[0]
    progress.say(f"records: {place}/{RECORDS}, tables: {written}")
    with progress.stage("site", str(work / "site"), aloud=False):
        site = write_site(made, work / "site", timed=measurements.read([work]))
    progress.say(f"site: {site}")
    for failure in results.failures if showing.verbose else ():
        progress.say(f"{failure.cell}:\n{failure.traceback}")
    if results.failures:
        told = " ".join(dict.fromkeys(failure.message for failure in results.failures))
        raise UserError(
            f"{len(results.failures)} of {len(results.cells)} cells failed "
            f"(see {place}/{FAILURES}): {told} {results.unsaved}".rstrip()
        )
    if results.unsaved:
        raise UserError(results.unsaved)


def _told(results: Results) -> dict[str, Any]:
    """What there is of a run beside records."""
    return {
        "cells": results.cells,
        "missing": results.missing,
        "left_out": results.left_out,
        "failures": results.failures,
    }


def _show_plan(results: Results, showing: Showing) -> None:
    """What is there, and what a run would make: stages by kind and method, or all cells."""
    if showing.json:
        show_json({**_told(results), "plan": results.plan})
        return
    from ..report.plan_table import plan_table

    typer.echo(plan_table(results.plan, width(showing.wide)))
    if showing.verbose:
        for cell in results.cells:
            typer.echo(f"{'missing' if cell in results.missing else 'cached '}  {cell}")
