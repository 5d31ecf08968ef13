from dataclasses import replace

import pytest
from tiny import recipe_of

from benchmark.core import plugins
from benchmark.data import recipes
from benchmark.data.recipe import Augmentation
from benchmark.data.recipe_source import RecipeSetting


def summary(name):
    recipe = recipe_of(name)
    augmentation, objective = recipe.augmentation, recipe.objective
    return {
        "length": (recipe.epochs, recipe.batch_size),
        "optimiser": (recipe.optimiser, recipe.lr, recipe.weight_decay, recipe.warmup),
        "crop": (augmentation.crop_scale, augmentation.crop_ratio),
        "rest": (augmentation.flip, augmentation.mix, augmentation.cutout),
        "loss": (objective.loss, objective.temperature, objective.rescale, objective.ce_weight),
    }


WIDE_CROPS = ((0.08, 1.0), (3 / 4, 4 / 3))


def test_the_published_recipe_for_imagenet_1k():
    assert summary("imagenet1k") == {
        "length": (300, 128),
        "optimiser": ("adamw", 1e-3, 0.01, 0.0),
        "crop": WIDE_CROPS,
        "rest": (0.5, "cutmix", 0.0),
        "loss": ("kl", 20.0, False, 0.0),
    }
    assert recipe_of("imagenet1k").augmentation.mix_alpha == 1.0


def test_the_published_recipe_for_imagenet_21k():
    assert summary("imagenet21k") == {
        "length": (300, 32),
        "optimiser": ("adamw", 2e-3, 0.01, 0.0),
        "crop": WIDE_CROPS,
        "rest": (0.0, "none", 0.5),
        "loss": ("kl", 20.0, False, 0.0),
    }
    assert recipe_of("imagenet21k").objective.label_scale == 0.8


def test_the_published_recipe_for_tiny_imagenet():
    assert summary("lpld") == {
        "length": (100, 64),
        "optimiser": ("sgd", 0.2, 1e-4, 5 / 100),
        "crop": WIDE_CROPS,
        "rest": (0.5, "none", 0.0),
        "loss": ("kl", 20.0, True, 0.0),
    }
    assert recipe_of("lpld").momentum == 0.9


def test_recipes_go_by_their_names():
    assert all(name == recipe_of(name).name for name in plugins.found(plugins.RECIPES))
    assert plugins.found(plugins.RECIPES).keys() == {
        *("rded", "qin", "lpld", "imagenet1k", "imagenet21k", "hello", "ld", "ld-ridge", "quick"),
    }


def setting(classes=10, ipc=10, resolution=32, student="convnet-d3-bn"):
    return RecipeSetting(classes, ipc, resolution, student)


@pytest.mark.parametrize(
    ("at", "batch", "lr"),
    [
        (setting(ipc=1), 10, 1e-3),
        (setting(ipc=10), 50, 1e-3),
        (setting(ipc=50), 100, 1e-3),
        (setting(classes=100, ipc=10, student="resnet18"), 100, 1e-3),
        (setting(classes=100, ipc=10), 25, 2e-3),
        (setting(classes=200, ipc=1, resolution=64), 100, 1e-3),
        (setting(classes=1000, ipc=50, resolution=224, student="resnet18"), 200, 1e-3),
        (setting(classes=5, ipc=1), 5, 1e-3),
        (setting(ipc=10, student="efficientnet-b0"), 50, 2e-3),
        (setting(ipc=10, student="mobilenetv2"), 50, 2.5e-3),
        (setting(ipc=10, student="swin-tiny"), 50, 1e-4),
    ],
)
def test_rded_sets_batch_and_lr_by_ipc_classes_and_student(at, batch, lr):
    recipe = recipes.make("rded", at)
    assert (recipe.batch_size, recipe.lr) == (batch, lr)
    assert (recipe.epochs, recipe.schedule, recipe.pixels) == (300, "to-half", "imagenet")
    assert recipe.augmentation.crop_scale[0] == (1 if at.resolution <= 64 else 0.25)


def test_hello_is_rdeds_but_for_its_loss():
    hello, rded = (recipes.make(name, setting()) for name in ("hello", "rded"))
    assert replace(hello, name="rded", objective=rded.objective) == rded
    assert (hello.objective.loss, hello.objective.ce_weight) == ("mse", 0.1)


def test_the_test_of_one_fixed_label():
    recipe = recipes.make("qin", setting())
    assert summary("qin")["optimiser"] == ("sgd", 0.01, 5e-4, 0.0)
    assert (recipe.epochs, recipe.batch_size, recipe.momentum) == (3000, 256, 0.9)
    assert (recipe.schedule, recipe.pixels) == ("quarters", "whitened")
    assert recipe.augmentation.dsa == ("color", "crop", "cutout", "flip", "scale", "rotate")
    assert recipes.make("qin", setting(classes=100)).pixels == "dataset"
    tiny = recipes.make("qin", setting(classes=200, resolution=64))
    assert (tiny.epochs, tiny.lr, tiny.pixels) == (1000, 0.1, "dataset")


@pytest.mark.parametrize("cutout", [-0.1, 1.0, 1.5])
def test_a_cutout_that_leaves_no_picture(cutout):
    with pytest.raises(ValueError, match=f"cutout must be a share below 1, got {cutout}"):
        Augmentation(cutout=cutout)


def test_the_tests_of_label_distillation():
    assert (
        summary("ld")
        == summary("ld-ridge")
        == {
            "length": (0, 50),
            "optimiser": ("adamw", 1e-3, 0.0, 0.0),
            "crop": ((1.0, 1.0), (1.0, 1.0)),
            "rest": (0.0, "none", 0.0),
            "loss": ("kl", 1.0, False, 0.0),
        }
    )
    for name, evaluator in (("ld", "network"), ("ld-ridge", "ridge")):
        recipe = recipe_of(name)
        assert (recipe.steps, recipe.schedule, recipe.stop) == (1000, "constant", "held-out")
        assert recipe.evaluator == evaluator


@pytest.mark.parametrize(
    ("images", "epochs"), [(1, 1000), (50, 1000), (51, 500), (100, 500), (150, 334), (10**6, 1)]
)
def test_steps_make_whole_epochs(images, epochs):
    assert recipe_of("ld").epochs_of(images) == epochs
    assert recipe_of("quick").epochs_of(images) == 50


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("quick", {"steps": -1}, "steps must not be negative, got -1"),
        ("quick", {"steps": 9}, "steps stand in place of epochs, got 9 steps and 50 epochs"),
        ("ld", {"epochs": 2}, "steps stand in place of epochs, got 1000 steps and 2 epochs"),
        ("ld", {"steps": 0}, "epochs and batch_size must be at least 1, got 0, 50"),
        (
            "quick",
            {"stop": "held-out"},
            "constant from the start, .* got schedule cosine, warmup 0",
        ),
        ("qin", {"evaluator": "ridge"}, "so dsa must be empty"),
        ("ld", {"warmup": 0.1}, "constant from the start, .* got schedule constant, warmup 0.1"),
        ("hello", {"evaluator": "ridge"}, "must be a plain kl; got Objective"),
        ("lpld", {"evaluator": "ridge"}, "must be a plain kl; got Objective"),
    ],
)
def test_recipes_that_contradict_themselves(name, changes, message):
    with pytest.raises(ValueError, match=message):
        replace(recipe_of(name), **changes)
