"""The checks of image sources, datasets, networks and recipes: ours pass, broken ones are told."""

import re

import pytest

from benchmark.core import plugins
from benchmark.core.plugins import DATASETS, IMAGES, NETWORKS, RECIPES
from benchmark.experiment.conformance import check

IMAGE = """
import torch
from benchmark import ImageSource, NoOptions, ResidentImages, Needs
class Broken(ImageSource[NoOptions]):
    def make(self, task):
        train = task.dataset.train
        rows = torch.cat([(train.labels == c).nonzero().squeeze(1)[:task.ipc] for c in range(10)])
        pixels, labels = train.take(rows), train.labels[rows]
        {make}
        return ResidentImages(pixels, labels, train.class_names)
    {more}
"""
DATASET = """
import torch
from benchmark import Dataset, DatasetSource, ResidentImages
class Broken(DatasetSource):
    loads = 0
    def load(self, place, argument=""):
        Broken.loads += 1
        names, mean = ("a", "b"), (0.5,)
        pixels = torch.arange(4 * 64).remainder(256).byte().view(4, 1, 8, 8)
        labels, tested = torch.tensor([0, 1, 0, 1]), torch.tensor([0, 1, 0, 1])
        {load}
        train, test = ResidentImages(pixels, labels, names), ResidentImages(pixels, tested, names)
        return Dataset("broken", train, test, mean, (0.5,), mirror=False)
"""
NETWORK = """
import torch
from torch import nn
from benchmark import NetworkFamily
class Broken(NetworkFamily):
    names = {names}
    def create(self, name, classes, channels, resolution):
        network = nn.Sequential(nn.Flatten(), nn.Linear(channels * resolution**2, classes))
        {create}
        return network
"""
RECIPE = """
import random
from benchmark import Recipe, RecipeSource
class Broken(RecipeSource):
    {more}
    def recipe(self, setting):
        {recipe}
        return Recipe(self.name, epochs=3, batch_size=10)
"""
BROKEN = {
    (IMAGES, IMAGE, "make", "rows = rows.flip(0); labels = labels.flip(0)"): "labels are",
    (IMAGES, IMAGE, "make", "return pixels"): "`make` returned Tensor, not ResidentImages",
    (IMAGES, IMAGE, "make", "pixels = pixels[:, :, :4, :4]"): "pixels are",
    (IMAGES, IMAGE, "make", "pixels = torch.randint(256, pixels.shape).byte()"): "from the task's",
    (IMAGES, IMAGE, "more", "needs = lambda self, ipc: None"): "`needs` returned NoneType",
    (DATASETS, DATASET, "load", "return names"): "`load` returned tuple, not a Dataset",
    (DATASETS, DATASET, "load", "labels = torch.tensor([0, 0, 0, 0])"): "has no image of b",
    (DATASETS, DATASET, "load", "labels = labels - 1"): "Labels run from -1 to 0",
    (DATASETS, DATASET, "load", "mean = (50.0,)"): r"mean is \(50.0,\); it needs 1 values in 0..1",
    (DATASETS, DATASET, "load", "pixels = pixels + Broken.loads"): "differs from one `load`",
    (NETWORKS, NETWORK, "names", "dict(a='b')"): "`names` must be a dictionary of literals",
    (NETWORKS, NETWORK, "create", "network = network[:1]"): r"gives \(4, 3072\), not \(4, 7\)",
    (NETWORKS, NETWORK, "create", "network.extra = nn.Parameter(torch.ones(1))"): "extra take no",
    (
        NETWORKS,
        NETWORK,
        "create",
        "torch.seed(); nn.init.normal_(network[1].weight)",
    ): "the seed is",
    (RECIPES, RECIPE, "recipe", "return 3"): "it returned int, not a Recipe",
    (RECIPES, RECIPE, "recipe", "return Recipe('other', 3, 10)"): "is called 'other', not 'broken'",
    (RECIPES, RECIPE, "recipe", "return Recipe(self.name, random.randint(1, 99), 10)"): "different",
    (RECIPES, RECIPE, "more", "deviations = ('no sentence',)"): "is no sentence",
    (RECIPES, RECIPE, "more", "deviations = ('One.',)"): "no `paper` that they are from",
}
DEFAULTS = {"make": "pass", "more": "pass", "load": "pass", "create": "pass", "recipe": "pass"}


def problems(kind, name, argument=""):
    return [problem for _, problem in check(kind, name, argument) if problem is not None]


@pytest.mark.parametrize(
    ("kind", "name", "argument"),
    [
        (DATASETS, "digits", ""),
        *((IMAGES, name, "") for name in ("random", "rded")),
        (IMAGES, "foreign", "digits"),
        *((NETWORKS, name, "") for name in plugins.found(NETWORKS)),
        *((RECIPES, name, "") for name in plugins.found(RECIPES)),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_ours_keep_their_contracts(kind, name, argument):
    assert problems(kind, name, argument) == []


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken[0].name}: {broken[3]}")
def test_a_broken_plugin_is_told_what_to_mend(broken, tmp_path, monkeypatch):
    kind, template, place, code = broken
    monkeypatch.setattr(plugins, "_added", {})
    filled = {**DEFAULTS, "names": "{'broken-net': 'a network'}", place: code}
    text = template
    for name, value in filled.items():
        text = text.replace(f"{{{name}}}", value)
    (tmp_path / "broken.py").write_text(text)
    plugin = plugins.add(tmp_path / "broken.py")
    assert plugin.kind == kind
    found = problems(kind, plugin.name)
    assert len(found) >= 1
    assert any(re.search(BROKEN[broken], problem) for problem in found), found


def test_an_unbroken_one_passes(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    for number, template in enumerate((IMAGE, DATASET, NETWORK, RECIPE)):
        text = template
        for name, value in {**DEFAULTS, "names": "{'whole-net': 'a network'}"}.items():
            text = text.replace(f"{{{name}}}", value)
        (tmp_path / f"whole{number}.py").write_text(text)
        plugin = plugins.add(tmp_path / f"whole{number}.py")
        assert problems(plugin.kind, plugin.name) == []


def test_data_that_is_not_there_is_told(monkeypatch):
    monkeypatch.delenv("LABELBENCH_DATA", raising=False)
    (found,) = problems(DATASETS, "cifar10")
    assert "set LABELBENCH_DATA" in found
