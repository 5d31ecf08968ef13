"""ImageNet-21K as processed for pretraining (10,450 classes), at 224x224, decoded as it is read."""

from benchmark.core.errors import UserError
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import Dataset
from benchmark.data.place import Place

from .streams.wordnet import wordnet_set


class ImageNet21k(DatasetSource):
    """ImageNet-21K-P: 11 million training images of the 10,450 classes of its winter-21 release."""

    paper = "Ridnik et al., ImageNet-21K Pretraining for the Masses, arXiv 2104.10972"

    def load(self, place: Place, argument: str = "") -> Dataset:
        """From `imagenet21k/` in the data root; classes are its WordNet ids, as many as are found.

        Class folders `{train,val}/<wnid>/` (also `imagenet21k_train/`, `imagenet21k_val/`, as its
        scripts call them), tars or Parquet, as of `imagenet1k`; the Fall-11 release likewise.
        """
        folder = place.find("imagenet21k", "imagenet21k")
        if folder is None:
            raise UserError(
                "ImageNet-21K has no download here: its terms ask each user to fetch it. Put "
                f"train/<wnid>/*.JPEG and val/<wnid>/*.JPEG in {str(place.root)!r}/imagenet21k."
            )
        return wordnet_set(self.name, place, folder, prefix="imagenet21k_")
