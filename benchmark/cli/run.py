"""`run`: measure a grid of cells, and show what it came to."""

from typing import Any

import typer

from ..api.measure import measured
from ..api.results import Results
from ..api.surroundings import Surroundings
from ..core.errors import UserError
from ..experiment.grid import Grid
from .options import takes


@takes(Grid, Surroundings)
def run(asked: dict[str, Any], at: Surroundings) -> None:
    """Train students on each method's labels, record what they reach, print the tables.

    Without --config and --dataset, runs the quick start: real 8x8 digits, in about a minute or
    two on a laptop.
    """
    from ..core import ranks

    results = measured(asked, at)
    if at.dry_run:
        for cell in results.cells:
            typer.echo(f"{'missing' if cell in results.missing else 'cached '}  {cell}")
        return
    if ranks.leads():
        show(results, at)


def show(results: Results, at: Surroundings) -> None:
    """Print and write the tables of a run, and their site.

    Raises:
        UserError: cells failed, or something could not be written to the work folder's URL.
    """
    from ..core.progress import say
    from ..core.remote import shown
    from ..experiment.run_cell import FAILURES, RECORDS
    from ..records import measurements
    from ..report.leaderboard import tables
    from ..report.site import write_site
    from ..report.tables import write_tables

    made, work, place = results.comparisons, at.folder, shown(at.work)
    for table in tables(made):
        typer.echo(table.text())
    say(f"records: {place}/{RECORDS}, tables: {write_tables(made, work / 'tables')[0]}")
    say(f"site: {write_site(made, work / 'site', timed=measurements.read([work]))}")
    if results.failures:
        told = " ".join(dict.fromkeys(failure.message for failure in results.failures))
        raise UserError(
            f"{len(results.failures)} of {len(results.cells)} cells failed "
            f"(see {place}/{FAILURES}): {told} {results.unsaved}".rstrip()
        )
    if results.unsaved:
        raise UserError(results.unsaved)
