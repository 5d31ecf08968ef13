"""The example package, found by its entry points: listed, checked, run, and in the table."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import forked
import pytest
from tiny import run_main

from benchmark.core import plugins
from benchmark.core.errors import UserError

EXAMPLES = Path(__file__).parents[1] / "examples" / "labelbench-plugins"
FILES = EXAMPLES / "labelbench_plugins"
METHODS = ("low_rank", "vector_quantised", "pooled")
OTHERS = ("shapes", "medoids", "mlp", "short")
SHORT = [
    *("--seeds", "1", "--device", "cpu", "--budget", "4000", "--set", "teacher.epochs=1"),
    *("--set", "vector_quantised.rounds=3", "--set", "pooled.epochs=1"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> dict[str, str]:
    """The environment of a machine where the package is installed."""
    place = tmp_path_factory.mktemp("site")
    told = (EXAMPLES / "pyproject.toml").read_text()
    points = []
    for line in told.splitlines():
        if line.startswith("[project.entry-points."):
            points.append("[" + line.split('"')[1] + "]")
        elif points and "=" in line:
            points.append(line.replace('"', ""))
    info = place / "labelbench_plugins-0.1.0.dist-info"
    info.mkdir()
    name = "Metadata-Version: 2.1\nName: labelbench-plugins\nVersion: 0.1.0\n"
    (info / "METADATA").write_text(name)
    (info / "entry_points.txt").write_text("\n".join(points) + "\n")
    (info / "top_level.txt").write_text("labelbench_plugins\n")
    (place / "labelbench_plugins").symlink_to(FILES)
    return {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}


def start(installed: dict[str, str], *words: str, cwd: Path) -> str:
    done = forked.run(forked.COMMAND, words, cwd, installed)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_they_are_listed(installed, tmp_path):
    out = start(installed, "list", cwd=tmp_path)
    for name in (*METHODS, "shapes", "medoids", "short", "mlp-w64"):
        assert f"\n  {name} " in out
    assert "rank: whole number = 0" in start(installed, "list", "low_rank", cwd=tmp_path)


def commands() -> list[list[str]]:
    """Those of its README, but for the installation, which `installed` stands for."""
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    return [shlex.split(line)[3:] for line in re.findall(r"^python -m .*", text, re.MULTILINE)]


@pytest.fixture(scope="module")
def work(installed, tmp_path_factory) -> Path:
    """Where its README's run was, cut short."""
    folder = tmp_path_factory.mktemp("work")
    words = [*commands()[1], *SHORT, "--work", "runs"]
    (folder / "out").write_text(start(installed, *words, cwd=folder))
    return folder


def test_the_commands_of_its_readme_run(installed, work, tmp_path):
    assert [words[0] for words in commands()] == ["check", "run"]
    start(installed, *commands()[0], cwd=tmp_path)
    assert "ACCURACY | shapes, IPC 2, mlp-w64" in (work / "out").read_text()


def test_they_run_and_stand_in_the_table(work):
    accuracy = (work / "out").read_text().split("STORAGE")[0]
    for name in (*METHODS, "hard", "soft", "teacher"):
        assert re.search(rf" medoids +{name}[ \[]", accuracy), name


def test_records_name_each_plugin_with_version_and_digest(work, installed):
    records = [json.loads(p.read_text()) for p in (work / "runs" / "records").glob("*.json")]
    (one,) = [r for r in records if r["cell"]["method"].startswith("low_rank")]
    named = {(p["kind"], p["name"]): p for p in one["plugins"]}
    assert named.keys() == {
        ("method", "low_rank"),
        ("image source", "medoids"),
        ("dataset", "shapes"),
        ("recipe", "short"),
        ("network family", "mlp"),
    }
    assert {p["version"] for p in named.values()} == {"0.1.0"}
    assert all(len(p["digest"]) == 64 for p in named.values())
    assert one["storage"]["total"] <= 4000
    out = start(installed, "verify", "runs/records", cwd=work)
    assert "problem" not in out
    # Where the package is not installed, the records are whole all the same.
    code, out, _ = run_main("verify", work / "runs" / "records")
    assert (code, "problem" in out) == (0, False)


@pytest.mark.parametrize("name", OTHERS)
def test_those_that_take_no_time_keep_their_contracts(name, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    code, out, _ = run_main("check", name, "--plugin", FILES / f"{name}.py")
    assert code == 0, out
    assert f"{name} keeps the contract." in out


@pytest.mark.parametrize("name", METHODS)
def test_methods_keep_their_contract(name, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    code, out, _ = run_main("check", name, "--plugin", FILES / f"{name}.py")
    assert code == 0, out


@pytest.mark.parametrize("name", METHODS)
def test_a_budget_that_nothing_meets_is_told(name, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    plugins.add(FILES / f"{name}.py")
    method = plugins.load(plugins.METHODS, name)
    from benchmark import TaskShape

    with pytest.raises(UserError, match=r"10 bytes|above 10"):
        method.resolve_options(method.Options(), TaskShape(10, 100, 4, 20, 32), 10)


def test_the_idea_in_one_file(tmp_path):
    """Fewer epochs, and one draw; else as it stands, without this package."""
    text = (EXAMPLES.parent / "one_file.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 100
    assert "benchmark" not in re.findall(r"^(?:import|from) (\w+)", text, re.MULTILINE)
    short = text.replace("= 10, 100, 2.0, 3", "= 10, 20, 2.0, 1")
    assert short != text
    (tmp_path / "examples").mkdir()
    (tmp_path / "datasets").symlink_to(EXAMPLES.parents[1] / "datasets")
    (tmp_path / "examples" / "one_file.py").write_text(short, encoding="utf-8")
    command = [sys.executable, "-W", "error", "examples/one_file.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    sizes = {name: int(size.replace(",", "")) for name, size, *_ in rows}
    assert sizes == {"hard": 0, "soft": 20 * 100 * 10 * 2, "quantised": 15 * 100 * 3 + 8}
    assert all(float(row[2]) > 60 for row in rows)


def test_each_is_a_page_and_typed():
    for file in FILES.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert len(text.splitlines()) < 100
        assert ": Any" not in text
        assert "type: ignore" not in text
