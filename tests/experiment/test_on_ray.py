"""The same cells on Ray; skipped where it is not installed (`labelbench[ray]`)."""

import json
import os
import subprocess
import sys

import pytest
from tiny import GRID

pytest.importorskip("ray", reason="Ray is not installed: pip install 'labelbench[ray]'")

BROKEN = '''"""A plugin."""

from benchmark.methods.hard import Hard


class Broken(Hard):
    def targets(self, views, images, epoch):
        raise KeyError("x")
'''


def test_a_cell_that_fails_leaves_the_others(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    command = [sys.executable, "-m", "benchmark", "run", *map(str, GRID), "--seeds", "2"]
    command += ["--methods", "hard,broken,soft", "--plugin", "broken.py", "--work", "work"]
    command += ["--executor", "ray"]
    # Two threads here, where Ray gives its workers one: the same world all the same.
    settings = {**os.environ, "OMP_NUM_THREADS": "2"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=settings)
    assert done.returncode == 2
    message = "KeyError: 'x' (in targets, broken.py, line 8)"
    last = f"error: 2 of 6 cells failed (see work/failures): {message}"
    assert done.stderr.splitlines()[-1] == last
    assert f"broken on random IPC 2, convnet-d2-w8, seed 1: FAILED: {message}" in done.stderr
    assert "soft on random IPC 2, convnet-d2-w8, seed 1: done" in done.stderr
    records = [json.loads(file.read_text()) for file in (tmp_path / "work/records").iterdir()]
    found = sorted((r["cell"]["method"], r["cell"]["seed"]) for r in records)
    assert found == [("hard", 0), ("hard", 1), ("soft", 0), ("soft", 1)]
    assert {r["world"]["threads"] for r in records} == {2}
