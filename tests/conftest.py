import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Where real data lies on this machine; tests that need it are skipped without it."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("LABELBENCH_DATA") or beside)
    if not root.is_dir():
        pytest.skip(f"real data is absent: LABELBENCH_DATA is unset or no folder ({root})")
    return root
