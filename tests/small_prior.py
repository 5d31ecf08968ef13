"""A CLIP of one block a stage in place of the embedded one: the same code, fewer layers to pass."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmark.methods import hello
from benchmark.models.priors import clips, shapes

MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8, "head_width": 16},
    "text_cfg": {"context_length": 24, "vocab_size": 2048, "width": 16, "heads": 1, "layers": 1},
}


def write(folder: Path) -> None:
    """Write one with random weights, as the package holds the embedded one."""
    from open_clip.model import CLIP

    torch.manual_seed(0)
    weights = CLIP(**MODEL).state_dict()  # type: ignore[arg-type]
    halves = {name: value.half().contiguous() for name, value in weights.items()}
    save_file(halves, folder / "weights.safetensors")
    (folder / "model.json").write_text(json.dumps(MODEL))
    shutil.copy(clips.EMBEDDED / "merges.txt.gz", folder)


@pytest.fixture(scope="module")
def small_prior(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """While it is asked for, `embedded` is such a one, in this process."""
    folder = tmp_path_factory.mktemp("prior")
    write(folder)
    hello._trained.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        for module in (clips, shapes):
            patch.setattr(module, "EMBEDDED", folder)
        yield
    hello._trained.cache_clear()
