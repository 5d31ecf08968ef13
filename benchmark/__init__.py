"""labelbench: how few bytes of labels does a distilled dataset need, and what do they cost?

The public names, imported when first used so that the command line starts without torch.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Artefact": "artefact",
    "Augmentation": "recipe",
    "Blob": "artefact",
    "LabelSource": "contract",
    "LabelTask": "contract",
    "Ledger": "ledger",
    "Needs": "needs",
    "Objective": "recipe",
    "Recipe": "recipe",
    "ResidentImages": "images",
    "TaskShape": "contract",
    "UserError": "errors",
    "ViewBatch": "views",
    "ViewPlan": "views",
    "open_labels": "shipping",
    "render": "render",
}


def __dir__() -> list[str]:
    return sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'benchmark' has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
