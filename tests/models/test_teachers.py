import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import pictures

from benchmark.core.device import Compute
from benchmark.core.errors import UserError
from benchmark.core.options import build
from benchmark.data.images import IMAGENET_MEAN, Dataset
from benchmark.models import networks, teachers
from benchmark.models.classifier import correct
from benchmark.models.teachers import TeacherOptions

CPU = torch.device("cpu")
NAME = "convnet-d2-w8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A teacher trained for an epoch."""
    folder = tmp_path_factory.mktemp("teacher")
    dataset = Dataset("d", pictures(40), pictures(10), (0.4,), (0.3,), mirror=False)
    options = TeacherOptions(epochs=1, batch_size=20)
    teachers.trained(NAME, dataset, options, Compute(CPU, False), folder)
    return folder


def load(file, name=NAME, classes=10):
    return teachers.load(name, file, classes, 1, 8, CPU).teacher


def test_a_trained_teacher_comes_back_with_its_normalisation(folder):
    teacher = load(folder / teachers.WEIGHTS)
    assert (teacher.mean, teacher.std, teacher.network_name) == ((0.4,), (0.3,), NAME)
    weights = load_file(folder / teachers.WEIGHTS)
    assert all(value.equal(weights[n]) for n, value in teacher.network.state_dict().items())
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert {p.name for p in folder.iterdir()} == {teachers.WEIGHTS, "teacher.json"}


def test_files_of_others_expect_imagenets_normalisation(folder, tmp_path):
    weights = load_file(folder / teachers.WEIGHTS)
    save_file({n: v for n, v in weights.items() if "num_batches" not in n}, tmp_path / "t")
    assert load(tmp_path / "t").mean == IMAGENET_MEAN[:1]


@pytest.mark.parametrize(("name", "classes"), [("convnet-d2-w9", 10), ("resnet20", 10), (NAME, 9)])
def test_weights_of_another_network_are_refused(folder, name, classes):
    with pytest.raises(UserError, match=f"weights of '{name}' for {classes} classes: .* differ"):
        load(folder / teachers.WEIGHTS, name, classes)


def test_damaged_and_missing_files_are_refused(folder, tmp_path):
    (tmp_path / "cut").write_bytes((folder / teachers.WEIGHTS).read_bytes()[:-100])
    for name in ("cut", "absent"):
        with pytest.raises(UserError, match=f"Cannot read the teacher file .*{name}"):
            load(tmp_path / name)


@pytest.mark.parametrize(
    "option", [{"epochs": 0}, {"batch_size": 0}, {"seed": -1}, {"lr": 0}, {"crop_low": 2}]
)
def test_options_that_are_refused(option):
    with pytest.raises(UserError, match=r"teacher: .*must be"):
        build(TeacherOptions, option, "teacher")


def test_correct_marks_each_image():
    test = pictures(1003)
    network = networks.create(NAME, 10, 1, 8).eval()
    with torch.no_grad():
        logits = network(test.pixels.float() / 255)
    network.train()
    found = correct(network, test, Compute(CPU, False))
    assert found.equal(logits.argmax(1) == test.labels)
    assert 0 < found.sum() < 1003


def test_a_weaker_teacher_is_a_snapshot_of_the_whole_training(tmp_path):
    dataset = Dataset("d", pictures(40), pictures(10), (0.4,), (0.3,), mirror=False)
    for name, options in {
        "whole": TeacherOptions(epochs=4, batch_size=20, snapshots=3),
        "stopped": TeacherOptions(epochs=4, batch_size=20, snapshots=3, stop=2),
    }.items():
        (tmp_path / name).mkdir()
        teachers.trained(NAME, dataset, options, Compute(CPU, False), tmp_path / name)
    stopped = load_file(tmp_path / "stopped" / teachers.WEIGHTS)
    # After one, two and three of four epochs.
    snapshots = sorted((tmp_path / "whole").glob(teachers.SNAPSHOTS))
    assert len(snapshots) == 3
    snapshot = load_file(snapshots[1])
    assert all(value.equal(snapshot[name]) for name, value in stopped.items())
    assert len([*(tmp_path / "stopped").glob(teachers.SNAPSHOTS)]) == 1
