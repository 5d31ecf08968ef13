"""Records of older schemas, as today's says the same.

Schema 1 knew no worlds. What is now `world` stood in `environment` (the CPU's name, Python, the
platform, the libraries) and in `throughput.hardware` (the GPU's name, or `CPU, 2 threads`), and
`precision` stood in `throughput`. Nothing is lost but the name of a GPU's host CPU.

Schema 2 knew no roles and no draws: tables went by names, those below. It called a learning rate
`rate`, its course over the steps `course`, and what is tested `tester`.

Schema 3 counted the images' bytes as PNG and JPEG only later. A record without them stays without:
the pixels, which alone would tell, are not in it.
"""

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, with_config
from typing_extensions import TypedDict

from ..core import bounded

# Those that schema 1 named among the rest of its environment.
LIBRARIES = ("torch", "torchvision", "timm", "open_clip_torch", "peft", "numpy", "safetensors")


@with_config(ConfigDict(strict=True))
class _Throughput(TypedDict):
    hardware: str
    precision: str


@with_config(ConfigDict(strict=True))
class _Environment(TypedDict):
    labelbench: str
    commit: str | None
    cpu: str
    python: str
    platform: str


@with_config(ConfigDict(strict=True))
class _Record(TypedDict):
    """What schema 1 had elsewhere; all else is as in schema 2."""

    throughput: _Throughput
    environment: _Environment


@with_config(ConfigDict(strict=True))
class _Cell(TypedDict):
    images: str
    method: str


@with_config(ConfigDict(strict=True))
class _Inputs(TypedDict, total=False):
    set: dict[str, Any]


@with_config(ConfigDict(strict=True))
class _Named(TypedDict):
    """What schema 2 said by names."""

    cell: _Cell
    recipe: dict[str, Any]
    options: dict[str, Any]
    inputs: _Inputs


ADAPTER, NAMED = TypeAdapter(_Record), TypeAdapter(_Named)
CONTROLS = {"hard": "floor", "soft": "full", "teacher": "ceiling"}
RENAMED = {
    "rate": "lr",
    "label_rate": "label_lr",
    "network_rate": "network_lr",
    "inner_rate": "inner_lr",
    "course": "schedule",
    "tester": "evaluator",
}


def upgrade(old: Mapping[str, Any]) -> Mapping[str, Any]:
    """A record of schema 1 or 2 as one of schema 3.

    Raises:
        UserError: it lacks what has to be moved.
    """
    if old["schema"] == 1:
        old = _with_world(old)
    return _with_roles(old) if old["schema"] == 2 else old


def _with_roles(old: Mapping[str, Any]) -> dict[str, Any]:
    """A record of schema 2 as one of schema 3."""
    found = bounded.parse(NAMED, old)
    source, draw = _draw(found["cell"]["images"])
    method = re.split(r"[\[ ]", found["cell"]["method"])[0]
    inputs = dict(old["inputs"])
    if "set" in inputs:
        inputs["set"] = {_renamed_path(path): value for path, value in inputs["set"].items()}
    return {
        **old,
        "schema": 3,
        "cell": {**old["cell"], "source": source, "draw": draw},
        "recipe": {RENAMED.get(name, name): value for name, value in found["recipe"].items()},
        "options": {RENAMED.get(name, name): value for name, value in found["options"].items()},
        "inputs": inputs,
        "roles": {"control": CONTROLS.get(method), "baseline": source == "random"},
        "plugins": [],
    }


def _draw(images: str) -> tuple[str, int]:
    """An image source without its `draw`, and that draw: `random[draw=2]` is (`random`, 2)."""
    found = re.search(r"(?<=[\[,])draw=(\d{1,15})(,|(?=\]))", images)
    if found is None:
        return images, 0
    rest = images[: found.start()] + images[found.end() :]
    return rest.replace(",]", "]").replace("[]", ""), int(found[1])


def _renamed_path(path: str) -> str:
    first, dot, last = path.rpartition(".")
    return first + dot + RENAMED.get(last, last)


def _with_world(old: Mapping[str, Any]) -> dict[str, Any]:
    """A record of schema 1 as one of schema 2; what schema 1 left open is for the reader to check.

    Raises:
        UserError: it lacks what has to be moved.
    """
    found = bounded.parse(ADAPTER, old)
    timing, there = found["throughput"], found["environment"]
    cpu = re.fullmatch(r"CPU, (\d{1,7}) threads", timing["hardware"])
    libraries = {n: v for n, v in old["environment"].items() if n in LIBRARIES}
    return {
        **old,
        "schema": 2,
        "precision": timing["precision"],
        "world": {
            "device": "cpu" if cpu else "cuda",
            "hardware": there["cpu"] if cpu else timing["hardware"],
            "threads": int(cpu[1]) if cpu else None,
            "python": there["python"],
            "libraries": libraries,
            "platform": there["platform"],
        },
        "environment": {"labelbench": there["labelbench"], "commit": there["commit"]},
        "throughput": {
            name: value for name, value in old["throughput"].items() if name not in timing
        },
    }
