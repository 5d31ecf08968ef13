import threading
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from tiny import NETWORK, reloaded, tiny_task

from benchmark.data.recipe import Recipe
from benchmark.labels import student, teacher_logits
from benchmark.labels.read_ahead import BUFFERS, ReadAhead
from benchmark.methods.gift import GIFT
from benchmark.methods.soft import Soft

CPU = torch.device("cpu")


class Watched:
    """A tensor that tells which thread reads which rows."""

    def __init__(self, tensor):
        self.tensor, self.dtype, self.shape, self.reads = tensor, tensor.dtype, tensor.shape, []

    def __getitem__(self, rows):
        self.reads.append((threading.current_thread() is threading.main_thread(), rows))
        return self.tensor[rows]


def slices(*edges):
    return [slice(*each) for each in pairwise(edges)]


def test_rows_are_those_of_the_tensor_and_read_by_another_thread():
    """Batches of unlike sizes, each expected while the one before is in use."""
    labels = Watched(torch.arange(40.0).view(20, 2))
    reader, parts = ReadAhead(labels, CPU), slices(0, 7, 13, 20)  # type: ignore[arg-type]
    reader.expect(parts[0])
    taken = []
    for rows, following in zip(parts, [*parts[1:], None], strict=True):
        if following is not None:
            reader.expect(following)
        taken.append(reader[rows])
    assert torch.cat(taken).equal(labels.tensor)
    assert labels.reads == [(False, rows) for rows in parts]


def test_there_are_two_buffers_and_what_was_taken_stays():
    labels = torch.rand(100, 3)
    reader, parts = ReadAhead(labels, CPU), slices(*range(0, 101, 10))
    memories, taken = set(), []
    for rows in parts:
        reader.expect(rows)
        taken.append(reader[rows])
        memories |= {buffer.memory.data_ptr() for buffer in reader._buffers}
        assert len(reader._buffers) <= BUFFERS == 2
    assert len(memories) == 2
    assert torch.cat(taken).equal(labels)


def test_what_nobody_expected_is_read_at_once():
    labels = Watched(torch.rand(9, 2))
    reader = ReadAhead(labels, CPU)  # type: ignore[arg-type]
    for rows in slices(0, 3, 6, 9):
        reader.expect(rows)
    assert reader[slice(0, 3)].equal(labels.tensor[:3])  # was given up for the third
    assert labels.reads.count((True, slice(0, 3))) == 1
    reader.expect(slice(6, 9))  # is there
    assert reader[slice(6, 9)].equal(labels.tensor[6:])
    assert len(labels.reads) == 4  # none of them twice


def test_an_error_of_reading_reaches_who_asks():
    reader = ReadAhead(torch.rand(9, 2), CPU)
    reader.expect(slice(5, 12))
    with pytest.raises(RuntimeError):
        reader[slice(5, 12)]


@pytest.mark.parametrize("method", [Soft, GIFT])
def test_a_student_is_shown_the_same_labels(tmp_path, monkeypatch, method):
    """Over epochs, and none of them read by the thread that trains."""
    task = tiny_task(tmp_path / "scratch")
    options = method.resolve_options(method.Options(), task.shape, None)
    reloaded(method.fit(task, options), tmp_path / "labels")
    plain = method.load(tmp_path / "labels", replace(task, teacher=None, train=None))
    monkeypatch.setattr(teacher_logits, "RESIDENT_BYTES", 0)
    source = method.load(tmp_path / "labels", replace(task, teacher=None, train=None))
    assert plain._ahead is None
    source._ahead.tensor = watched = Watched(source.logits)
    for epoch in range(task.plan.epochs):
        expected = [targets for _, _, targets in student.stream(plain, epoch)]
        found = [targets for _, _, targets in student.stream(source, epoch)]
        assert all(map(torch.equal, found, expected))
        assert len(found) == task.plan.batches
    assert len(watched.reads) == task.plan.steps
    assert not any(by_main for by_main, _ in watched.reads)
    recipe = Recipe("test", 1, task.plan.batch_size)
    learners = [student.build(NETWORK, each, 0) for each in (source, plain)]
    curves = [
        student.train(learner, each, recipe, tmp_path / f"{number}.pt", "test")
        for number, (learner, each) in enumerate(zip(learners, (source, plain), strict=True))
    ]
    assert curves[0] == curves[1]
