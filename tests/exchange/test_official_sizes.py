"""Sizes of official forms, beside files that are written and figures that are published."""

import json

import pytest
import torch

from benchmark.exchange.official import sizes
from benchmark.exchange.official.sizes import BLOCK, full_files, lpqld_batches, lpqld_files


def generated(images, epochs, batch_size, pruned):
    """LPQLD's generator, batch by batch."""
    each = images // batch_size
    goal = int(epochs * each * (1 - pruned))
    stored = 0
    for _ in range(goal // each + 1):
        for _ in range(each):
            stored += 1
            if stored == goal:
                break
        goal -= 1
    return stored


@pytest.mark.parametrize(
    ("images", "epochs", "batch_size", "pruned", "stored"),
    [
        (10_000, 300, 128, 0.9, 2310),
        (104_500, 300, 32, 0.95, 52_226),
        (104_500, 300, 32, 0.975, None),
        (100, 10, 7, 0.5, None),
        (100, 3, 100, 0.5, None),
    ],
)
def test_batches_are_those_of_the_generator(images, epochs, batch_size, pruned, stored):
    found = lpqld_batches(images, epochs, batch_size, pruned)
    assert found == generated(images, epochs, batch_size, pruned)
    assert stored is None or found == stored


@pytest.mark.parametrize(("kept", "bytes_"), [(10, 9_673), (50, 30_153), (100, 55_753)])
def test_a_file_of_lpqld_has_the_size_of_the_authors(kept, bytes_):
    one, two = (lpqld_files(n, 128, kept, 10_000) for n in (1, 2))
    index = len(json.dumps({"0": [5_555] * 128}))
    assert abs(one.apparent - bytes_ - index) < 0.03 * index
    assert one.logits == 128 * kept * 4
    assert two.disk - one.disk == -(-bytes_ // BLOCK) * BLOCK


def test_a_file_of_all_logits_has_the_size_of_the_authors():
    assert full_files(1, 128, 1000, 12_800).apparent == 261_533
    assert full_files(1, 64, 200, 6_400, mix=False).apparent == 28_641
    # 100 images in batches of 64: each epoch ends in one of 36.
    whole, smaller = (full_files(n, 64, 10, 100) for n in (1, 2))
    assert smaller.logits - whole.logits == 36 * 20


@pytest.mark.parametrize("images", [1, 9, 10, 11, 100, 1234])
def test_digits_are_counted(images):
    assert sizes._digits(images) == sum(len(str(n)) for n in range(images))


def test_the_index_is_as_long_as_json_makes_it():
    batches, batch_size, images = 40, 25, 100
    order = [torch.randperm(images, generator=torch.Generator().manual_seed(0))]
    named = {str(n): order[0].roll(n * batch_size)[:batch_size].tolist() for n in range(batches)}
    assert abs(sizes._index(batches, batch_size, images) - len(json.dumps(named))) < 5
