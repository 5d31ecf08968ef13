import math
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import pictures, reloaded, tiny_task  # type: ignore[import-not-found]

from benchmark.core.errors import UserError
from benchmark.data.images import ResidentImages
from benchmark.labels import artefact, packed
from benchmark.labels.task import TaskShape
from benchmark.methods import lpqld
from benchmark.methods.lpqld import LPQLD
from benchmark.methods.lpqld import budget as budget_
from benchmark.methods.lpqld.budget import kept_logits

SHAPE = TaskShape(classes=10, images=100, batches=2, epochs=10, resolution=8)
BITS = {"fp16": 16, "bf16": 16, "int8": 8, "int4": 4}


def settled(budget=None, shape=SHAPE, **options):
    return LPQLD.resolve_options(LPQLD.Options(**options), shape, budget)


def test_without_a_budget():
    def k(classes, **options):
        return settled(shape=replace(SHAPE, classes=classes), **options).k

    assert [k(1000), k(10), k(2), k(1)] == [100, 2, 2, 1]
    assert [k(1000, quantise="ms"), k(10, quantise="ms"), k(2, quantise="ms")] == [100, 2, 1]
    assert [k(10, quantise=form) for form in ("none", "hard", "smoothing", "adaptive")] == [
        10,
        1,
        1,
        0,
    ]
    assert k(10, k=7) == 7


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        ({}, 2),
        ({"keep": 0.001}, 1),
        ({"keep": 1.0}, 20),
        ({"keep": 0.27}, 5),
        ({"batches": 7}, 7),
        ({"batches": 7, "granularity": "batch"}, 6),
        ({"batches": 1, "granularity": "epoch"}, 2),
        ({"keep": 0.26, "granularity": "epoch"}, 4),
    ],
)
def test_batches_are_as_many_as_asked_for_in_whole_epochs_if_need_be(options, batches):
    found = settled(**options)
    assert (found.batches, found.keep) == (batches, batches / 20)
    assert LPQLD.resolve_options(found, SHAPE, None) == found


@pytest.mark.parametrize(
    ("form", "ks"),
    [
        ("mr", range(2, 11)),
        ("ms", range(2, 10)),
        ("none", [10]),
        ("hard", [1]),
        ("smoothing", [1]),
        ("adaptive", [0]),
    ],
)
def test_kept_logits(form, ks):
    assert list(kept_logits(LPQLD.Options(quantise=form), 10, 10)) == list(ks)


def test_other_forms_refuse_a_k():
    refused = {
        "mr": (11, r"lpqld\.k is 11; .*quantise=mr.* valid: 1 to 10"),
        "ms": (10, r"lpqld\.k is 10; .*quantise=ms.* valid: 1 to 9"),
        "none": (3, r"lpqld\.k is 3; .*quantise=none.* valid: 10 to 10"),
        "hard": (2, r"lpqld\.k is 2; .*quantise=hard.* valid: 1 to 1"),
        "smoothing": (2, r"lpqld\.k is 2; .*quantise=smoothing.* valid: 1 to 1"),
        "adaptive": (5, r"lpqld\.k is 5; .*quantise=adaptive"),
    }
    for form, (k, message) in refused.items():
        with pytest.raises(UserError, match=message):
            settled(quantise=form, k=k)


def test_settings_without_sense():
    for name, value in (
        ("keep", 0),
        ("keep", 1.1),
        ("mass", 0),
        ("mass", 1.5),
        ("k", -1),
        ("batches", -1),
        ("decay", 0),
        ("interval", 0),
        ("floor", 0),
    ):
        with pytest.raises(ValueError, match=f"{name}.*{value}"):
            LPQLD.Options(**{name: value})


def folder(monkeypatch, batches, kept, each: int | None = 2):
    """Others' labels of this many batches and logits a label, in epochs of `each` batches."""
    size = 50  # of which the images make two batches, as the plan has
    found = SimpleNamespace(batches=batches, kept=kept, batches_per_epoch=each, sizes=[size])
    monkeypatch.setattr(lpqld, "open_folder", lambda *_, **__: found)


