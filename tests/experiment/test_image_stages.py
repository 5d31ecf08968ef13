"""Images made a range of classes at a time: the same stage, whoever made its parts."""

import pytest
from tiny import run_tiny

from benchmark.api.measure import grid_of
from benchmark.core.device import choose
from benchmark.experiment import image_stages
from benchmark.experiment.clean import leftovers
from benchmark.experiment.dataset_and_teacher import Runtime
from benchmark.experiment.stages import Experiment

GRID = {"dataset": "digits", "teacher": "convnet-d2-w8", "set": {"teacher.epochs": 1}}


def opened(work) -> Experiment:
    return Experiment(grid_of(GRID, None), Runtime(work, choose("cpu", "fp32"), None))


def made(experiment: Experiment, source: str) -> tuple[str, str]:
    """The images' stage, and what they are."""
    stages = experiment.image_stages
    resolved = stages.resolve(source, 2, True)
    return stages.folder(resolved).name, stages.images(resolved).digest


@pytest.mark.parametrize("source", ["random", "rded", "noise"])
def test_parts_make_up_the_images_made_in_one_go(source, tmp_path):
    whole = made(opened(tmp_path / "whole"), source)
    assert not list((tmp_path / "whole/stages").glob(f"{image_stages.PART}-*"))
    for order in (1, -1):
        work = tmp_path / str(order)
        stages = opened(work).image_stages
        resolved = stages.resolve(source, 2, True)
        parts = stages.parts(resolved)
        assert parts == [range(5), range(5, 10)]
        for part in parts[::order]:
            opened(work).image_stages.part(resolved, part)
        assert made(opened(work), source) == whole
        stage = next(path for path in (work / "stages").glob("images-*") if path.is_dir())
        assert not (stage / "joined").exists()


def test_large_images_are_made_in_parts_of_which_a_kill_loses_one(tmp_path, monkeypatch):
    monkeypatch.setattr(image_stages, "LARGE", 10 * 2 * 64 - 1)
    stages = opened(tmp_path).image_stages
    resolved = stages.resolve("random", 2, True)
    stages.part(resolved, range(5))
    whole = made(opened(tmp_path / "other"), "random")
    assert made(opened(tmp_path), "random") == whole
    for work in (tmp_path, tmp_path / "other"):
        assert len(list((work / "stages").glob(f"{image_stages.PART}-*[0-9a-f]"))) == 2


def test_sources_whose_classes_depend_on_one_another_have_no_parts(tmp_path):
    stages = opened(tmp_path).image_stages
    assert stages.parts(stages.resolve("sre2l", 2, True)) == [range(10)]


def test_parts_and_shards_go_with_what_no_record_refers_to(tmp_path, monkeypatch):
    stages = opened(tmp_path).image_stages
    stages.part(stages.resolve("random", 2, True), range(5))
    monkeypatch.setenv("LABELBENCH_SHARD_BYTES", "1")
    run_tiny(tmp_path, "--methods", "soft")
    found = [left.path for left in leftovers(tmp_path, unfinished=False)]
    gone = {path.name.rpartition("-")[0] for path in found if path.is_dir()}
    assert {"image-part", "relabelled"} <= gone
    assert not gone & {"images", "labels", "teacher"}
