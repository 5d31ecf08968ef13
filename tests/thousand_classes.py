"""Makes a set of 1,000 classes and its teacher of what is public, to try codecs at that many.

The teacher is EfficientNet-Lite0, trained on ImageNet-1K, of `labelbench[imagenet-prior]`. The
pictures are Tiny-ImageNet's, enlarged; each class is given those of which the network is surest, so
the labels are the network's own and its accuracy on them says nothing:

    python tests/thousand_classes.py TINY_IMAGENET FOLDER
    python -m benchmark distortion --dataset parquet:FOLDER --images random --ipc 1 \\
        --students convnet-d4-w32-bn --recipe rded \\
        --teacher timm:tf_efficientnet_lite0:FOLDER/teacher.safetensors --methods transform,lpqld

Beside it `teacher_tiny.safetensors` is the same network for Tiny-ImageNet's own 200 classes, by the
rows of its last layer.
"""

import argparse
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from scipy.optimize import linear_sum_assignment
from timm.data.imagenet_info import ImageNetInfo
from torch import Tensor, nn
from torchvision.transforms.functional import normalize, pil_to_tensor

from benchmark.models.priors.packages import KNOWN, MEAN, STD, file_of

MODEL, CLASSES = "efficientnet_lite0", 1000
LOOKED_AT, KEPT = {"train": 4000, "test": 2000}, {"train": 2000, "test": 1000}
BATCH = 100
NORM = {"mean": json.dumps(MEAN), "std": json.dumps(STD)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("tiny_imagenet", type=Path, help="folder of its Parquet tables")
    parser.add_argument("folder", type=Path, help="where the set and its teacher are written")
    parser.add_argument("--pixels", type=int, default=96, help="a side, once enlarged")
    words = parser.parse_args()
    words.folder.mkdir(parents=True, exist_ok=True)
    network = packaged_teacher(words.folder / "teacher.safetensors")
    write_tiny_teacher(words.folder, class_names(words.tiny_imagenet))
    for split, count in LOOKED_AT.items():
        rows = spread(words.tiny_imagenet, split, count)
        pictures = [enlarged(row, words.pixels) for row in rows]
        given = to_classes(scores(network, pictures), KEPT[split] // CLASSES)
        write(words.folder / f"{split}-00000-of-00001.parquet", pictures, given)


def packaged_teacher(file: Path) -> nn.Module:
    """The package's network, and its weights by timm's names in `file`."""
    network = timm.create_model(KNOWN[MODEL][1], pretrained=False)
    stored = torch.load(file_of(MODEL), map_location="cpu", weights_only=True)
    values = iter([value for name, value in stored.items() if not name.endswith("batches_tracked")])
    state = network.state_dict()
    for name, place in state.items():
        if not name.endswith("batches_tracked"):
            place.copy_(next(values))
    save_file({name: value.contiguous() for name, value in state.items()}, file, NORM)
    return network.eval().to(memory_format=torch.channels_last)


def write_tiny_teacher(folder: Path, names: Sequence[str]) -> None:
    """`teacher_tiny.safetensors` beside `teacher.safetensors`, of the classes with these names."""
    weights = load_file(folder / "teacher.safetensors")
    rows = classes_named(names, ImageNetInfo("imagenet-1k").label_descriptions())
    for name in ("classifier.weight", "classifier.bias"):
        weights[name] = weights[name][rows].contiguous()
    save_file(weights, folder / "teacher_tiny.safetensors", NORM)


def class_names(folder: Path) -> list[str]:
    """Of the tables' label column."""
    schema = pq.read_schema(next(folder.glob("test-*.parquet")))
    return json.loads(schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]


def classes_named(names: Sequence[str], among: Iterable[str]) -> list[int]:
    """Where names stand among ImageNet's, whose order is theirs, whole or by their first word.

    Two classes are called crane; the order says which of them is meant.
    """
    whole = [name.lower() for name in among]
    first = [name.split(",")[0] for name in whole]
    found = [-1]
    for name in map(str.lower, names):
        places = [i for i, other in enumerate(whole) if other == name]
        places = places or [i for i, other in enumerate(first) if other == name.split(",")[0]]
        found.append(min(place for place in places if place > found[-1]))
    return found[1:]


def spread(folder: Path, split: str, count: int) -> Iterator[bytes]:
    """Encoded pictures, evenly spread over a split's tables."""
    tables = [
        pq.read_table(f, columns=["image"]) for f in sorted(folder.glob(f"{split}-*.parquet"))
    ]
    column = pa.concat_tables(tables)["image"]
    for at in np.linspace(0, len(column) - 1, count).round().astype(int).tolist():
        yield column[at].as_py()["bytes"]


def enlarged(encoded: bytes, pixels: int) -> Image.Image:
    picture = Image.open(io.BytesIO(encoded)).convert("RGB")
    return picture.resize((pixels, pixels), Image.Resampling.BICUBIC)


@torch.no_grad()
def scores(network: nn.Module, pictures: list[Image.Image]) -> Tensor:
    """Log probabilities (N, 1,000)."""
    parts = []
    for at in range(0, len(pictures), BATCH):
        block = torch.stack([pil_to_tensor(picture) for picture in pictures[at : at + BATCH]]) / 255
        block = normalize(block, list(MEAN), list(STD)).contiguous(
            memory_format=torch.channels_last
        )
        parts.append(network(block).log_softmax(1))
    return torch.cat(parts)


def to_classes(surety: Tensor, each: int) -> list[tuple[int, int]]:
    """Pairs of class and picture, `each` a class, of the greatest sum of log probabilities."""
    places, pictures = linear_sum_assignment(surety.T.repeat(each, 1).numpy(), maximize=True)
    return sorted(zip((places % surety.shape[1]).tolist(), pictures.tolist(), strict=True))


def write(file: Path, pictures: list[Image.Image], given: list[tuple[int, int]]) -> None:
    """A table in the Hugging Face image layout, with the WordNet ids as class names."""
    rows = []
    for _, at in given:
        packed = io.BytesIO()
        pictures[at].save(packed, "PNG")
        rows.append({"bytes": packed.getvalue(), "path": f"{at}.png"})
    names = ImageNetInfo("imagenet-1k").label_names()
    features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
    schema = pa.schema(
        {"image": pa.struct({"bytes": pa.binary(), "path": pa.string()}), "label": pa.int64()},
        {"huggingface": json.dumps({"info": {"features": features}})},
    )
    labels = [label for label, _ in given]
    pq.write_table(pa.table({"image": rows, "label": labels}, schema), file)


if __name__ == "__main__":
    main()
