"""Runs that are killed at random moments and begun again leave what one left alone does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parent / "kill_at_random.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.long
def test_a_few_kills_change_nothing():
    command = [sys.executable, str(TOOL), "--kills", "4", "--seed", "3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert ": as left alone; 4 kills (" in last
