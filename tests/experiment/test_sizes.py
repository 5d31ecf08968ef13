"""What labels take is known before they are made: foretold beside shipped, for every method."""

from dataclasses import replace

import pytest
from tiny import tiny_task

from benchmark.api.size import Sizes
from benchmark.core.options import build
from benchmark.experiment.grid import Variant, parse_variant
from benchmark.experiment.sizes import shape_of, sizes
from benchmark.labels.contract import method

FAST = {
    "hello": {"epochs": "1", "rank": "2", "map_rank": "4", "probe": "64"},
    "vqae": {"epochs": "1", "steps": "5"},
}
FORMS = [
    "hard",
    "smoothed",
    "soft",
    "lpqld",
    "lpqld[k=3]",
    "lpqld[k=3,values=int8]",
    "lpqld[k=3,values=int4,quantise=ms]",
    "lpqld[quantise=none]",
    "lpqld[quantise=hard]",
    "expert[steps=4]",
    "expert[steps=4,form=int8]",
    "expert[steps=4,form=top-k,k=3]",
    "label_solve[draws=1]",
    "hald[slc=3]",
    "gift",
    "gift[keep=0.3]",
    "ladd",
    "ladd[form=top-k,k=3,n=2]",
    "infer",
    "infer[form=int8,teachers=trajectory]",
    "score",
    "score[epochs=3,rank=2,sparsity=0.1]",
    "score[rank=2,sparsity=0.1,values=fp16]",
    "vqae",
    "vqae[batches=5,codes=3,entries=8,values=fp16]",
    "hello",
    "hello[weights=int8]",
    "hello[weights=int4,rank=0]",
]


@pytest.mark.parametrize("text", FORMS)
def test_foretold_bytes_are_those_that_are_shipped(tmp_path, text):
    variant = parse_variant(text, FAST.get(text.partition("[")[0], {}))
    task = tiny_task(tmp_path)
    snapshots = [task.fitting()[0]] * 2
    task = replace(task, snapshot_source=lambda: snapshots)
    cls = method(variant.method)
    options = build(cls.Options, dict(variant.options), variant.method)
    options = cls.resolve_options(options, task.shape, None)
    ledger = cls.fit(task, options).storage()
    assert cls.label_bytes(options, task.shape) == ledger.total - ledger.container


def test_what_only_labels_decide_is_not_foretold():
    shape = shape_of(10, 2, 8, "quick", None, None)
    variants = [Variant("lpqld", (("quantise", "adaptive"),)), Variant("teacher")]
    adaptive, teacher = sizes(variants, shape)
    assert adaptive.labels is teacher.labels is None
    assert adaptive.official is None


def test_budgets_that_cannot_be_met_say_so():
    (found,) = sizes([Variant("lpqld", (), "100")], shape_of(10, 2, 8, "quick", None, None))
    assert "cannot meet a budget of 100 bytes" in found.refused


def test_a_budget_is_the_most_of_what_is_not_foretold():
    shape = shape_of(10, 2, 8, "quick", None, None)
    found = sizes([Variant("transform", (), "2kB"), Variant("transform")], shape)
    assert [(each.labels, each.most) for each in found] == [(None, 2000), (None, None)]
    labels = Sizes(shape, found).frame()["labels (B)"].tolist()
    assert labels == ["at most 2,000", "not known before it is made"]


def test_the_papers_task_by_its_recipe():
    shape = shape_of(1000, 10, 224, "imagenet1k", None, None)
    assert (shape.images, shape.epochs, shape.batches) == (10_000, 300, 79)
    assert shape.soft_bytes == 6_000_000_000
    options = {"form": "loralib", "map_rank": "128", "prior": "RN50:openai"}
    (found,) = sizes([Variant("hello", tuple(options.items()))], shape)
    # What the paper counts, and the learnt scale.
    assert found.labels == 2 * (557_784 + 259_072 + 1)
