"""ImageNet-1k, or any subset of it, at 224x224, decoded on demand.

Labels are indices into the WordNet ids sorted alphabetically, as everywhere. The validation
set serves as test set.
"""

import hashlib
from pathlib import Path

import torch

from benchmark.core import bounded
from benchmark.core.errors import UserError
from benchmark.core.progress import track
from benchmark.data.class_folders import SUFFIXES, class_folders, image_files
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import DECODER, IMAGENET_MEAN, IMAGENET_STD, Dataset, EncodedImages
from benchmark.data.place import Place

RESOLUTION = 224
MOST_BYTES = 2**25  # of a list of class names


class ImageNet(DatasetSource):
    """ImageNet-1k."""

    def load(self, place: Place, argument: str = "") -> Dataset:
        """From class folders `imagenet/{train,val}/<wnid>/*.JPEG`; `test` may stand for `val`.

        Class names come from `LOC_synset_mapping.txt` or `words.txt` in `imagenet/`; without
        either, a class is called by its WordNet id.
        """
        folder = place.find("imagenet", "imagenet")
        if folder is None:
            raise UserError(
                "ImageNet has no download here: its terms ask each user to fetch it. Put "
                f"train/<wnid>/*.JPEG and val/<wnid>/*.JPEG in {str(place.root)!r}/imagenet."
            )
        held_out = folder / "val" if (folder / "val").is_dir() else folder / "test"
        wnids, tested = class_folders(folder / "train"), class_folders(held_out)
        if wnids != tested:
            raise UserError(
                f"{str(folder / 'train')!r} has {len(wnids)} classes and {str(held_out)!r} has "
                f"{len(tested)}; they must be the same. In one only: "
                f"{', '.join(sorted(set(wnids) ^ set(tested))[:5])}."
            )
        names = synset_names(folder)
        class_names = tuple(names.get(wnid, wnid) for wnid in wnids)
        train, test = (_split(path, wnids, class_names) for path in (folder / "train", held_out))
        return Dataset("imagenet", train, test, IMAGENET_MEAN, IMAGENET_STD, mirror=True)


def synset_names(folder: Path) -> dict[str, str]:
    """WordNet id to class name ("tench, Tinca tinca"), by the first mapping in the folder."""
    for file in (folder / "LOC_synset_mapping.txt", folder / "words.txt"):
        if file.is_file():
            try:
                text = bounded.read(file, MOST_BYTES).decode()
            except (UserError, UnicodeDecodeError) as error:
                raise UserError(f"Cannot read {str(file)!r}: {error}.") from error
            rows = (line.split(maxsplit=1) for line in text.splitlines())
            return {row[0]: row[1].strip() for row in rows if len(row) == 2}
    return {}


def _split(folder: Path, wnids: list[str], class_names: tuple[str, ...]) -> EncodedImages:
    """The images of one split; its digest covers their relative paths and sizes."""
    sha = hashlib.sha256(f"{RESOLUTION} {DECODER}\n".encode())
    paths, labels = [], []
    for label, wnid in enumerate(track(wnids, f"list ImageNet {folder.name}")):
        files = image_files(folder / wnid)
        if not files:
            raise UserError(
                f"Class folder {str(folder / wnid)!r} holds no images ({', '.join(SUFFIXES)})."
            )
        for file in files:
            sha.update(f"{file.relative_to(folder).as_posix()} {file.stat().st_size}\n".encode())
        paths += files
        labels += [label] * len(files)
    return EncodedImages(paths, torch.tensor(labels), class_names, RESOLUTION, sha.hexdigest())
