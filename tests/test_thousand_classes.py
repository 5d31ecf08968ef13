"""The tool that makes 1,000 classes gives each class its surest pictures, each picture once."""

import torch
from thousand_classes import classes_named, to_classes


def test_each_class_gets_the_pictures_of_which_the_network_is_surest() -> None:
    surety = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.5, 0.0]]).log()
    assert to_classes(surety, 2) == [(0, 0), (0, 1), (1, 2), (1, 3)]


def test_a_name_of_two_classes_is_the_one_that_keeps_the_order() -> None:
    among = ["tench, Tinca", "crane", "viaduct", "Crane", "yawl"]
    assert classes_named(["tench", "viaduct", "crane", "yawl"], among) == [0, 2, 3, 4]
    assert classes_named(["crane", "viaduct"], among) == [1, 2]
