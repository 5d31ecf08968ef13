"""The documentation is made without a warning, and has what it should."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Its pages, made of a copy of the sources; a warning is an error."""
    for module in ("sphinx", "myst_parser", "furo"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"no {module} here: pip install -e '.[docs]'")
    made, copy = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("copy")
    for folder in ("docs", "methods", "datasets", "results"):
        ignored = shutil.ignore_patterns("_build", "*.jsonl", "__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in [*ROOT.glob("*.md"), ROOT / "pyproject.toml"]:
        shutil.copy(file, copy)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", str(made)]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    return made


def test_every_page_is_there_and_reached(site):
    start = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()
        assert page.stem == "index" or f'href="{page.stem}.html"' in start, page


def test_the_api_comes_from_docstrings(site):
    text = (site / "api.html").read_text(encoding="utf-8")
    for name in ("run", "results", "open_labels", "LabelSource.fit", "LabelSource.targets"):
        assert f'id="benchmark.{name}"' in text or f'.{name}"' in text, name
    assert "Train students on each method" in text


def test_the_catalogue_comes_from_the_plugins(site):
    text = (site / "catalogue.html").read_text(encoding="utf-8")
    for name in ("lpqld", "hello", "rded", "cifar10", "imagenet21k"):
        assert f">{name}<" in text, name


def test_guides_of_the_repository_lead_to_pages_and_to_the_source(site):
    text = (site / "architecture.html").read_text(encoding="utf-8")
    assert 'href="plugins.html"' in text
    assert "/blob/main/benchmark/records/comparison.py" in text
    assert "](" not in text
