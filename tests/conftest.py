import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import torch
from hub_server import TOKEN, Hub, serving
from hypothesis import settings
from small_prior import small_prior  # noqa: F401 (a fixture)

from benchmark.core import bounded_cache
from benchmark.core.hub import weights_file


def pytest_configure(config: pytest.Config) -> None:
    """Workers side by side share the cores, and so do the processes that they start.

    Whoever starts the workers tells them by the environment: NumPy's threads are made as it is
    imported, which is before a worker comes here.
    """
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0))
    if workers := workers or len(config.getoption("tx", None) or ()):
        threads = max(1, (os.cpu_count() or 1) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        torch.set_num_threads(threads)


settings.register_profile("tests", deadline=None, derandomize=True)
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def unsynced() -> Iterator[None]:
    """Nothing waits for the disk: tests end processes, and none cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def pixels_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of decoded pixels of its own, so that no test touches the user's."""
    folder = tmp_path_factory.mktemp("pixels")
    before = os.environ.get(bounded_cache.FOLDER)
    os.environ[bounded_cache.FOLDER] = str(folder)
    yield folder
    if before is None:
        del os.environ[bounded_cache.FOLDER]
    else:
        os.environ[bounded_cache.FOLDER] = before


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Where real data lies on this machine; tests that need it are skipped without it."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    root = Path(os.environ.get("LABELBENCH_DATA") or beside)
    if not root.is_dir():
        pytest.skip(f"real data is absent: LABELBENCH_DATA is unset or no folder ({root})")
    return root


@pytest.fixture(scope="session")
def official() -> Path:
    """Labels that the authors' generators wrote; tests that need them are skipped without them."""
    beside = Path(__file__).parents[2] / "shared" / "official"
    root = Path(os.environ.get("LABELBENCH_OFFICIAL") or beside)
    if not root.is_dir():
        pytest.skip(f"the authors' labels are absent: LABELBENCH_OFFICIAL names no folder ({root})")
    return root


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Any]:
    """The arrays that authors' code computed, by the name of their file.

    Tests that need them are skipped without them; LABELBENCH_GOLDEN names their folder.
    """
    beside = Path(__file__).parents[2] / "shared" / "golden"
    folder = Path(os.environ.get("LABELBENCH_GOLDEN") or beside)

    def load(name: str) -> Any:
        file = folder / f"{name}.npz"
        if not file.is_file():
            pytest.skip(f"what authors' code computed is absent: LABELBENCH_GOLDEN ({file})")
        return np.load(file, allow_pickle=False)

    return load


@pytest.fixture
def memory() -> Iterator[Any]:
    """What URLs that begin with memory:// are, empty."""
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub on this machine, which `huggingface_hub` asks with a token, and keeps nothing of."""
    from huggingface_hub import constants

    with serving() as served:
        monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the server has only LFS
        yield served
        weights_file.cache_clear()
