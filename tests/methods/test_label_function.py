from dataclasses import replace

import pytest
import torch
from tiny import reloaded, shipped

from benchmark.core.errors import ArtefactError, UserError
from benchmark.labels import artefact, coded_function, coefficient_code, scratch
from benchmark.labels.artefact import Artefact
from benchmark.labels.coded_function import fitting_bytes, labelled_epochs, step_scales
from benchmark.labels.coefficient_code import ByEntry, coded, decoded
from benchmark.labels.task import TaskShape
from benchmark.labels.view_function import view_function
from benchmark.methods.label_function import LabelFunction, Options


def longer(task, epochs=60):
    return replace(task, plan=replace(task.plan, epochs=epochs))


def fitted(task, budget=None, **options):
    resolved = LabelFunction.resolve_options(Options(**options), task.shape, budget)
    return LabelFunction.fit(task, resolved)


def test_every_view_of_the_plan_has_a_label_and_most_of_it_is_right(task, tmp_path):
    source = reloaded(fitted(longer(task)), tmp_path / "saved")
    assert 0.3 < fitted(longer(task)).notes["r2_unseen"] < 1
    for epoch in (0, 59):
        for views, planned in zip(source.views(epoch), task.plan.epoch(epoch), strict=True):
            assert views.index.equal(planned.index)
            assert source.targets(views, torch.empty(0), epoch).shape == (len(views), 10)
    assert not source.seeded


def test_a_teacher_that_is_such_a_function_is_found(task, tmp_path):
    """Labels of each image alone, mixed by area."""
    torch.manual_seed(0)
    each = torch.randn(20, 10)
    whole = longer(task)

    class Areas(torch.nn.Module):
        views = iter([v for e in range(60) for v in whole.plan.epoch(e)])

        def forward(self, pixels):
            return whole.mixed(each, next(self.views))

    source = fitted(replace(whole, teacher=Areas()), step=2.0**-8)
    assert source.notes["r2_unseen"] > 0.97


def test_labels_are_the_same_before_and_after_saving(task, tmp_path):
    source = fitted(longer(task))
    loaded = reloaded(source, tmp_path / "saved")
    for views in source.views(7):
        found = loaded.targets(views, torch.empty(0), 7)
        assert found.equal(source.targets(views, torch.empty(0), 7))


def test_a_budget_takes_the_finest_step_that_fits(task, tmp_path):
    found = []
    for number, budget in enumerate((500, 1500, 5000)):
        source = fitted(longer(task), budget)
        folder = tmp_path / f"{number}"
        folder.mkdir()
        source.save(folder)
        assert 0.85 * budget < source.storage().total <= budget or source.function.extra.step < 2e-3
        found.append(source)
    assert (
        found[0].function.extra.step > found[1].function.extra.step > found[2].function.extra.step
    )
    assert found[0].notes["r2_unseen"] < found[1].notes["r2_unseen"]


@pytest.mark.parametrize("stream", [coefficient_code.STREAM, 64 * 4])
def test_coefficients_come_back_within_half_a_step(stream, monkeypatch, tmp_path):
    """In one stream, and in three."""
    monkeypatch.setattr(coefficient_code, "STREAM", stream)
    torch.manual_seed(0)
    coefficients = 3 * torch.randn(150, 4, dtype=torch.float64)
    code, most, step = coded(coefficients, 0.25, 0, tmp_path)
    assert len(code) == (3 if stream == 256 else 1)
    each = torch.linspace(1, 3, 3, dtype=torch.float64)
    back = decoded(code, ByEntry(each * step, (20, 70, 60)), 4, most, None)
    back /= each.repeat_interleave(torch.tensor([20, 70, 60]))[:, None]
    assert (back - coefficients).abs().max() <= 0.125 + 1e-5
    assert step == 0.25


