"""What a step takes of memory, from shapes, and what a dry run says of it."""

import json
import random
import sys
from dataclasses import replace
from itertools import accumulate

import pytest
import torch
import traced_table
from present import present
from tiny import GRID, NETWORK, pictures, run_main

from benchmark.core.device import Compute
from benchmark.core.work import PRIOR
from benchmark.data.recipe import Augmentation
from benchmark.data.views import ViewPlan
from benchmark.experiment import grid, memory, traced
from benchmark.experiment.footprint import Footprint, LiveBytes, blocked
from benchmark.experiment.memory import Peak, memory_told, size
from benchmark.experiment.pace import Subject
from benchmark.experiment.traced import Traced, upper
from benchmark.models import networks

CPU = Compute(torch.device("cpu"), bf16=False)
PLAN = ViewPlan(0, 40, 8, 20, 1, Augmentation())


def test_bytes_are_counted_while_tensors_live():
    with LiveBytes() as live:
        first = torch.zeros(100, dtype=torch.float32)
        half = first[:50]  # of the same storage
        second = first + 1
        del second
        third = torch.zeros(10, dtype=torch.uint8)
        del first  # `half` holds it
        assert list(accumulate(live.changes)) == [400, 800, 400, 410]
        del half, third
    assert sum(live.changes) == 0


def test_a_convolutions_layout_is_counted_by_blocks_of_channels():
    assert blocked(torch.zeros(2, 3, 4, 4)) == 0
    assert blocked(torch.zeros(2, 4, 4, 4)) == 2 * 16 * 16 * 4
    assert blocked(torch.zeros(2, 32, 4, 4)) == 2 * 32 * 16 * 4


def test_a_step_grows_with_its_batch_and_holds_nothing():
    footprint = Footprint(pictures(40), CPU)
    few, many = (footprint.of(Subject(NETWORK, n, True), PLAN) for n in (10, 40))
    asked = footprint.of(Subject(NETWORK, 40, False), PLAN)
    assert few is not None
    assert many is not None
    assert asked is not None
    pixels = 40 * 64 * 4
    assert many - few > 30 * 64 * 4
    assert pixels < asked < many  # nothing is kept for a backward pass
    two = footprint.of(Subject(NETWORK, 40, True), PLAN, "adamw")
    network = footprint._network(NETWORK)
    assert two - many == sum(p.nbytes for p in network.parameters())  # type: ignore[operator]


def test_two_small_steps_tell_what_a_large_one_takes():
    footprint = Footprint(pictures(40), CPU)
    for trained, plan in ((True, PLAN), (False, None)):
        foretold = footprint.of(Subject(NETWORK, 30, trained), plan)
        weights = foretold - _most(footprint, trained, 30, plan)  # type: ignore[operator]
        for count in (2, 17):
            alike = footprint.of(Subject(NETWORK, count, trained), plan)
            assert alike == weights + _most(footprint, trained, count, plan)


def _most(footprint: Footprint, trained: bool, count: int, plan: ViewPlan | None) -> int:
    """Of a step that is made on so many images."""
    return max(accumulate(footprint._step(NETWORK, trained, count, plan)))


def test_a_network_is_traced_once_for_all_batches_and_seeds(monkeypatch):
    traced, made = list[int](), Footprint._step

    def counted(self, name, trained, count, plan):
        traced.append(count)
        return made(self, name, trained, count, plan)

    monkeypatch.setattr(Footprint, "_step", counted)
    footprint = Footprint(pictures(40), CPU)
    for batch, seed in ((10, 0), (40, 0), (40, 7)):
        footprint.of(Subject(NETWORK, batch, True), replace(PLAN, seed=seed, batch_size=batch))
    assert traced == [2, 3]


def test_a_network_that_does_another_thing_for_another_batch_is_not_known(monkeypatch):
    footprint = Footprint(pictures(40), CPU)
    monkeypatch.setattr(footprint, "_changes", lambda name, trained, count, plan: [1] * count)
    assert footprint.of(Subject(NETWORK, 40, True), PLAN) is None


def test_the_highest_lines_tell_what_all_do():
    generator = random.Random(0)
    for count in (1, 2, 30, 300):
        lines = [(generator.randint(0, 10**9), generator.randint(0, 10**6)) for _ in range(count)]
        kept = Traced(0, 0, upper(lines))
        assert len(kept.lines) <= min(count, 40)
        for batch in (1, 2, 3, 17, 500, 10**6):
            assert kept.most(batch) == max(few + each * (batch - 2) for few, each in lines)


