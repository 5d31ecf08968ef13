"""ImageNet-1K, or any subset of it, at 224x224, decoded as it is read. The validation set tests."""

from benchmark.core.errors import UserError
from benchmark.data.dataset_source import DatasetSource
from benchmark.data.images import Dataset
from benchmark.data.place import Place

from .streams.wordnet import wordnet_set


class ImageNet1k(DatasetSource):
    """ImageNet-1K: 1.28 million training images of 1,000 classes."""

    paper = "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, arXiv 1409.0575"

    def load(self, place: Place, argument: str = "") -> Dataset:
        """From `imagenet1k/` or `imagenet/` in the data root.

        Class folders `{train,val}/<wnid>/*.JPEG`; WebDataset tars `*train*.tar` and
        `*validation*.tar`, or `{train,val}/*.tar`; or Parquet as Hugging Face's. `test` may stand
        for `val`. Class names come from `LOC_synset_mapping.txt` or `words.txt` beside them;
        without either, a class is called by its WordNet id, or as tables call it.
        """
        folder = place.find("imagenet1k", "imagenet1k", "imagenet")
        if folder is None:
            raise UserError(
                "ImageNet has no download here: its terms ask each user to fetch it. Put "
                f"train/<wnid>/*.JPEG and val/<wnid>/*.JPEG in {str(place.root)!r}/imagenet1k."
            )
        return wordnet_set(self.name, place, folder)
