"""Whole records out of the air, and comparisons of them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from tiny import recipe_of

from benchmark.core.files import digest
from benchmark.records.comparison import Comparison, comparisons
from benchmark.records.environment import LIBRARIES
from benchmark.records.record import pack_bits
from benchmark.records.upgrade import CONTROLS, _draw

CELL = {
    "dataset": "digits",
    "images": "rded",
    "ipc": 10,
    "student": "convnet-d3",
    "recipe": "quick",
    "teacher": "resnet18",
}
TESTS = 100  # test images
TITLE = (
    "digits, IPC 10, convnet-d3, recipe quick, teacher resnet18 (95.00%), "
    "NVIDIA Test, torch 1.0, fp32"
)
RECIPE = json.dumps(asdict(recipe_of("quick")))


def record(
    method: str,
    seed: int = 0,
    accuracy: float = 0.5,
    total: int = 500,
    right: Sequence[bool] | np.ndarray | None = None,
    **changes: Any,
) -> Any:
    """A record that `verify` has nothing against; the first test images are right.

    Args:
        right: which test images were right; then their mean is the accuracy.
        changes: of the cell by name (`images=...`), else of the record's own fields.
    """
    given = {name: changes.pop(name) for name in CELL if name in changes and name != "recipe"}
    cell = missing(method, seed, **given)
    if isinstance(changes.get("recipe"), str):
        cell["recipe"] = changes.pop("recipe")
    bits = np.arange(TESTS) < round(accuracy * TESTS) if right is None else np.array(right, bool)
    recipe = json.loads(RECIPE)
    storage = dict.fromkeys(("values", "indices", "views", "weights", "teacher", "prior"), 0)
    made = {
        "schema": 3,
        "cell": cell,
        "on_protocol": True,
        "precision": "fp32",
        "recipe": recipe,
        "options": {},
        "inputs": {
            **{name: f"digest of {name}" for name in ("train", "test", "images", "teacher")},
            "labels": "labels-0",
            "classes": 10,
            "resolution": 8,
            "similarity": 0.8664,
            "teacher_accuracy": 0.95,
        },
        "roles": {
            "control": CONTROLS.get(method.partition("[")[0]),
            "baseline": cell["source"] == "random",
        },
        "plugins": [],
        "storage": {
            **storage,
            "container": total,
            "parameters": 0,
            "blocks": 4096,
            "total": total,
            "images": 8_000,
            "soft": 12_000,
            "images_png": 6_000,
            "images_jpeg": 3_000,
        },
        "prior": None,
        "result": {
            "accuracy": float(bits.mean()),
            "test_images": len(bits),
            "correct": pack_bits(bits),
            "train_loss": [2 / (epoch + 1) for epoch in range(recipe["epochs"])],
            "seconds_train": 1.5,
            "seconds_fit": 0.04,
        },
        "throughput": {
            "batch": 50,
            "seconds_bare_step": [0.01, 0.02],
            "seconds_step": [0.015, 0.02],
            "seconds_targets": [0.001, 0.001],
        },
        "world": world(),
        "environment": {"labelbench": "0.1.0", "commit": "0123456789ab"},
        **changes,
    }
    return {"key": digest([cell, made["options"], made["recipe"]["epochs"]])[:24], **made}


def world(**changes: Any) -> Any:
    """A world; `changes` are of its fields, or of its libraries' versions."""
    libraries = {name: changes.pop(name, "1.0") for name in LIBRARIES}
    made = {"device": "cuda", "hardware": "NVIDIA Test", "threads": None, "libraries": libraries}
    return {**made, "python": "3.12.1", "platform": "Linux x86_64", **changes}


def repeats(method: str, accuracies: Sequence[float], **changes: Any) -> list[Any]:
    """One record for each accuracy, seeds from 0."""
    return [record(method, seed, a, **changes) for seed, a in enumerate(accuracies)]


def missing(method: str, seed: int, **changes: Any) -> Any:
    """The name of a cell that was asked for."""
    cell = {**CELL, "method": method, "seed": seed, **changes}
    source, draw = _draw(cell["images"])
    return {**cell, "source": source, "draw": draw}


def compared(*found: Any, missing: Sequence[Any] = (), failed: Sequence[Any] = ()) -> Comparison:
    """The only comparison among records."""
    (comparison,) = comparisons(found, missing, failed)
    return comparison


HELLO = record("hello", 0, 0.6)
HELLO["storage"] |= {"weights": 2500, "container": 500, "total": 3000, "parameters": 1250}
HELLO["storage"] |= {"prior": 7_400_000, "blocks": 8192}
HELLO["prior"] = "embedded"
HELLO["throughput"]["seconds_step"] = [0.03, 0.04]
HELLO["throughput"]["seconds_floor"] = [0.001, 0.0008]  # ratios 1 and 1.25

# Two that share the first rank, one beyond them, one with too few repeats.
SEVERAL = [
    *repeats("soft", [0.80, 0.81, 0.82], total=12_300),
    *repeats("lpqld[budget=40x]", [0.79, 0.82, 0.80], total=300),
    *repeats("hard", [0.50, 0.52, 0.51]),
    HELLO,
]
ABSENT = [missing("ld", seed) for seed in range(3)]