def test_labels_of_others_that_keep_few_logits(monkeypatch):
    folder(monkeypatch, batches=5, kept=4)
    assert list(kept_logits(LPQLD.Options(path="theirs"), 10, 4)) == [2, 3, 4]
    assert settled(path="theirs", keep=1.0).batches == 5
    assert settled(path="theirs", granularity="epoch", keep=1.0).batches == 4
    with pytest.raises(UserError, match=r"k is 5; .*4 of 10 logits known, valid: 1 to 4"):
        settled(path="theirs", k=5)
    for form in ("ms", "smoothing", "none"):
        with pytest.raises(
            UserError,
            match=f"quantise={form} needs the logits of all 10 classes, .*'theirs' keep 4",
        ):
            settled(path="theirs", quantise=form)


def test_labels_of_others_that_are_less_than_an_epoch(monkeypatch):
    folder(monkeypatch, batches=1, kept=10)
    with pytest.raises(
        UserError, match=r"granularity=epoch needs a whole stored epoch, 2 batches, .* holds 1"
    ):
        settled(path="theirs", granularity="epoch")


def test_what_labels_of_others_cannot_serve_is_refused(monkeypatch):
    for each, said in ((3, "has 3"), (None, "has no epochs")):
        folder(monkeypatch, batches=6, kept=10, each=each)
        with pytest.raises(UserError, match=f"stored epochs of 2 batches, and 'theirs' {said}"):
            settled(path="theirs", granularity="batch")
    folder(monkeypatch, batches=6, kept=4)
    with pytest.raises(UserError, match="select=loss needs the logits of all 10 classes"):
        settled(path="theirs", select="loss")
    with pytest.raises(UserError, match=r"lpqld\.batches is 7, but there are 6"):
        settled(path="theirs", batches=7)


def by_hand(shape, options):
    """Bytes of the labels, and of the batches' numbers."""
    labels = options.batches * math.ceil(shape.images / shape.batches)
    kept, size = labels * options.k, 0
    if options.quantise != "none":
        size += math.ceil(kept * max(1, math.ceil(math.log2(shape.classes))) / 8)
    if options.quantise != "hard":
        size += math.ceil(kept * BITS[options.values] / 8)
        size += 2 * labels * options.values.startswith("int")
    if options.select != "first":
        steps = shape.epochs * shape.batches
        size += math.ceil(options.batches * max(1, math.ceil(math.log2(steps))) / 8)
    return size


shapes = st.builds(
    TaskShape,
    classes=st.integers(2, 1000),
    images=st.integers(20, 5000),
    batches=st.integers(1, 20),
    epochs=st.integers(1, 300),
    resolution=st.just(8),
)
choices = st.fixed_dictionaries(
    {
        "quantise": st.sampled_from(["mr", "ms", "smoothing", "hard", "none"]),
        "values": st.sampled_from([*BITS]),
        "select": st.sampled_from(["first", "random", "loss"]),
        "granularity": st.sampled_from(["pool", "batch", "epoch"]),
        "keep": st.floats(0.001, 1),
    }
)


CONTAINER_BYTES = 300  # where tests say what it is


@given(shapes, choices, st.floats(2.6, 8.0).map(lambda digits: int(10**digits)))
def test_any_budget_is_met_and_used_up(shape, options, budget):
    with patch.object(budget_, "container_bytes", lambda *_: CONTAINER_BYTES):
        met_and_used_up(shape, options, budget)


def met_and_used_up(shape, options, budget):
    room, steps = budget - CONTAINER_BYTES, shape.epochs * shape.batches
    together = 1 if options["granularity"] == "pool" else shape.batches
    wanted = settled(shape=shape, **options)
    fewest = {"none": shape.classes, "smoothing": 1, "hard": 1}.get(wanted.quantise, 2)
    most = {"mr": shape.classes, "ms": shape.classes - 1}.get(wanted.quantise, fewest)
    fewest = min(fewest, most)
    smallest = by_hand(shape, replace(wanted, batches=together, k=fewest))
    if smallest > room:
        said = (
            f"budget of {budget:,} bytes: the least it can take is {smallest + CONTAINER_BYTES:,},"
        )
        with pytest.raises(UserError, match=said):
            settled(budget, shape, **options)
        return
    found = settled(budget, shape, **options)
    assert by_hand(shape, found) <= room
    assert found.batches % together == 0
    assert found.keep == found.batches / steps
    if fewest < found.k < most:
        assert found.batches == wanted.batches
        assert by_hand(shape, replace(found, k=found.k + 1)) > room
    elif found.batches < steps:
        assert by_hand(shape, replace(found, batches=found.batches + together)) > room


