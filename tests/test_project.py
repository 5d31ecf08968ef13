"""What makes this a project that others can take: metadata, citation, hooks, workflows."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_docs_blocks import commands

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PLACEHOLDER = "OWNER/labelbench"
# Whose import names differ from their own.
IMPORTED = {
    "open_clip_torch": "open_clip",
    "pillow": "PIL",
    "typing_extensions": "typing_extensions",
}
INDIRECT = {"tabulate": "pandas writes Markdown with it"}


def loaded(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no git checkout here")
    return [ROOT / line for line in done.stdout.splitlines()]


def test_the_metadata_is_whole():
    assert PROJECT["authors"] == [{"name": "the labelbench developers"}]
    assert {"Repository", "Issues", "Documentation", "Changelog"} <= {*PROJECT["urls"]}
    assert len(PROJECT["keywords"]) >= 3
    for python in ("3.11", "3.12"):
        assert f"Programming Language :: Python :: {python}" in PROJECT["classifiers"]


def test_where_the_project_lives_is_said_in_one_place():
    holding = [
        file.relative_to(ROOT).as_posix()
        for file in tracked()
        if file.suffix in (".md", ".py", ".toml", ".yml", ".yaml", ".cff", ".bib", ".ipynb")
        and file != Path(__file__)
        and PLACEHOLDER in file.read_text(encoding="utf-8")
    ]
    assert holding == ["pyproject.toml"]
    owners = set(
        re.findall(r"github\.com/([^/\"]+)/|https://([^/.\"]+)\.github", str(PROJECT["urls"]))
    )
    assert len({"".join(found) for found in owners}) == 1


@pytest.mark.parametrize("name", [re.split(r"[><=]", d)[0] for d in PROJECT["dependencies"]])
def test_every_dependency_is_used(name):
    if name in INDIRECT:
        return
    module = IMPORTED.get(name, name.replace("-", "_"))
    files = [f for top in ("benchmark", "methods", "datasets") for f in (ROOT / top).rglob("*.py")]
    assert any(module in _imports(file) for file in files)


def _imports(file: Path) -> set[str]:
    """The packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").partition(".")[0])
    return found


def test_the_citation_is_one_that_tools_read():
    """What version 1.2.0 of the Citation File Format asks for."""
    told = loaded(ROOT / "CITATION.cff")
    assert told["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= told.keys()
    assert told["type"] in ("software", "dataset")
    assert told["authors"] == PROJECT["authors"]
    assert (told["version"], told["license"]) == (PROJECT["version"], PROJECT["license"])
    assert all(isinstance(word, str) for word in told["keywords"])
    allowed = {"cff-version", "message", "title", "type", "authors", "version", "license"}
    assert told.keys() <= allowed | {"keywords", "repository-code", "url", "date-released"}


def test_the_changelog_has_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## {PROJECT['version']}\n" in text


def test_contributing_is_one_screen():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 50
    for line in commands(re.findall(r"```\n(.*?)```", text, re.DOTALL)[0]):
        assert known(line), line


def test_hooks_are_the_checks_of_ci():
    (repository,) = loaded(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["id"]: hook for hook in repository["hooks"]}
    assert hooks.keys() == {"ruff-check", "ruff-format", "pyright"}
    for hook in hooks.values():
        assert {"name", "language"} <= hook.keys()
        assert known(hook["entry"]), hook


def known(line: str) -> bool:
    """Whether a command is one that the project installs, or that runners have, on paths here."""
    word, *rest = line.split()
    runners = {"sudo", "test", "cp", "pip"}
    installed = {"ruff", "pyright", "pytest", "sphinx-build", "pre-commit", "python", "twine"}
    paths = [part for part in rest if part.startswith(("tests/", "docs/", "results/"))]
    there = all((ROOT / part).exists() for part in paths if part != "docs/_build")
    return word in runners | installed and there


def test_there_are_workflows_for_tests_documentation_pages_and_releases():
    assert {file.stem for file in WORKFLOWS} == {"tests", "docs", "pages", "release"}


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_a_workflow_is_whole_and_its_commands_exist(file):
    told = loaded(file)
    assert {"name", True, "permissions", "jobs"} <= told.keys()  # YAML reads `on` as true
    extras = PROJECT["optional-dependencies"]
    for name, job in told["jobs"].items():
        assert job["runs-on"] == "ubuntu-latest"
        assert {*[job.get("needs", name)]} <= {*told["jobs"]}
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            if "uses" in step:
                assert re.fullmatch(r"[\w-]+/[\w-]+@[\w./]+", step["uses"])
                continue
            for line in commands(step["run"]):
                assert known(line), line
                for asked in re.findall(r"'\.\[([\w,]+)\]'", line):
                    assert {*asked.split(",")} <= {*extras}
                if line.startswith("python -m benchmark"):
                    assert line.split()[3] == "leaderboard"


def test_tests_run_on_two_pythons_and_pages_hold_the_leaderboards():
    tests = loaded(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["tests"]
    assert tests["strategy"]["matrix"]["python"] == ["3.11", "3.12"]
    pages = (ROOT / ".github" / "workflows" / "pages.yml").read_text(encoding="utf-8")
    assert "leaderboard results --out tables" in pages
    assert "sphinx-build -W docs" in pages


def test_a_release_needs_no_secret():
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    publish = yaml.safe_load(text)["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}
    assert any("gh-action-pypi-publish" in str(step) for step in publish["steps"])
