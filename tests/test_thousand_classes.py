"""The tool that makes 1,000 classes gives each class its surest pictures, each picture once."""

import torch
from thousand_classes import to_classes


def test_each_class_gets_the_pictures_of_which_the_network_is_surest() -> None:
    surety = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.5, 0.0]]).log()
    assert to_classes(surety, 2) == [(0, 0), (0, 1), (1, 2), (1, 3)]
