"""What the guides tell people to do works as written."""

import re
from pathlib import Path

from benchmark.core import plugins
from benchmark.experiment.conformance.method import check_method

ROOT = Path(__file__).parents[1]


def test_the_method_guides_example_keeps_the_contract(tmp_path):
    guide = (ROOT / "methods" / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)[0]
    file = tmp_path / "guide_example.py"
    file.write_text(code)
    plugins.add_plugin(file)
    problems = dict(check_method("guide_example"))
    assert len(problems) > 5
    assert set(problems.values()) == {None}


def test_readme_names_every_method_and_shipped_command():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("hard", "smoothed", "soft", "teacher", "lpqld", "hello"):
        assert f"| `{name}` |" in text
    for command in ("run", "list", "leaderboard", "compare", "verify", "collect", "ship"):
        assert f"python -m benchmark {command}" in text


def test_readme_shows_a_published_leaderboard_and_picture():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- leaderboard -->\n(.*?)<!-- /leaderboard -->", text, re.DOTALL)
    published = ROOT / "results" / "leaderboard" / "leaderboards.md"
    assert len(shown) == 1
    assert shown[0].strip().startswith("| rank ")
    assert shown[0].strip() in published.read_text(encoding="utf-8")


def test_links_in_the_guides_lead_somewhere():
    for guide in ("README.md", "methods/README.md", "results/README.md", "results/FINDINGS.md"):
        file = ROOT / guide
        for link in re.findall(r"\]\(([^)#]+)\)", file.read_text(encoding="utf-8")):
            assert link.startswith("https://") or (file.parent / link).exists(), (guide, link)
