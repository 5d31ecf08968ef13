"""Speed records out of the air."""

import json
from pathlib import Path
from typing import Any

from synthetic import world

CELL = {
    "dataset": "digits",
    "images": "rded",
    "ipc": 10,
    "method": "lpqld",
    "student": "convnet-d3",
    "recipe": "quick",
    "teacher": "resnet18",
}
ENVIRONMENT = {"labelbench": "0.1.0", "commit": "0123456789ab"}


def profile(**changes: Any) -> Any:
    """A profile of three repeats; `changes` are of its cell by name, else of its own fields."""
    cell = {name: changes.pop(name, value) for name, value in CELL.items()}
    return {
        "schema": 1,
        "kind": "profile",
        "cell": cell,
        "precision": "fp32",
        "memory_format": "contiguous",
        "compiled": False,
        "batch": 100,
        "options": {"k": 4},
        "seconds": {
            "forward": [0.003, 0.003, 0.004],
            "forward_backward": [0.008, 0.008, 0.009],
            "bare_step": [0.010, 0.010, 0.020],
            "learning_step": [0.011, 0.011, 0.019],
            "views": [0.0002, 0.0002, 0.0002],
            "rendering": [0.001, 0.002, 0.001],
            "targets": [0.0005, 0.0004, 0.0005],
            "step": [0.012, 0.013, 0.021],
        },
        "seconds_fit": 2.5,
        "evaluation": {"size": 500, "seconds": [0.2, 0.2, 0.3]},
        "labels": {"stored": 2000.0, "targets": 4000},
        "copies": {"host": {"size": 1_000_000, "seconds": [0.0001, 0.0001, 0.0002]}},
        "memory": {"bytes": 500_000_000, "of": "process"},
        "world": world(device="cpu", hardware="Fast", threads=1),
        "environment": ENVIRONMENT,
        **changes,
    }


def ratio(**changes: Any) -> Any:
    """A named ratio of two repeats: 0.5 and 0.4."""
    return {
        "schema": 1,
        "kind": "ratio",
        "name": "eight students of hello",
        "first": {"what": "together", "seconds": [0.5, 0.6], "environment": ENVIRONMENT},
        "second": {"what": "alone", "seconds": [1.0, 1.5], "environment": ENVIRONMENT},
        "settings": {"students": "8"},
        "world": world(device="cpu", hardware="Fast", threads=1),
        **changes,
    }


def file_of(folder: Path, *found: Any, name: str = "speed.jsonl") -> Path:
    """A file of these lines, whatever they are."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text("".join(json.dumps(each) + "\n" for each in found))
    return file
