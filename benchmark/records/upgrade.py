"""Records of schema 1, as schema 2 says the same.

Schema 1 knew no worlds. What is now `world` stood in `environment` (the CPU's name, Python, the
platform, the libraries) and in `throughput.hardware` (the GPU's name, or `CPU, 2 threads`), and
`precision` stood in `throughput`. Nothing is lost but the name of a GPU's host CPU.
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


ADAPTER = TypeAdapter(_Record)


def upgrade(old: Mapping[str, Any]) -> dict[str, Any]:
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
