"""What is installed: setup.py packs every method and dataset, a file or a folder."""

import runpy
import shutil
from pathlib import Path

import pytest
import setuptools

ROOT = Path(__file__).parents[1]


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """The packages of a copy of this project whose methods have a folder more."""
    for folder in ("methods", "datasets"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "methods" / "foldered" / "inner").mkdir(parents=True)
    for folder in ("foldered", "foldered/inner"):
        (tmp_path / "methods" / folder / "__init__.py").touch()
    told = {}
    monkeypatch.setattr(setuptools, "setup", lambda **given: told.update(given))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(ROOT / "setup.py"))
    return told["packages"]


def test_a_method_may_be_a_folder(packed):
    assert {"benchmark.methods.foldered", "benchmark.methods.foldered.inner"} <= set(packed)
    assert {"benchmark.methods", "benchmark.methods.lpqld", "benchmark.datasets"} <= set(packed)


@pytest.mark.parametrize("top", ["benchmark", "methods", "datasets"])
def test_no_module_lies_where_packages_are_not_looked_for(top):
    for file in (ROOT / top).rglob("*.py"):
        assert (file.parent / "__init__.py").is_file(), f"{file.parent} has no __init__.py"
