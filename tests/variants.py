"""Every registered method with options under which it fits in a moment, and what else it can be."""

from typing import Any

from tiny import NETWORK  # type: ignore[import-not-found]

from benchmark.core import plugins
from benchmark.labels.contract import LabelSource
from benchmark.labels.task import LabelTask

LEARNING = {"learners": (NETWORK,), "epochs": 1, "inner_batch": 10, "outer_batch": 30}
QUICK: dict[str, dict[str, Any]] = {
    "expert": {"steps": 3, "student": NETWORK},
    "hello": {"epochs": 1, "batch_size": 30, "rank": 2, "probe": 30},
    "label_solve": {"network": NETWORK, "draws": 1},
    "ld": LEARNING,
    "ld_rr": LEARNING,
    "lpqld": {"keep": 0.5},
    "transform": {"batches": 4},
    "vqae": {"epochs": 1, "steps": 20, "hidden": 16},
}
OTHERS: dict[str, list[dict[str, Any]]] = {
    "gift": [{"keep": 0.4}],
    "hald": [{"soft": 1.0, "slc": 4.0}],
    "hard": [],
    "hello": [{"rank": 0}, {"form": "loralib"}, {"text": False}, {"weights": "int4"}],
    "infer": [{"form": "top-k"}, {"form": "int8"}, {"teachers": "trajectory"}],
    "label_solve": [{"form": "top-k"}, {"form": "int8"}],
    "ladd": [{"form": "top-k", "n": 2}, {"form": "int8", "local": 1.0}],
    "lpqld": [
        *({"quantise": form} for form in ("ms", "adaptive", "smoothing", "hard", "none")),
        *({"values": values} for values in ("bf16", "int8", "int4")),
        *({"schedule": s} for s in ("cosine", "step_reverse", "cosine_reverse", "none")),
        *({"granularity": granularity} for granularity in ("batch", "epoch")),
        {"quantise": "adaptive", "values": "int4"},
        {"select": "random"},
        {"select": "entropy", "replacement": True, "calibrate": False},
    ],
    "score": [{"values": "fp16"}, {"rank": 2, "sparsity": 0.1}, {"epochs": 2, "sparsity": 0.0}],
    "teacher": [
        *({"weights": weights} for weights in ("fp16", "int8", "int4")),
        {"shrink": "prune", "bytes": 4000},
        {"shrink": "low-rank", "bytes": 4000},
    ],
    "vqae": [{"values": "fp16", "batches": 4}, {"codes": 3, "entries": 32}],
}
VARIANTS = [
    (name, {**QUICK.get(name, {}), **other})
    for name, plugin in plugins.found(plugins.METHODS).items()
    if not plugin.literal("required", "")
    for other in ({}, *OTHERS.get(name, []))
]


def fitted(name: str, options: dict[str, Any], task: LabelTask) -> LabelSource:
    """The method fitted to the task; its weak teachers are the one teacher."""
    method = plugins.load(plugins.METHODS, name)
    return method.fit(task, method.resolve_options(method.Options(**options), task.shape, None))


def label(variant: object) -> str:
    """A variant in the words of a test's name."""
    if isinstance(variant, dict):
        return ",".join(f"{name}={value}" for name, value in variant.items()) or "default"
    return str(variant)
