from dataclasses import dataclass, fields
from typing import Annotated, Any

import pytest
import typer
from pydantic.dataclasses import dataclass as checked_dataclass
from typer.testing import CliRunner

from benchmark.api.surroundings import Surroundings
from benchmark.cli.options import takes
from benchmark.core.command import Option, command, options_of
from benchmark.core.errors import UserError
from benchmark.experiment.grid import Grid, make_grid


@checked_dataclass(frozen=True)
class Wider(Grid):
    """A grid with one option more: this is all that it takes."""

    tasters: Annotated[tuple[str, ...], Option("Who tastes: cook[salt=2].", kind="list")] = ()


@dataclass(frozen=True)
class Place:
    loud: Annotated[bool, typer.Option("--loud", help="Speak up.")] = False


def parsed(*words: str, grid: type[Any] = Wider) -> tuple[dict[str, Any], Place]:
    seen: list[Any] = []

    @takes(grid, Place)
    def run(asked: dict[str, Any], place: Place) -> None:
        """Run it."""
        seen.extend((asked, place))

    app = typer.Typer()
    app.command()(run)
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return seen[0], seen[1]


def test_an_option_is_one_definition():
    asked, place = parsed("--tasters", "cook[salt=2,oil=1],guest", "--loud")
    assert asked == {"tasters": ["cook[salt=2,oil=1]", "guest"]}
    assert place.loud
    assert Wider("digits", **asked).tasters == ("cook[salt=2,oil=1]", "guest")
    assert command("run", Wider, asked)[1:] == ["--tasters 'cook[salt=2,oil=1],guest'"]


def test_help_shows_brackets():
    app = typer.Typer()

    @app.command()
    @takes(Wider)
    def run(asked: dict[str, Any]) -> None:
        """Run it."""

    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "Who tastes: cook[salt=2]." in shown
    assert "lpqld[k=4]" in shown


def test_what_was_not_named_is_left_to_the_config():
    asked, place = parsed()
    assert (asked, place.loud) == ({}, False)


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["--no-controls"], {"controls": False}),
        (["--seeds", "4"], {"seeds": 4}),
        (["--ipc", "1,10"], {"ipc": ["1", "10"]}),
        (["--set", "a.b=c=d", "--set", "a.e=1"], {"set": {"a.b": "c=d", "a.e": "1"}}),
        (["--budget", "40x,300"], {"budgets": ["40x", "300"]}),
    ],
)
def test_values_come_back_as_words(words, values):
    asked, _ = parsed(*words, grid=Grid)
    assert asked == values
    spelled = " ".join(command("run", Grid, {**asked, "controls": asked.get("controls")})[1:])
    again, _ = parsed(*spelled.split(), grid=Grid)
    assert {k: v for k, v in again.items() if k != "controls"} == {
        k: v for k, v in values.items() if k != "controls"
    }


def test_pairs_that_are_none():
    with pytest.raises(UserError, match=r"--set takes NAME.OPTION=VALUE, got 'epochs=3'"):
        parsed("--set", "epochs=3", grid=Grid)


def test_every_field_of_a_grid_is_an_option_and_a_key_of_configs():
    assert options_of(Grid).keys() == {field.name for field in fields(Grid)}
    assert all(option.help.endswith(".") for option in options_of(Grid).values())
    with pytest.raises(UserError, match="grid"):
        make_grid({"dataset": "digits", "tasters": ["x"]})


def test_every_surrounding_is_an_option():
    assert len(fields(Surroundings)) >= 12


def test_the_help_of_run_is_whole():
    from benchmark.cli.app import app

    shown = CliRunner().invoke(app, ["run", "--help"], env={"COLUMNS": "200"}).output
    for option in options_of(Grid).values():
        assert f"--{option.name}" in shown
        assert option.help[:30] in shown
    for words in ("lpqld[k=4]", "rded[factor=2]", "labelbench[ray]"):
        assert words in shown
