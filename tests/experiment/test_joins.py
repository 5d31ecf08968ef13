"""What comes from different hands must agree before anything is trained."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from benchmark.core.cache import Cache
from benchmark.core.device import Compute
from benchmark.core.errors import UserError
from benchmark.data.class_folders import class_folders, image_files, in_label_order, positions
from benchmark.data.dataset_source import dataset
from benchmark.data.place import Place
from benchmark.experiment.dataset_and_teacher import DatasetAndTeacher, Runtime
from benchmark.experiment.grid import Grid
from benchmark.experiment.stages import Experiment
from benchmark.models import teachers
from benchmark.models.teachers import TeacherOptions

CPU = Compute(torch.device("cpu"), bf16=False)
NAME = "convnet-d2-w8"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return dataset("digits").load(Place(None, Cache(tmp_path_factory.mktemp("cache"))))


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A teacher of the digits, as a file."""
    folder = tmp_path_factory.mktemp("teacher")
    options = TeacherOptions(epochs=12, batch_size=32, crop_low=0.8)
    teachers.trained(NAME, digits, options, CPU, folder)
    return folder / teachers.WEIGHTS


def given(tmp_path, file, accept=(), **options) -> DatasetAndTeacher:
    grid = Grid(
        "digits",
        teacher=f"{NAME}:{file}",
        accept=tuple(accept),
        set={f"teacher.{name}": value for name, value in options.items()},
    )
    return DatasetAndTeacher(grid, Runtime(tmp_path / "work", CPU, None))


def rolled(file, target, step):
    """The same weights with the last layer's outputs rolled."""
    from safetensors import safe_open

    weights = load_file(file)
    last = [name for name, value in weights.items() if len(value) == 10]
    assert len(last) == 2  # weight and bias
    with safe_open(file, "pt") as handle:
        metadata = handle.metadata()
    turned = {n: v.roll(step, 0) if n in last else v for n, v in weights.items()}
    save_file(turned, target, metadata)
    return target


def test_a_teacher_that_fits_is_taken(trained, digits, tmp_path):
    found = given(tmp_path, trained)
    assert found.teacher_accuracy() > 0.8


def test_a_teacher_of_the_hub_is_the_one_of_its_file(trained, tmp_path, hub):
    hub.make("models/ann/teacher", {"net.safetensors": trained.read_bytes()})
    for place in ("hf:ann/teacher", "hf:ann/teacher@main/net.safetensors"):
        found = given(tmp_path, place)
        assert found.teacher_key == given(tmp_path, trained).teacher_key
        assert found.identity == given(tmp_path, trained).identity
    with pytest.raises(UserError, match=r"no file 'x\.pt'. It holds: net\.safetensors"):
        _ = given(tmp_path, "hf:ann/teacher/x.pt").teacher_key


def test_a_rolled_teacher_is_refused_and_the_order_named(trained, tmp_path):
    file = rolled(trained, tmp_path / "rolled.safetensors", 1)
    with pytest.raises(UserError, match="each class stands 1 further on") as error:
        _ = given(tmp_path, file).teacher
    assert "teacher.class_order=fitted" in str(error.value)
    assert "--accept teacher" in str(error.value)


def test_a_rolled_teacher_can_be_put_in_order_or_let_through(trained, tmp_path, capsys):
    file = rolled(trained, tmp_path / "rolled.safetensors", 3)
    right = given(tmp_path, trained).teacher_accuracy()
    assert given(tmp_path, file, class_order="fitted").teacher_accuracy() == right
    assert "each class stands 3 further on" in capsys.readouterr().err
    assert given(tmp_path, file, accept=["teacher"]).teacher_accuracy() < 0.2


def test_a_teacher_is_compared_with_its_own_record(trained, tmp_path):
    weights, told = load_file(trained), {"mean": "[0.3]", "std": "[0.4]"}
    save_file(weights, tmp_path / "honest.safetensors", told | {"accuracy": "0.8"})
    _ = given(tmp_path, tmp_path / "honest.safetensors").teacher
    for weight in weights.values():
        if weight.ndim == 4:  # damage that leaves it above chance
            weight += 0.15 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    save_file(weights, tmp_path / "weak.safetensors", told | {"accuracy": "0.99"})
    with pytest.raises(UserError, match=r"does not fit the dataset: .* at least 94.0% is asked"):
        _ = given(tmp_path, tmp_path / "weak.safetensors").teacher


def test_an_untrained_teacher_is_refused(digits, trained, tmp_path):
    weights = load_file(trained)
    save_file({n: torch.zeros_like(v) for n, v in weights.items()}, tmp_path / "zero.safetensors")
    with pytest.raises(UserError, match="does not fit the dataset"):
        _ = given(tmp_path, tmp_path / "zero.safetensors").teacher


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_checkpoints_of_torch_save_are_read(wrapper, prefix, trained, tmp_path):
    weights = {prefix + name: value for name, value in load_file(trained).items()}
    saved = weights if wrapper is None else {wrapper: weights, "epoch": 3, "best_acc": 0.9}
    torch.save(saved, tmp_path / "teacher.pth")
    found = given(tmp_path, tmp_path / "teacher.pth", normalise="dataset")
    assert found.teacher_accuracy() == given(tmp_path, trained).teacher_accuracy()


def test_a_checkpoint_with_code_is_refused_and_not_run(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "teacher.pth")
    with pytest.raises(UserError, match=r"carries torch.nn.*which may be code"):
        _ = given(tmp_path, tmp_path / "teacher.pth").teacher