CONFIGS = sorted(path.stem for path in grid.CONFIGS.glob("*.toml"))


@pytest.mark.parametrize("config", CONFIGS)
def test_what_shipped_grids_ask_of_libraries_stands_in_the_table(config):
    """Or a dry run of them would import these."""
    told = json.loads(traced.TABLE.read_text(encoding="utf-8"))
    for each in traced_table.asked(config):
        assert {key for _, key in map(each.of, traced_table.PRECISIONS)} <= told["steps"].keys()
        assert each.network.startswith(PRIOR) or each.size_key in told["norms"]


@pytest.mark.parametrize(
    ("config", "bf16"), [("quick", False), ("quick", True), ("cifar10", False)]
)
def test_what_stands_in_the_table_is_what_is_traced(config, bf16):
    if not traced.known():
        pytest.skip(f"it is of other versions than {traced.libraries()}")
    found = traced_table.asked(config)
    assert found
    for each in found:
        there, key = each.of(bf16)
        assert there.traced(each.network, each.trained, each.plan) == traced.known()[key]
        if not each.network.startswith(PRIOR):
            built = networks.create(each.network, *each.size)
            shown = present(traced.sketch(each.network, each.size))
            assert traced_table.norms_of(shown) == traced_table.norms_of(built) != []


def test_a_table_of_other_versions_is_not_believed(tmp_path, monkeypatch):
    told = json.loads(traced.TABLE.read_text(encoding="utf-8"))
    other = {**told, "libraries": {**told["libraries"], "timm": "0.1"}}
    monkeypatch.setattr(traced, "TABLE", tmp_path / "table.json")
    traced.TABLE.write_text(json.dumps(other))
    assert traced._table.__wrapped__() == {"imports": {}, "steps": {}, "norms": {}}


def test_a_process_is_as_large_as_what_it_will_import(monkeypatch):
    told = {"timm": 100, "open_clip": 250}
    monkeypatch.setattr(traced, "_table", lambda: {"imports": told})
    for name in told:
        monkeypatch.delitem(sys.modules, name, raising=False)
    assert traced.import_bytes(["resnet18", "prior:embedded"]) == 250
    assert traced.import_bytes(["resnet18"]) == 100
    monkeypatch.setitem(sys.modules, "timm", sys)
    assert traced.import_bytes(["resnet18"]) == 0
    assert traced.import_bytes([]) == 0


def test_a_dry_run_says_memory_and_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "at_once", lambda device: 20)
    code, _, err = run_main(
        "run", *GRID, "--methods", "soft,hello", "--work", tmp_path, "--dry-run"
    )
    assert code == 0, err
    (line,) = [each for each in err.splitlines() if each.startswith("memory of the host")]
    for stage in ("teacher", "images", "labels", "students"):
        assert f"{stage} " in line
    (bytes_line,) = [each for each in err.splitlines() if each.startswith("bytes on disk")]
    assert f"images random {size(20 * 72)}" in bytes_line
    assert f"labels soft {size(2 * 20 * 10 * 2)}" in bytes_line
    assert not list(tmp_path.iterdir())


def test_peaks_are_told_by_the_largest_of_each_stage():
    peaks = [
        Peak("labels", "a", 10_000_000, 0),
        Peak("labels", "b", 30_000_000, 5_000_000),
        Peak("students", "c", None, 0),
    ]
    assert memory_told(peaks, on_cpu=True, own=1_000_000) == [
        "memory of the host, at most: labels 36 MB, students 1 MB (1 MB of a process itself)",
        "not known: how much memory students of c take",
    ]
    device, host, _ = memory_told(peaks, on_cpu=False, own=1_000_000)
    assert device == "memory of the device, at most: labels 30 MB, students 0 B"
    assert host.startswith("memory of the host, at most: labels 6 MB, students 1 MB")
    assert memory_told([], on_cpu=True, own=0) == []


SAID = [(612, "612 B"), (98_200, "98.2 kB"), (2**31, "2.15 GB")]


@pytest.mark.parametrize(("count", "said"), SAID)
def test_sizes_are_said(count, said):
    assert size(count) == said