def test_all_that_is_on_disk_gives_the_same_bytes(task, tmp_path, monkeypatch):
    """Where nothing is small, and chunks, streams and what scales steps are."""
    expected = fitted(longer(task))
    monkeypatch.setattr(scratch, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(scratch, "CHUNK_BYTES", 8 * 100)
    monkeypatch.setattr(coded_function, "SCALED_AT_ONCE", 50)
    other = fitted(longer(task))
    for one, another in zip(other.function.tensors(), expected.function.tensors(), strict=True):
        assert one.tensor[:].equal(another.tensor[:])
    torch.testing.assert_close(other.function.coefficients, expected.function.coefficients)
    assert other.notes["r2_unseen"] == pytest.approx(expected.notes["r2_unseen"], rel=1e-6)


def test_a_large_function_is_shipped_in_streams(task, tmp_path, monkeypatch):
    whole = fitted(longer(task)).function.coefficients
    monkeypatch.setattr(coefficient_code, "STREAM", 9 * 64)
    source = fitted(longer(task))
    size = len(source.function.coefficients)
    names = {stored.name: stored.numbers for stored in source.function.tensors()}
    assert list(names) == ["code", *(f"code{n}" for n in range(2, -(-size // 64) + 1)), "basis"]
    assert sum(numbers or 0 for numbers in names.values()) == 9 * size
    loaded = reloaded(source, tmp_path / "saved")
    assert loaded.function.coefficients.equal(whole)


def test_streams_that_are_missing_are_refused(task, tmp_path, monkeypatch):
    monkeypatch.setattr(coefficient_code, "STREAM", 9 * 64)
    source = fitted(longer(task))
    (tmp_path / "saved").mkdir()
    source.save(tmp_path / "saved")
    whole = artefact.read(tmp_path / "saved")
    tensors = {name: tensor for name, tensor in whole.tensors.items() if name != "code3"}
    with pytest.raises(ArtefactError, match=r"coefficients are in 2 streams, each of 64"):
        LabelFunction.restore(
            shipped(task), source.options, Artefact(whole.folder, whole.manifest, tensors)
        )


def test_what_a_fit_holds_does_not_grow_with_the_images():
    """As a dry run foretells it; beside few images it is what they take."""
    few, many = (TaskShape(1000, 1000 * ipc, 10 * ipc, 50, 32) for ipc in (10, 200))
    assert fitting_bytes(few, 50, 64) <= fitting_bytes(many, 50, 64) < 2e8
    assert fitting_bytes(many, 50, 64) < 1.1 * fitting_bytes(few, 50, 64)
    assert fitting_bytes(TaskShape(10, 100, 1, 300, 32), 50, 9) < 2e7


def test_a_step_moves_labels_alike_whatever_it_multiplies(task):
    """By a step of every coefficient of a kind, labels move by a step in the mean."""
    whole = longer(task)
    scales = step_scales(whole)
    design = view_function(whole, "cpu").design([v for e in range(50) for v in whole.plan.epoch(e)])
    assert len(scales) == design.size
    ends = torch.tensor(design.entities).cumsum(0).tolist()
    for start, end in zip([0, *ends], ends, strict=False):
        step = torch.zeros(design.size, 1, dtype=torch.float64)
        step[start:end] = scales[start:end]
        assert float(design.times(step).square().mean().sqrt()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize(
    ("budget", "options", "message"),
    [
        (150, {}, "of which its basis takes 90 and the container"),
        (None, {"dims": 10}, "labels of 10 classes have 9 once they are centred"),
        (None, {"bytes": 4}, "bytes in its coarsest form, and there are 4"),
    ],
)
def test_what_cannot_be_is_refused(task, budget, options, message):
    with pytest.raises(UserError, match=message):
        fitted(task, budget, **options)


@pytest.mark.parametrize("options", [{"step": 0.0}, {"epochs": 0}, {"bytes": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="must"):
        Options(**options)


@pytest.mark.parametrize(
    "change",
    [
        {"code": torch.zeros(6, dtype=torch.uint8)},
        {"basis": torch.zeros(9, 10)},
        {"code": None},
    ],
)
def test_tensors_that_do_not_fit_are_refused(task, tmp_path, change):
    source = fitted(task)
    (tmp_path / "saved").mkdir()
    source.save(tmp_path / "saved")
    whole = artefact.read(tmp_path / "saved")
    tensors = {n: t for n, t in {**whole.tensors, **change}.items() if t is not None}
    with pytest.raises(ArtefactError, match="The function's"):
        LabelFunction.restore(
            shipped(task), source.options, Artefact(whole.folder, whole.manifest, tensors)
        )


def test_images_that_show_none_of_the_classes_have_labels_too(task):
    images = task.images
    foreign = type(images)(images.pixels, torch.full((20,), -1), images.class_names)
    assert fitted(replace(longer(task), images=foreign)).notes["r2_unseen"] > 0.2


def test_at_many_classes_the_budget_decides_how_many_directions_there_are(many_classes, tmp_path):
    """And no other number explains much more of the labels that it is fitted to."""
    labels = labelled_epochs(many_classes, 12)[0]

    def explained(budget, **options):
        return fitted(many_classes, budget, **options).function.explained(labels)

    dims, found = [], []
    for number, budget in enumerate((1500, 6000)):
        source = reloaded(fitted(many_classes, budget), tmp_path / f"{number}")
        assert source.options.dims == 0
        assert 0.9 * budget < source.storage().total <= budget
        dims.append(len(source.function.basis))
        found.append(source.function.explained(labels))
    assert 1 < dims[0] < dims[1] < 64
    assert found[0] + 0.01 < found[1]
    for other in (1, 4, 8):
        assert explained(1500, dims=other) < found[0] + 0.01
    assert fitted(many_classes).options.dims == 64


def test_a_budget_that_holds_no_direction_is_refused(many_classes):
    with pytest.raises(
        UserError, match=r"the least it can take is 2.., of which its basis takes 100"
    ):
        fitted(many_classes, 150)
