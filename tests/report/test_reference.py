from pathlib import Path
from typing import Any

import pytest
from synthetic import record

from benchmark.core.command import split_outside_brackets
from benchmark.data import recipes
from benchmark.data.recipe_source import RecipeSetting
from benchmark.experiment.grid import cells, make_grid, read_config
from benchmark.experiment.reference import accuracies, storage
from benchmark.report.reference import as_markdown, ledger, of_cell

DIFFER = {
    "SRe2L's full labels, ImageNet-1K, IPC 200",
    "LPLD 40x, ImageNet-1K, IPC 200",
    "Full labels, ImageNet-21K, IPC 10",
    "Full labels, ImageNet-21K, IPC 20",
    "LPLD 40x, ImageNet-21K, IPC 10",
    "LPLD 40x, ImageNet-21K, IPC 20",
    "LPQLD's 500x, ImageNet-21K (MR-400 of a fortieth)",
}


def test_all_sizes_are_met_but_those_that_have_a_cause():
    lines = [line for line in ledger([]) if line.kind == "storage"]
    assert len(lines) >= 30
    assert {line.name for line in lines if line.verdict != "met"} == DIFFER
    assert all(line.cause for line in lines if line.verdict == "differs")
    assert sum("LPQLD" in cell.claim.name and cell.met for cell in storage()) >= 17


def test_without_records_accuracies_are_owed_with_their_commands():
    lines = [line for line in ledger([]) if line.kind == "accuracy"]
    assert {line.verdict for line in lines} == {"owed"}
    assert all(line.command.startswith("python -m benchmark run --config ") for line in lines)
    assert "Owed, with the commands" in as_markdown(lines)


def ours(values, **names):
    named: dict[str, Any] = {**accuracies()[1].record, **names}
    method, source = named.pop("method"), named.pop("source")
    return [
        record(method, accuracy=accuracy, images=f"{source}[draw={draw}]", **named)
        for draw, accuracy in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("accuracy", "verdict"), [(0.50, "met"), (0.53, "met"), (0.48, "met"), (0.54, "differs")]
)
def test_an_accuracy_is_met_within_its_width(accuracy, verdict):
    found = ledger(ours([accuracy - 0.01, accuracy, accuracy + 0.01]))[1]
    assert (found.verdict, found.n) == (verdict, "3")
    assert found.ours.startswith(f"{100 * accuracy:.1f} ± 2.5")


def test_records_of_other_cells_do_not_count():
    cell = accuracies()[1]
    assert len(of_cell(cell, ours([0.5, 0.6]))) == 2
    assert not of_cell(cell, ours([0.5], ipc=50))
    changed = ours([0.5])
    changed[0]["on_protocol"] = False
    assert not of_cell(cell, changed)


@pytest.mark.parametrize("cell", accuracies(), ids=lambda cell: cell.name)
def test_a_command_measures_the_cells_it_is_named_for(cell):
    words = dict(zip(cell.run[::2], cell.run[1::2], strict=False))
    values = read_config(Path(words.pop("--config")))
    given = {name.removeprefix("--"): text for name, text in words.items()}
    if "--no-controls" in cell.run:
        values["controls"] = False
    for name in ("images", "methods"):
        if name in given:
            values[name] = split_outside_brackets(given[name])
    if "ipc" in given:
        values["ipc"] = [int(given["ipc"])]
    values["recipe"] = given.get("recipe", values["recipe"])
    found = list(cells(make_grid(values)))
    assert {c.variant.label for c in found} == {cell.record["method"]}
    assert {c.ipc for c in found} == {cell.record["ipc"]}
    assert {c.student for c in found} == {cell.record["student"]}
    assert {c.images.partition("[")[0] for c in found} == {cell.record["source"]}
    assert values["recipe"] == cell.record["recipe"]
    recipes.make(values["recipe"], RecipeSetting(10, 10, 32))
