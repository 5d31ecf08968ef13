"""A comparison's records: lines of its page's table, and the file that the record page reads."""

import json
from typing import Any

from markupsafe import Markup

from ...records.record import Record
from ..columns import Raw
from ..names import label, size
from .boards import Board
from .lines import Line
from .reproduce import reproduce_command
from .svg import said
from .text import brief, clean, record_name

VARIABLE = "labelbenchRecords"  # of the script


def script(board: Board) -> str:
    """All records of a comparison in full, as a script: pages opened from a disk read no JSON."""
    entries = [_entry(board, record, line) for record, line in board.records]
    return f"window.{VARIABLE}={json.dumps(entries, separators=(',', ':'))};\n"


def _entry(board: Board, record: Record, line: Line | None) -> dict[str, Any]:
    again = reproduce_command(record)
    return {
        "name": record_name(record),
        "line": line.number if line is not None else 0,
        "title": line.name if line is not None else record["cell"]["method"],
        "board": board.name,
        "setting": brief(board.setting.title, 300),
        "command": again.command,
        "notes": again.notes,
        "record": record,
    }


def raw(board: Board) -> list[dict[str, Raw]]:
    """The table's lines as numbers."""
    return [
        {
            "images": brief(clean(record["cell"]["images"]), 120),
            "method": brief(clean(record["cell"]["method"]), 200),
            "seed": record["cell"]["seed"],
            "draw": record["cell"]["draw"],
            "accuracy": record["result"]["accuracy"],
            "bytes": record["storage"]["total"],
            "fit (s)": record["result"]["seconds_fit"],
            "training (s)": record["result"]["seconds_train"],
            "commit": brief(clean(record["environment"]["commit"] or ""), 64),
            "counts": line is not None,
            "key": brief(clean(record["key"]), 64),
        }
        for record, line in board.records
    ]


def table_lines(board: Board, colours: dict[str, str]) -> Markup:
    """The table's lines; made here, as a template takes several times as long for thousands."""
    made = []
    for record, line in board.records:
        cell, result, total = record["cell"], record["result"], record["storage"]["total"]
        name = line.name if line is not None else cell["method"]
        at = f' data-line="{line.number}"' if line is not None else ""
        prior = ' data-prior="yes"' if record["prior"] else ""
        note = "" if line is not None else " <small>left out</small>"
        fit, training = result["seconds_fit"], result["seconds_train"]
        where = f"../record.html#?of={board.name}&amp;record={record_name(record)}"
        made.append(
            f'<tr{at} data-images="{said(cell["source"])}" data-bytes="{total}"{prior}>'
            f'<th scope="row"><a class="method" href="{where}" title="{said(cell["method"], 200)}">'
            f'<span class="dot" style="background:{colours[label(cell["method"]).family]}"></span>'
            f"{said(name, 90)}</a>{note}</th>"
            f'<td class="images">{said(cell["images"])}</td><td class="number">{cell["seed"]}</td>'
            f'<td class="number strong" data-sort="{result["accuracy"]}">'
            f"{100 * result['accuracy']:.2f}</td>"
            f'<td class="number" data-sort="{total}" title="{size(total)}">{total:,}</td>'
            f'<td class="number" data-sort="{fit}">{fit:.1f}</td>'
            f'<td class="number" data-sort="{training}">{training:.1f}</td>'
            f"<td><code>{said(record['environment']['commit'] or 'unknown', 24)}</code></td></tr>\n"
        )
    return Markup("".join(made))
