"""What commands show: JSON alone, little, which version, help as it is meant, completion."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.text import Text
from tiny import run_main, run_tiny

from benchmark.cli import describing
from benchmark.cli.app import app

RESULTS = Path(__file__).parents[2] / "results" / "digits-quick.jsonl"


def commands(found: Any = None, path: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
    """Every command with its words."""
    found = found or typer.main.get_command(app)
    inner = getattr(found, "commands", None)
    if inner is None:
        return [(" ".join(path), found)]
    return [each for name, below in inner.items() for each in commands(below, (*path, name))]


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_is_written(name):
    """Markup would take `[k=4]` for a style and leave it out."""
    found = COMMANDS[name]
    texts = [found.help, *(parameter.help for parameter in found.params if parameter.help)]
    for text in filter(None, texts):
        assert Text.from_markup(text).plain == text.replace("\\[", "[")
    assert "-h" in found.context_settings.get("help_option_names", ["-h"])


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run", "lpqld[k=4]"),
        ("run", "rded[factor=2]"),
        ("run", "labelbench[ray]"),
        ("size", "lpqld[k=50]"),
        ("compare", "`rded/lpqld` is lpqld on the image source rded."),
    ],
)
def test_help_as_it_is_rendered(command, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    code, out, _ = run_main(command, "-h")
    assert code == 0
    assert words in out


def test_help_fits_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run_main("run", "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80


def test_the_version():
    code, out, err = run_main("--version")
    assert (code, err) == (0, "")
    assert out.startswith("labelbench 0.")


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("labelbench lea", ["leaderboard"]),
        ("labelbench run --methods hello,lpq", ["hello,lpqld"]),
        ("labelbench run --recipe ld", ["ld", "ld-ridge"]),
        ("labelbench list lpq", ["lpqld"]),
    ],
)
def test_a_shell_completes(words, completed):
    code = "import sys; sys.argv[0] = 'labelbench'; from benchmark.__main__ import main; main()"
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    settings = {**os.environ, **asked, "_LABELBENCH_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=settings
    )
    assert sorted(done.stdout.split()) == completed


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["leaderboard", RESULTS], {"comparisons", "replications", "schema", "measurements"}),
        (["compare", "lpqld", "soft", RESULTS], {"setting", "first", "second", "verdict", "p"}),
        (
            ["advise", "--dataset", "digits", "--bytes", "4kB", "--records", RESULTS],
            {"question", "answers"},
        ),
        (["verify", RESULTS], {"count", "problems", "warnings"}),
        (["list"], {"plugins", "grids"}),
        (["size", "--classes", "10", "--ipc", "10"], {"task", "sizes"}),
        (["reference", RESULTS], {"kind", "published", "ours", "verdict"}),
        (["check", "digits"], {"name", "checks"}),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_json_is_all_there_is_on_standard_output(words, names):
    code, out, _ = run_main(*words, "--json")
    assert code == 0
    found = json.loads(out)  # that is, nothing else stands there
    assert names <= {*(found[0] if isinstance(found, list) else found)}


def test_a_run_as_json_holds_its_records_and_quiet_says_nothing(tmp_path):
    out = run_tiny(tmp_path, "--methods", "hard", "--json")
    found = json.loads(out)
    assert [record["cell"]["method"] for record in found["records"]] == ["hard"]
    assert found["comparisons"][0]["rows"][0]["method"] == "hard"
    assert found["failures"] == []
    words = ["--dataset", "digits", "--students", "convnet-d2-w8", "--teacher", "convnet-d2-w8"]
    words += ["--images", "random", "--ipc", 2, "--recipe", "quick", "--seeds", 1, "--jobs", 1]
    words += ["--set", "recipe.epochs=2", "--set", "teacher.epochs=1", "--no-controls"]
    words += ["--device", "cpu", "--methods", "hard", "--work", tmp_path]
    code, out, err = run_main("run", *words, "--quiet")
    assert (code, err) == (0, "")
    assert "ACCURACY | digits" in out
    code, out, err = run_main("run", *words, "--quiet", "--methods", "hrad")
    assert code == 2
    assert err.startswith("error: Unknown method 'hrad'. Did you mean 'hard'")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("int", "whole number"),
        ("Literal['mr', 'ms', 'none']", "one of mr, ms, none"),
        ("tuple[float, float]", "list of numbers"),
        ("float | None", "number or none"),
    ],
)
def test_types_in_words(kind, words):
    assert describing.kind_in_words(kind) == words


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "lpqld",
            [
                "  keep: number = 0.1",
                "  decay: number = 0.7",  # of a constant of another module
                "  keep and mass must be shares above 0 and at most 1",
                "      https://arxiv.org/abs/2604.18135",
                "options: --methods 'lpqld[OPTION=VALUE,...]' or --set lpqld.OPTION=VALUE",
            ],
        ),
        ("rded", ["  objective.temperature: number = 20.0", "  factor: whole number = 1"]),
    ],
)
def test_one_plugin_with_its_options(name, lines):
    code, out, _ = run_main("list", name)
    assert code == 0
    assert {*lines} <= {*out.splitlines()}


def test_a_name_of_several_kinds_is_suggested_once():
    _, _, err = run_main("check", "rdedd")
    assert err.count("'rded'") == 1
    assert err.partition("Valid: ")[2].split(", ").count("rded") == 1