@patch.object(budget_, "container_bytes", lambda *_: CONTAINER_BYTES)
def test_a_k_that_was_asked_for_is_kept():
    found = settled(5000, k=3)
    assert found.k == 3
    assert by_hand(SHAPE, found) <= 5000 - CONTAINER_BYTES
    assert by_hand(SHAPE, replace(found, batches=found.batches + 1)) > 5000 - CONTAINER_BYTES


def test_no_budget_can_settle_adaptive():
    with pytest.raises(UserError, match="quantise=adaptive takes as many bytes as its labels need"):
        settled(10**9, quantise="adaptive")


def linear(images, classes=10):
    """Changes to a task: any number of classes, and a teacher that takes no time."""
    weights = torch.randn(64, classes, generator=torch.Generator().manual_seed(0))
    pixels = pictures(images).pixels
    names = [str(c) for c in range(classes)]
    return {
        "images": ResidentImages(pixels, torch.arange(images) % classes, names),
        "teacher": lambda pixels: 3 * pixels.flatten(1) @ weights,
    }


def label_bytes(source):
    """Bytes of everything that is shipped, but for the container."""
    return sum(blob.tensor.shape.numel() * blob.tensor.dtype.itemsize for blob in source.tensors())


@pytest.mark.parametrize("values", [*BITS])
@pytest.mark.parametrize("form", ["mr", "ms", "smoothing", "hard", "none"])
def test_the_artefact_meets_its_budget_and_uses_it_up(form, values, tmp_path):
    task = tiny_task(tmp_path / "scratch", images=24)  # three batches of eight
    task = replace(task, **linear(24))
    select = "first" if values in ("fp16", "int4") else "entropy"
    options = LPQLD.Options(keep=0.25, quantise=form, values=values, select=select)
    for budget in (600, 1000, 100_000):
        found = LPQLD.resolve_options(options, task.shape, budget)
        source = LPQLD.fit(task, found)
        ledger = source.storage()
        assert ledger.total <= budget
        # Where all are stored, they are the plan's first ones.
        named = found if found.batches < 12 else replace(found, select="first")
        assert ledger.total - ledger.container == label_bytes(source) == by_hand(task.shape, named)
        if form in ("mr", "ms") and 2 < found.k < 10 - (form == "ms"):
            larger = replace(found, k=found.k + 1)
        elif found.batches < 11:
            larger = replace(found, batches=found.batches + 1)
        else:
            continue
        assert label_bytes(LPQLD.fit(task, larger)) + ledger.container + 40 > budget


def test_many_shards_are_paid_for(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "MOST_BYTES", 0)
    monkeypatch.setattr(artefact, "SHARD_BYTES", 1 << 12)
    task = tiny_task(tmp_path / "scratch", images=24, epochs=40)
    task = replace(task, **linear(24, classes=100))
    for budget in (4000, 5000, 60_000):
        found = LPQLD.resolve_options(LPQLD.Options(keep=0.5, values="int8"), task.shape, budget)
        assert 0.4 * budget < LPQLD.fit(task, found).storage().total <= budget


def test_the_container_of_the_longest_manifest_is_foretold(tmp_path, monkeypatch):
    # Three channels, numbers of 17 digits, every blob there can be under a budget.
    third, said = 1 / 3, []
    whole = budget_.container_bytes
    monkeypatch.setattr(
        budget_, "container_bytes", lambda *args: said.append(whole(*args)) or said[-1]
    )
    task = tiny_task(tmp_path / "scratch")
    task = replace(task, mean=(third,) * 3, std=(third,) * 3, seed=2**63 + 1)
    task = replace(task, plan=replace(task.plan, seed=2**64 - 1))
    options = LPQLD.Options(
        keep=third,
        select="confidence",
        granularity="epoch",
        values="int8",
        schedule="cosine_reverse",
        decay=third,
        interval=third,
        floor=2 + third,
        mass=third,
    )
    found = LPQLD.resolve_options(options, task.shape, 1200)
    source = reloaded(LPQLD.fit(task, found), tmp_path / "saved")
    assert len(artefact.read_manifest(tmp_path / "saved")["tensors"]) == 4
    assert 0 <= said[0] - source.storage().container < 40
    assert source.storage().total <= 1200
