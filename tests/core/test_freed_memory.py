"""Freed memory that a process keeps: what is made next takes no new pages."""

import subprocess
import sys

import pytest

COUNTED = """
import resource
{keep}

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for round in range(12):
    if round == 2:  # by then the heap is as large as it gets
        before = faults()
    pieces = [b"1" * 30 * 2**20, b"2" * 30 * 2**20, b"3" * 30 * 2**20]
    del pieces
print(faults() - before)
"""
KEEP = "from benchmark.core.freed_memory import keep; keep()"


def faults(keep: str) -> int:
    """Pages that Python was given while it made the same arrays ten times more."""
    code = COUNTED.format(keep=keep)
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the GNU C library's")
def test_what_is_freed_is_used_again():
    assert faults("") > 10 * 90 * 2**20 / 4096 / 2  # most pages, or all, are new every time
    assert faults(KEEP) < 100
