"""Noise: images that show nothing, to tell what labels teach by themselves.

Every pixel is drawn alone, uniformly over all levels. An image belongs to a class all the same:
its place in the set says to which, so that hard and fixed labels have one to name.
"""

import torch

from benchmark.core.work import Work
from benchmark.data.images import Dataset, ResidentImages
from benchmark.data.views import SAMPLE, random_words
from benchmark.models.image_source import ImageSource, ImageTask

from .random import Options


class Noise(ImageSource[Options]):
    """Uniform noise, the control of what labels teach without images."""

    draws = "draw"
    by_class = True

    def work(self, dataset: Dataset, ipc: int) -> Work:
        return Work()

    def make(self, task: ImageTask) -> ResidentImages:
        """The first `ipc` noise images of each class.

        The order does not depend on `ipc`: the images of IPC 1 are among those of IPC 10.
        """
        train, names = task.dataset.train, task.dataset.class_names
        shape = (train.channels, train.resolution, train.resolution)
        size = task.ipc * train.channels * train.resolution**2
        classes = []
        for label in task.classes:
            words = random_words(task.seed, label, self.options.draw, SAMPLE, -(-size // 8))
            classes.append(torch.from_numpy(words.view("u1")[:size]).view(task.ipc, *shape))
        labels = torch.tensor(task.classes).repeat_interleave(task.ipc)
        return ResidentImages(torch.cat(classes), labels, names)
