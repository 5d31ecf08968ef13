"""The command that measures a record again."""

import shlex
from dataclasses import dataclass

from ...core.command import command
from ...experiment.grid import Grid
from ...records.record import Record
from ..names import label

BUDGET = "budget="  # as tables write a byte budget


@dataclass(frozen=True)
class Reproduction:
    """How to measure a record again.

    Attributes:
        command: for a shell, one line or several.
        notes: what the command cannot promise.
    """

    command: str
    notes: tuple[str, ...]


def reproduce_command(record: Record) -> Reproduction:
    """The command of one record, with what it needs beside."""
    cell, inputs = record["cell"], record["inputs"]
    commit = record["environment"]["commit"] or ""
    parts = label(cell["method"])
    options = ",".join(o for o in parts.options if not o.startswith(BUDGET))
    asked = {
        "dataset": cell["dataset"],
        "images": [cell["images"]],
        "ipc": [cell["ipc"]],
        "methods": [parts.family + (f"[{options}]" if options else "")],
        "budgets": [o.removeprefix(BUDGET) for o in parts.options if o.startswith(BUDGET)],
        "students": [cell["student"]],
        "recipe": cell["recipe"].removesuffix(" (changed)"),
        "teacher": cell["teacher"],
        "seeds": cell["seed"] + 1,
        "accept": inputs.get("accepted", []),
        "set": inputs.get("set", {}),
    }
    lines = command("python -m benchmark run --no-controls", Grid, asked)
    world = {"precision": record["precision"], "device": record["world"]["device"]}
    lines += [f"--{name} {shlex.quote(value)}" for name, value in world.items()]
    first = f"git checkout {shlex.quote(commit.removesuffix('-dirty'))}\n" if commit else ""
    return Reproduction(first + " \\\n    ".join(lines), tuple(_notes(record, commit)))


def _notes(record: Record, commit: str) -> list[str]:
    cell, chosen = record["cell"], record["inputs"].get("set", {})
    notes = []
    if cell["seed"]:
        notes.append(f"It measures seeds 0 to {cell['seed']}; this record is the last of them.")
    if not commit:
        notes.append("Approximate: the record does not name the commit it was measured at.")
    elif commit.endswith("-dirty"):
        notes.append("Approximate: the tree had changes that the commit does not hold.")
    if not record["on_protocol"] and not any(name.startswith("recipe.") for name in chosen):
        notes.append(
            "Approximate: the recipe was changed, and the record does not say by which options; "
            "compare it with the recipe below."
        )
    if any(":" in cell[name] for name in ("teacher", "images", "dataset")):
        notes.append(
            "A name with a colon may be of a file or folder; bring the same one. Its content "
            "counts, not its place."
        )
    notes.append(
        "Real data are found with --data-root. Other versions of libraries, and other hardware, "
        "may give other figures."
    )
    return notes
