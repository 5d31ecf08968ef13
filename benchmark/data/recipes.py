"""The recipes: the protocol's constants, all in this file.

Every method of a comparison shares one recipe. A recipe changed with `--set recipe.X=Y` is
off-protocol: its records say so, and never share a table with others.
"""

from dataclasses import replace

from .recipe import Augmentation, Objective, Recipe

_SMALL_IMAGES = Augmentation(crop_scale=(0.25, 1.0))

# The test of label distillation (Bohdal et al., arXiv 2006.08572): Adam, which AdamW is without
# weight decay, at a constant rate, on whole images; the cross-entropy with the labels, from which
# this KL differs by a constant. What differs from the authors' code: there 10, 10, 25, 50, 50 and
# 50 of 10, 20, 50, 100, 200 and 500 images make a batch, drawn anew for each step, here 50 or
# all, epoch by epoch; there learned labels bring their own number of steps, and for others it is
# chosen among up to 1,000, or 1,701 for more than 100 images, here alike for all labels among up
# to 1,000; there 20 repeats are counted, here as many as there are seeds.
_LD = Recipe(
    "ld",
    epochs=0,
    batch_size=50,
    weight_decay=0.0,
    augmentation=Augmentation((1.0, 1.0), (1.0, 1.0), flip=0.0, mix="none"),
    objective=Objective(temperature=1.0),
    schedule="constant",
    steps=1000,
    stop="held-out",
)

RECIPES = {
    # The quick start: 8x8 digits on a laptop. Crops are mild because digits fill the picture.
    "quick": Recipe(
        "quick", epochs=60, batch_size=50, lr=5e-3, augmentation=Augmentation((0.6, 1.0))
    ),
    # CIFAR-10 within an hour on two CPU cores.
    # Batch and rate are RDED's for its Conv-3 students; 600 steps at IPC 10, as RDED takes there.
    "cpu": Recipe("cpu", epochs=150, batch_size=25, lr=2e-3, augmentation=_SMALL_IMAGES),
    # The same for students of online logits, as HeLlO trains them: mean squared error, and
    # cross-entropy with the images' own labels. The paper does not give its weight.
    "cpu-mse": Recipe(
        "cpu-mse",
        epochs=150,
        batch_size=25,
        lr=2e-3,
        augmentation=_SMALL_IMAGES,
        objective=Objective("mse", ce_weight=0.1),
    ),
    # The papers' budget for CIFAR and Tiny-ImageNet: 300 epochs, AdamW, CutMix, KL at T = 20
    # (papers of RDED and LPQLD), on crops of at least a quarter of the image.
    "standard": Recipe("standard", epochs=300, batch_size=100, augmentation=_SMALL_IMAGES),
    # LPLD's and LPQLD's recipes (official scripts). All warm up and fall step by step, theirs
    # epoch by epoch.
    "imagenet1k": Recipe("imagenet1k", epochs=300, batch_size=128),
    # Their "label smoothing" of 0.2 acts on logits and so is temperature 20 / 0.8.
    "imagenet21k": Recipe(
        "imagenet21k",
        epochs=300,
        batch_size=32,
        lr=2e-3,
        augmentation=Augmentation(flip=0.0, mix="none", cutout=0.5),
        objective=Objective(temperature=25.0),
    ),
    # HeLlO's, as far as it is known: 300 epochs (its label bytes say so) and its loss; the rest
    # is RDED's, the baseline it builds on.
    "hello": Recipe(
        "hello",
        epochs=300,
        batch_size=100,
        augmentation=Augmentation(crop_scale=(0.5, 1.0)),
        objective=Objective("mse", ce_weight=0.1),
    ),
    # LPLD's for Tiny-ImageNet; LPQLD published none.
    "tiny": Recipe(
        "tiny",
        epochs=100,
        batch_size=64,
        optimiser="sgd",
        lr=0.2,
        weight_decay=1e-4,
        warmup=0.05,
        augmentation=Augmentation(mix="none"),
        objective=Objective(rescale=True),
    ),
    # Label distillation's two tests: a network's own last layer, and ridge regression.
    "ld": _LD,
    "ld-ridge": replace(_LD, name="ld-ridge", evaluator="ridge"),
}
