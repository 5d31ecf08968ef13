"""The notebook and the example of docs/python.md run as they stand."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from session import Session
from tiny import quick_clock

import benchmark
from benchmark.core import plugins

ROOT = Path(__file__).parents[2]
NOTEBOOK: dict[str, Any] = json.loads(
    (ROOT / "examples" / "notebook.ipynb").read_text(encoding="utf-8")
)
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.fixture
def session(tmp_path, monkeypatch) -> Session:
    """In an empty folder."""
    monkeypatch.setattr(plugins, "_added", {})
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    return Session()


def test_every_cell_of_the_notebook_runs(session, tmp_path, capsys):
    with quick_clock():
        for cell in CODE:
            session.run(cell)
    results = session.space["results"]
    assert not results.failures
    methods = {record["cell"]["method"] for record in results.records}
    assert methods == {"hard", "lpqld", "rounded"}
    assert len(results.records) == 9
    assert session.space["pixels"].shape[1:] == (1, 8, 8)
    out = capsys.readouterr().out
    assert "STORAGE | digits" in out
    assert "FAILED" not in out
    assert out.count("ok     ") >= 9


def test_the_notebook_is_one_that_readers_take():
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len({*ids}) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9-_]{1,64}", each) for each in ids)
    for cell in NOTEBOOK["cells"]:
        told = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            told |= {"execution_count", "outputs"}
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
        assert cell.keys() == told
        assert all(line.endswith("\n") for line in cell["source"][:-1])


def test_the_documentations_example_runs(session):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    with quick_clock():
        session.run(code)
    assert isinstance(session.space["results"], benchmark.Results)
    assert session.space["failed"] == []
    assert len(session.space["frame"]) >= 4
    assert session.space["figure"].axes