def test_an_assumed_normalisation_is_told_and_can_be_set(trained, digits, tmp_path, capsys):
    save_file(load_file(trained), tmp_path / "bare.safetensors")
    assumed = given(tmp_path, tmp_path / "bare.safetensors").teacher
    told = capsys.readouterr().err
    assert "ImageNet's mean and standard deviation are assumed" in told
    assert "teacher.normalise" in told
    chosen = given(tmp_path, tmp_path / "bare.safetensors", normalise="dataset").teacher
    assert assumed.mean != chosen.mean == digits.mean
    assert given(tmp_path, tmp_path / "bare.safetensors", normalise="none").teacher.std == (1.0,)
    assert "assumed" not in capsys.readouterr().err


def test_options_of_a_file_are_refused_for_a_teacher_trained_here(tmp_path):
    grid = Grid("digits", teacher=NAME, set={"teacher.normalise": "none"})
    experiment = Experiment(grid, Runtime(tmp_path, CPU, None))
    with pytest.raises(UserError, match=r"teacher.normalise is for a teacher from a file"):
        experiment.resolve([])


def test_an_unknown_join_is_refused():
    with pytest.raises(UserError, match="Unknown join to accept 'teachers'"):
        Grid("digits", accept=("teachers",))


def folders(root, names, digits, each=2):
    """Class folders of digits; `names` in label order."""
    for label, name in enumerate(names):
        (root / name).mkdir(parents=True)
        chosen = torch.nonzero(digits.train.labels == label).squeeze(1)[:each]
        for number, pixels in enumerate(digits.train.take(chosen)):
            Image.fromarray(pixels[0].numpy()).save(root / name / f"{number}.png")
    return root


def images_of(tmp_path, root, trained, accept=()):
    grid = Grid(
        "digits",
        images=(f"path:{root}",),
        teacher=f"{NAME}:{trained}",
        ipc=(2,),
        accept=tuple(accept),
    )
    stages = Experiment(grid, Runtime(tmp_path / "work", CPU, None)).image_stages
    return stages.images(stages.resolve(f"path:{root}", 2, False))


def test_images_in_another_order_of_classes_are_refused_by_the_teacher(trained, digits, tmp_path):
    right = folders(tmp_path / "right", [f"{n:05}" for n in range(10)], digits)
    assert len(images_of(tmp_path, right, trained)) == 20
    names = [f"{(n + 1) % 10:05}" for n in range(10)]
    wrong = folders(tmp_path / "wrong", names, digits)
    with pytest.raises(UserError, match=r"do not fit the teacher: .*each class stands 9 further"):
        images_of(tmp_path, wrong, trained)
    assert len(images_of(tmp_path, wrong, trained, ["images"])) == 20


def test_images_that_show_the_teacher_nothing_are_told_of(trained, digits, tmp_path, capsys):
    torch.manual_seed(0)
    for label in range(10):
        (tmp_path / "noise" / str(label)).mkdir(parents=True)
        for number in range(2):
            pixels = torch.randint(0, 256, (8, 8), dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(tmp_path / "noise" / str(label) / f"{number}.png")
    assert len(images_of(tmp_path, tmp_path / "noise", trained)) == 20
    assert "in 20 images of path:" in capsys.readouterr().err


def test_class_folders_that_match_in_part_are_refused_with_both_lists(tmp_path):
    for name in ("plane", "car", "bird", "cat"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"Only there: car, plane; only in the dataset: airplane"):
        in_label_order(class_folders(tmp_path), ("airplane", "automobile", "bird", "cat"), tmp_path)


def test_pictures_are_listed_as_imagefolder_lists_them(digits, tmp_path):
    from torchvision.datasets import ImageFolder

    names = [str(n) for n in range(12)]
    for name in names:
        for place in (f"{name}/b.png", f"{name}/deep/er/a.png", f"{name}/a.tif"):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8)).save(tmp_path / place)
    listed = [path for path, _ in ImageFolder(str(tmp_path)).samples]
    ordered = in_label_order(class_folders(tmp_path), names, tmp_path)
    assert ordered == names
    files = [image_files(tmp_path / name) for name in ordered]
    places = positions(ordered, [len(found) for found in files])
    ours = [str(file) for found in files for file in found]
    assert [listed[place] for place in places] == ours


def test_positions_travel_with_the_images(digits, tmp_path):
    from benchmark.data import distilled
    from benchmark.data.images import ResidentImages

    pixels, labels = digits.train.take(torch.arange(4)), torch.arange(4)
    plain = ResidentImages(pixels, labels, digits.class_names)
    moved = ResidentImages(pixels, labels, digits.class_names, positions=torch.tensor([0, 2, 3, 1]))
    assert plain.digest != moved.digest
    distilled.write(tmp_path, moved)
    back = distilled.read(tmp_path, torch.device("cpu"))
    assert back.positions is not None
    assert back.positions.tolist() == [0, 2, 3, 1]
    with pytest.raises(UserError, match="must be 0 to the last, once"):
        ResidentImages(pixels, labels, digits.class_names, positions=torch.zeros(4).long())


def test_accepting_is_in_the_grid_alone(trained, tmp_path):
    plain, accepting = given(tmp_path, trained), given(tmp_path, trained, accept=["teacher"])
    assert plain.teacher_key == accepting.teacher_key
    assert replace(plain.grid, accept=("teacher",)) == accepting.grid
