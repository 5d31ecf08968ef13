"""What the guides tell people to do works as written."""

import re
from pathlib import Path

import authors_guide
import pytest

from benchmark.cli.app import app
from benchmark.core import plugins
from benchmark.experiment.conformance import check
from benchmark.records import measurements

ROOT = Path(__file__).parents[1]
GUIDES = [
    *("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "methods/README.md"),
    *("datasets/README.md", "results/README.md", "results/FINDINGS.md"),
    "examples/labelbench-plugins/README.md",
    *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]

AUTHORS = (ROOT / "methods" / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", AUTHORS, re.DOTALL)


@pytest.mark.parametrize("code", EXAMPLES, ids=lambda code: code.split(":")[0].strip('"').lower())
def test_the_authors_examples_keep_their_contracts(code, tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    file = tmp_path / f"{code.split(':')[0].strip(chr(34)).lower()}_example.py"
    file.write_text(code)
    plugin = plugins.add(file)
    problems = dict(check(plugin.kind, plugin.name))
    assert len(problems) >= 3
    assert set(problems.values()) == {None}


def test_there_is_an_example_of_each_kind():
    assert len(EXAMPLES) == len(plugins.KINDS)


def test_the_reference_says_what_docstrings_say():
    assert authors_guide.written(AUTHORS) == AUTHORS


def test_the_documentation_names_every_method():
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for name in plugins.found(plugins.METHODS):
        assert re.search(rf"^\|.*`{name}`.* \|", text, re.MULTILINE), name


def test_the_readme_is_short_and_has_its_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert "pip install -e . && python -m benchmark run --methods hello,lpqld\n" in text
    assert "pip install -e '.[test]' && pytest" in text
    for command in ("run", "list", "leaderboard", "compare", "advise"):
        assert f"python -m benchmark {command}" in text


def test_a_guide_names_every_command():
    guides = [ROOT / name for name in GUIDES]
    text = "".join(guide.read_text(encoding="utf-8") for guide in guides)
    for command in app.registered_commands:
        assert f"python -m benchmark {command.name}" in text


def test_measuring_speed_names_what_there_is():
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    told = text.partition("## Measuring speed")[2].partition("\n## ")[0]
    named = re.findall(r"`(experiment/\w+\.py|records/\w+\.py)`", told)
    assert len(named) >= 3
    for file in named:
        assert (ROOT / "benchmark" / file).is_file()
    for file in re.findall(r"tests/\w+\.py", told):
        assert (ROOT / file).is_file()
    for name in measurements.FILES:
        assert name in told


def test_readme_shows_a_published_leaderboard_and_picture():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- leaderboard -->\n(.*?)<!-- /leaderboard -->", text, re.DOTALL)
    published = ROOT / "results" / "leaderboard" / "leaderboards.md"
    assert len(shown) == 1
    assert shown[0].strip().startswith("| ")
    assert shown[0].strip() in published.read_text(encoding="utf-8")


@pytest.mark.parametrize("guide", GUIDES)
def test_links_in_the_guides_lead_somewhere(guide):
    file = ROOT / guide
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", file.read_text(encoding="utf-8")):
        made = guide.startswith("docs/") and link == "catalogue.md"  # by Sphinx
        assert made or link.startswith("https://") or (file.parent / link).exists(), link
