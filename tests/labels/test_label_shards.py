"""Relabelling in shards: the same labels in any order, by any process, after any kill."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import contents, tiny_task

from benchmark.core.cache import Cache
from benchmark.core.errors import UserError
from benchmark.labels import label_shards
from benchmark.labels.label_shards import KIND, LabelShards
from benchmark.labels.task import LabelTask
from benchmark.labels.teacher_logits import teacher_logits
from benchmark.methods.gift import GIFT
from benchmark.methods.gift import Options as GiftOptions
from benchmark.methods.lpqld import LPQLD
from benchmark.methods.lpqld import Options as PoolOptions
from benchmark.methods.soft import Options as SoftOptions
from benchmark.methods.soft import Soft

BATCH = 2 * 10 * 7  # bytes of the labels of the largest of the plan's batches


@pytest.fixture
def task(tmp_path, monkeypatch) -> LabelTask:
    """A task of 12 batches, two a shard."""
    monkeypatch.setenv(label_shards.BYTES, str(2 * BATCH + 1))
    return sharded(tiny_task(tmp_path / "scratch"), tmp_path)


def sharded(task: LabelTask, work: Path) -> LabelTask:
    shards = LabelShards(Cache(work / "stages"), {}, task.plan, task.classes)
    return replace(task, label_shards=shards.of(task.images, task.teacher))


def shards_of(task: LabelTask) -> LabelShards:
    assert task.label_shards is not None
    return task.label_shards


def made(work: Path) -> list[Path]:
    return sorted(work.glob(f"stages/{KIND}-*[0-9a-f]"))


def rows(task: LabelTask, numbers) -> torch.Tensor:
    return torch.cat([logits for _, logits in teacher_logits(task, numbers, "label")])


def saved(source, folder: Path) -> dict[str, bytes]:
    folder.mkdir()
    source.save(folder)
    return contents(folder)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (Soft, SoftOptions()),
        (LPQLD, PoolOptions(quantise="none", keep=0.6, select="random")),
        (LPQLD, PoolOptions(quantise="none", keep=0.6, select="confidence")),
    ],
)
def test_artefacts_of_shards_made_in_any_order_are_those_made_in_one_go(
    method, options, task, tmp_path
):
    options = method.resolve_options(options, task.shape, None)
    asked = method.relabelling(options, task.plan, task.seed)
    stages = task.label_shards.missing(asked)
    found = list(stages.values())
    assert len(found) > 3
    for part in [*found[1::2], *reversed(found[::2])]:  # by two others, in orders of their own
        shards_of(sharded(task, tmp_path)).make(task, part)
    there = made(tmp_path)
    assert there == sorted(stages)
    fitted = method.fit(task, options)
    assert made(tmp_path) == there  # nothing but these was asked for
    assert len(task.label_shards.spared) == len(found)
    expected = method.fit(replace(task, label_shards=None), options)
    assert saved(fitted, tmp_path / "a") == saved(expected, tmp_path / "b")


def test_a_killed_relabelling_goes_on_at_the_first_shard_that_is_missing(task, tmp_path):
    labelled = teacher_logits(task, range(12), "label")
    for _ in range(5):
        next(labelled)
    del labelled  # the third shard was begun
    assert len(made(tmp_path)) == 3
    asked, forward = [], task.teacher.forward
    task.teacher.forward = lambda x: asked.append(len(x)) or forward(x)
    again = rows(sharded(task, tmp_path), range(12))
    assert len(asked) == 6  # of twelve batches
    assert again.equal(rows(replace(task, label_shards=None), range(12)))


def test_a_damaged_shard_is_made_again(task, tmp_path):
    first = rows(task, range(12))
    file = made(tmp_path)[2] / label_shards.LOGITS
    file.write_bytes(b"\0" * file.stat().st_size)
    assert rows(sharded(task, tmp_path), range(12)).equal(first)


def test_labels_of_one_shard_are_made_without_any_and_taken_from_one_that_is_there(task, tmp_path):
    expected = rows(task, [0, 1])
    assert made(tmp_path) == []
    task.label_shards.make(task, [0, 1])
    task.teacher.forward = None  # which is not asked
    assert rows(task, [0, 1]).equal(expected)
    assert rows(task, [1]).equal(expected[7:])


def test_shards_serve_the_views_and_the_teacher_that_they_are_of_alone(task, tmp_path):
    expected = rows(task, range(12))
    other = replace(task, teacher=lambda x: torch.zeros(len(x), 10))
    assert not rows(other, range(12)).any()
    longer = replace(task.plan, epochs=5)
    assert not task.label_shards.serve(replace(task, plan=longer))
    # A longer training shows the same views first: it takes up their shards.
    more = sharded(replace(task, plan=longer), tmp_path)
    assert rows(more, range(15))[: len(expected)].equal(expected)
    assert len(made(tmp_path)) == 8
    assert len(shards_of(more).spared) == 6


def test_labels_that_lie_in_shards_are_written_no_second_time(task, tmp_path):
    """Nor are those of part of a shard that was made for more."""
    task.label_shards.make(task, [4, 5])
    for batches in (12, 5):
        options = GiftOptions(batches=batches)
        source = GIFT.fit(task, GIFT.resolve_options(options, task.shape, None))
        assert list((tmp_path / "scratch").iterdir()) == []
        assert len(made(tmp_path)) == 6
        expected = rows(replace(task, label_shards=None), range(batches))
        assert source.logits[:].equal(expected)
        found = [logits for _, logits in source.stored_labels()]
        assert torch.cat(found).equal(expected.float())


def test_a_shards_size_is_a_number(task, monkeypatch):
    monkeypatch.setenv(label_shards.BYTES, "many")
    with pytest.raises(UserError, match="LABELBENCH_SHARD_BYTES is a number of bytes from 1, got"):
        task.label_shards.parts(range(4))
