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


def test_readme_names_every_method_and_shipped_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("hard", "smoothed", "soft", "teacher", "lpqld", "hello"):
        assert f"| `{name}` |" in text
    for command in ("run", "list", "leaderboard", "compare", "advise", "verify", "collect", "ship"):
        assert f"python -m benchmark {command}" in text


def test_a_guide_names_every_command():
    guides = ("README.md", "ARCHITECTURE.md", "results/README.md", "methods/README.md")
    text = "".join((ROOT / guide).read_text(encoding="utf-8") for guide in guides)
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
    assert shown[0].strip().startswith("| rank ")
    assert shown[0].strip() in published.read_text(encoding="utf-8")


def test_links_in_the_guides_lead_somewhere():
    for guide in (
        "README.md",
        "ARCHITECTURE.md",
        "methods/README.md",
        "results/README.md",
        "results/FINDINGS.md",
        "examples/labelbench-plugins/README.md",
    ):
        file = ROOT / guide
        for link in re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (file.parent / link).exists(), (guide, link)
