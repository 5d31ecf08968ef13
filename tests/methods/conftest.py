import pytest
from tiny import tiny_task  # type: ignore[import-not-found]

from benchmark.labels.task import LabelTask


@pytest.fixture
def task(tmp_path) -> LabelTask:
    """Twenty random 1 x 8 x 8 pictures of ten classes, four epochs in batches of at most 8."""
    return tiny_task(tmp_path / "scratch")
