import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny import NETWORK, reloaded, shipped  # type: ignore[import-not-found]

from benchmark.core.errors import UserError
from benchmark.data.images import ResidentImages
from benchmark.data.recipe import Objective, Recipe
from benchmark.data.rendering import render
from benchmark.data.views import Augmentation, ViewPlan
from benchmark.labels import student
from benchmark.labels.artefact import read
from benchmark.labels.packing import pack
from benchmark.labels.teacher_logits import teacher_logits
from benchmark.methods.lpqld import LPQLD
from benchmark.methods.lpqld.coding import CodedLabels, Coding
from benchmark.methods.lpqld.pool import PlannedViews, score
from benchmark.models import training

PLAIN = LPQLD.Options(keep=1.0, k=2, schedule="none", calibrate=False)
NOTHING = torch.empty(0)


def fitted(task, **options):
    """A source as the harness makes one."""
    return LPQLD.fit(task, LPQLD.resolve_options(LPQLD.Options(**options), task.shape, None))


def source_of(task, options=PLAIN, epochs=4, numbers=None, **objective):
    """A source with no labels, for what does not look at them."""
    plan = replace(task.plan, epochs=epochs)
    task = replace(task, plan=plan, objective=Objective(**objective))
    stored = PlannedViews(plan, range(plan.steps) if numbers is None else numbers)
    return LPQLD(task, options, stored, CodedLabels(Coding(10, "mr", 2, "fp16", 1.0, 20.0), {}))


def test_marginal_renormalisation_by_hand(task):
    # At T = 2, logits 2 ln 3 and 0 give 3/4 and 1/4; at T = 1, 9/10 and 1/10.
    plan = replace(task.plan, images=2, batch_size=2, epochs=2)
    parts = {
        "values": torch.tensor([[0.0, 0.0], [2 * 1.0986123, 0.0]] * 2).half().flatten(),
        "indices": pack(torch.tensor([[9, 0], [7, 2]] * 2), 4),
    }
    labels = CodedLabels(Coding(10, "mr", 2, "fp16", 1.0, 20.0), parts)
    for temperature, large in ((2.0, 0.75), (1.0, 0.9)):
        changed = replace(task, plan=plan, objective=Objective(temperature=temperature))
        source = LPQLD(changed, PLAIN, PlannedViews(plan, range(2)), labels)
        targets = source.targets(source.stored.batch(1), NOTHING, 0)
        expected = torch.zeros(2, 10)
        expected[0, [9, 0]] = 0.5
        expected[1, [7, 2]] = torch.tensor([large, 1 - large])
        assert torch.allclose(targets, expected, atol=1e-3)


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("select", ["first", "random", "entropy"])
def test_the_largest_logits_of_the_very_views_are_kept(task, tmp_path, k, select):
    options = {"keep": 0.5, "k": k, "select": select, "interval": 0.25}
    source = reloaded(fitted(task, **options), tmp_path / "saved")
    for epoch, temperature in enumerate((14.0, 9.8, 6.86, 4.802)):
        for views in source.views(epoch):
            pixels = render(task.images.pixels, views)
            largest = task.teacher(pixels).half().float().topk(k, 1)
            expected = torch.zeros(len(views), 10)
            expected.scatter_(1, largest.indices, F.softmax(largest.values / temperature, 1))
            assert torch.allclose(source.targets(views, pixels, epoch), expected, atol=1e-6)


GRANULARITIES = ["pool", "batch", "epoch"]
SELECTIONS = ["first", "random", "confidence", "entropy", "loss"]
CODINGS = list(
    product(["mr", "ms", "adaptive", "smoothing", "hard", "none"], ["fp16", "bf16", "int8", "int4"])
)


@pytest.mark.parametrize(("form", "values"), CODINGS)
def test_what_is_loaded_is_what_was_fitted(task, tmp_path, form, values):
    case = CODINGS.index((form, values))  # other options take turns
    granularity, select = GRANULARITIES[case % 3], SELECTIONS[case % 5]
    options = {"quantise": form, "values": values, "granularity": granularity, "select": select}
    source = fitted(task, keep=0.5, **options)
    loaded = reloaded(source, tmp_path / "saved")
    labelled = list(teacher_logits(task, range(12), ""))
    for epoch in range(4):
        again = list(loaded.views(epoch))
        assert len(again) == task.plan.batches
        for before, views in zip(source.views(epoch), again, strict=True):
            planned, logits = labelled[loaded.stored.numbers[views.batch]]
            for name in ("index", "crop", "flip", "partner", "mix_box", "mix_opacity"):
                assert getattr(views, name).equal(getattr(before, name))
                assert getattr(views, name).equal(getattr(planned, name))
            targets = loaded.targets(views, NOTHING, epoch)
            assert targets.equal(source.targets(before, NOTHING, epoch))
            of_top = targets.gather(1, logits.argmax(1, keepdim=True)).squeeze(1)
            assert of_top.equal(targets.max(1).values)


@pytest.mark.parametrize("order", ["highest", "lowest"])
@pytest.mark.parametrize("select", ["confidence", "entropy", "loss"])
def test_the_metrics_choose_among_all_batches(task, select, order):
    scores = [
        score(select, logits, task.hard_labels(views))
        for views, logits in teacher_logits(task, range(12), "")
    ]
    ranked = sorted(range(12), key=lambda n: scores[n], reverse=order == "highest")
    source = fitted(task, batches=5, select=select, order=order)
    assert source.stored.numbers == sorted(ranked[:5])
    whole = fitted(task, batches=6, select=select, order=order, granularity="epoch")
    means = [sum(scores[3 * e : 3 * e + 3]) for e in range(4)]
    epochs = sorted(range(4), key=lambda e: means[e], reverse=order == "highest")
    assert whole.stored.numbers == [3 * e + b for e in sorted(epochs[:2]) for b in range(3)]


def test_random_batches_follow_the_artefacts_seed(task):
    def chosen(seed):
        return fitted(replace(task, seed=seed), batches=5, select="random").stored.numbers

    assert chosen(1) == chosen(1)
    assert len({tuple(chosen(seed)) for seed in range(5)}) == 5


def test_the_schedule_stretches_with_the_epochs(task):
    def temperatures(epochs, temperature=20.0, **options):
        options = replace(PLAIN, schedule="step", **options)
        source = source_of(task, options, epochs, temperature=temperature)
        return [source.temperature(epoch) for epoch in range(epochs)]

    assert temperatures(300)[28:30] == [20, 14]
    assert temperatures(10)[:5] == pytest.approx([14, 9.8, 6.86, 4.802, 3.3614])
    assert temperatures(3, interval=0.01)[0] == 14
    assert temperatures(4, temperature=10, decay=0.5, floor=1.5, interval=0.5) == [10, 5, 5, 2.5]


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_an_epoch_shows_what_the_pool_draws(task, granularity):
    numbers = [0, 1, 2, 6, 7, 8]
    source = source_of(task, replace(PLAIN, granularity=granularity), numbers=numbers)
    shown = set()
    for epoch in range(20):
        drawn = source.pool.draws(0, epoch)
        for views, position in zip(source.views(epoch), drawn, strict=True):
            assert views.crop.equal(task.plan.batch(*divmod(numbers[position], 3)).crop)
            shown.add(position)
    assert shown == set(range(6))


def test_the_draws_follow_the_students_seed(task):
    def draws(seed):
        source = source_of(replace(task, seed=seed))
        return [v.batch for epoch in range(5) for v in source.views(epoch)]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def divergence(logits, targets, temperature):
    student = F.log_softmax(logits / temperature, 1)
    return F.kl_div(student, targets, reduction="batchmean").item()


def test_the_loss_is_at_the_calibrated_temperature(task):
    source = source_of(task, replace(PLAIN, calibrate=True))
    torch.manual_seed(0)
    batches = [(torch.randn(6, 10), true) for true in (0.55, 0.37, 0.55, 0.82, 3.0)]
    for step, (logits, true) in enumerate(batches):
        targets = F.softmax(logits / true, 1)
        found = source.loss(logits, targets, task.plan.batch(0, 0), epoch=step // 2)
        expected = divergence(logits, targets, (1.0, 0.37, 0.82)[step // 2])
        assert found.item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_without_calibration_the_student_has_the_labels_temperature(task):
    source = source_of(task, replace(PLAIN, schedule="step", interval=0.25))
    logits, targets = torch.randn(6, 10), torch.rand(6, 10).softmax(1)
    found = source.loss(logits, targets, task.plan.batch(0, 0), epoch=1)
    assert found.item() == pytest.approx(divergence(logits, targets, 9.8))


def test_rescaling_is_by_both_temperatures(task):
    logits, targets = torch.randn(6, 10), torch.rand(6, 10).softmax(1)
    views = task.plan.batch(0, 0)
    stepped = replace(PLAIN, schedule="step", interval=0.25)
    some = source_of(task, replace(stepped, quantise="mr", k=3), rescale=True)
    expected = divergence(logits, targets, 9.8)
    assert some.loss(logits, targets, views, 1).item() == pytest.approx(expected, rel=1e-5)
    stepped = replace(stepped, quantise="none", k=10)
    plain = source_of(task, stepped, rescale=True)
    expected = 9.8 * 9.8 * divergence(logits, targets, 9.8)
    assert plain.loss(logits, targets, views, 1).item() == pytest.approx(expected, rel=1e-5)
    source = source_of(task, replace(stepped, calibrate=True), rescale=True)
    sharp = F.softmax(logits / 0.5, 1)
    source.loss(logits, sharp, views, 0)
    expected = 9.8 * 0.5 * divergence(logits, targets, 0.5)
    assert source.loss(logits, targets, views, 1).item() == pytest.approx(expected, rel=1e-5)


class Stop(Exception):
    pass


def test_calibration_survives_a_checkpoint(task, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1)
    reloaded(fitted(task, keep=0.5, k=3), tmp_path / "saved")
    recipe = Recipe("test", task.plan.epochs, task.plan.batch_size)

    def train(checkpoint, stop_at=None):
        source = LPQLD.load(tmp_path / "saved", shipped(task, seed=1))
        views = source.views

        def stopped(epoch):
            if epoch == stop_at:
                raise Stop
            return views(epoch)

        monkeypatch.setattr(source, "views", stopped)
        classifier = student.build(NETWORK, source, seed=1)
        curve = student.train(classifier, source, recipe, tmp_path / checkpoint, "test")
        temperature = source.training_state["temperature"].item()
        return curve, temperature, [p.tolist() for p in classifier.parameters()]

    whole = train("whole")
    assert whole[1] != 1.0
    for stop in (1, 3):
        with pytest.raises(Stop):
            train(f"{stop}", stop)
        assert train(f"{stop}") == whole


def wide(task, classes=1000, images=1024, batch_size=128, epochs=3):
    """A task as wide as ImageNet, whose teacher takes no time and knows the classes."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 1, 8, 8), generator=generator).byte()
    labels = torch.arange(images) % classes
    weights = torch.randn(64, classes, generator=generator)
    return replace(
        task,
        images=ResidentImages(pixels, labels, [str(c) for c in range(classes)]),
        plan=ViewPlan(0, images, 8, batch_size, epochs, Augmentation()),
        teacher=lambda pixels: 4 * pixels.flatten(1) @ weights,
    )


def official(folder, batches, k):
    """What LPQLD's relabelling script writes for these views and logits; returns the bytes."""
    folder.mkdir()
    images = {}
    for number, (views, logits) in enumerate(batches):
        kept = logits.float().topk(k, 1)
        top, left, height, width = (round(8 * share) for share in views.mix_box[0].tolist())
        edges = (top, left, top + height, left + width)
        parts = [
            views.crop.half(),
            views.flip,
            views.partner.to(torch.uint8),
            np.float64(views.mix_weight[0].item()),
            [torch.tensor(edge, dtype=torch.uint8) for edge in edges],
            kept.values.half(),
            kept.indices.short(),
        ]
        torch.save(parts, folder / f"batch_{number}.tar")
        images[str(number)] = views.index.tolist()
    (folder / "sampler_indices_batch.json").write_text(json.dumps(images))
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.parametrize(("k", "most"), [(10, 0.45), (50, 0.72), (100, 0.76)])
def test_the_same_labels_take_fewer_bytes_than_official_ones(task, tmp_path, k, most):
    task = wide(task)
    theirs = official(tmp_path / "theirs", teacher_logits(task, range(24), ""), k)
    source = reloaded(fitted(task, keep=1.0, k=k), tmp_path / "ours")
    ours = source.storage().total
    assert ours == sum(file.stat().st_size for file in (tmp_path / "ours").iterdir())
    assert ours <= most * theirs
    small = fitted(task, keep=1.0, k=k, values="int8").storage().total
    assert small <= (0.8 if k == 10 else 0.72) * ours
    order = json.loads((tmp_path / "theirs" / "sampler_indices_batch.json").read_text())
    for number in range(0, 24, 5):
        *_, values, indices = torch.load(
            tmp_path / "theirs" / f"batch_{number}.tar", weights_only=False
        )
        views = source.stored.batch(number)
        assert views.index.tolist() == order[str(number)]
        restored = source.labels.logits(source.stored.rows(number), task.device)
        whole = torch.full((128, 1000), -torch.inf).scatter(1, indices.long(), values.float())
        assert restored.equal(whole)
        for epoch, temperature in ((0, 14.0), (2, 6.86)):
            found = source.targets(views, NOTHING, epoch)
            assert found.equal(F.softmax(whole / source.temperature(epoch), 1))
            assert source.temperature(epoch) == pytest.approx(temperature)
            kept = F.softmax(values.float() / temperature, 1)
            assert torch.allclose(found.gather(1, indices.long()), kept, rtol=1e-6, atol=0)


def test_labels_of_others_meet_a_budget(task, tmp_path):
    theirs = replace(task, plan=replace(task.plan, epochs=30))  # 3 batches of 7, 7 and 6
    path = tmp_path / ("ö" * 60)
    official(path, teacher_logits(theirs, range(90), ""), 5)
    ours = replace(task, plan=replace(task.plan, batch_size=9, epochs=40))  # 3 batches, too
    for budget in (*range(3700, 4200, 85), 9000):
        options = LPQLD.Options(path=str(path), values="int8" if budget % 2 else "fp16")
        found = LPQLD.resolve_options(options, ours.shape, budget)
        assert budget - 1300 < LPQLD.fit(ours, found).storage().total <= budget


def test_labels_of_others_with_cutout_meet_a_budget(task, tmp_path):
    # The form of ImageNet-21K: neither flip nor mix, but a box and its colour.
    augmentation = Augmentation(flip=0.0, mix="none")
    task = replace(task, plan=replace(task.plan, epochs=40, augmentation=augmentation))
    images = {}
    for number, (views, logits) in enumerate(teacher_logits(task, range(120), "")):
        kept, half = logits.float().topk(5, 1), torch.full((len(views), 4), 0.5)
        parts = [
            views.crop,
            torch.cat([half, 255 * torch.rand(len(views), 3)], 1),
            *(None, None, None),
            kept.values.half(),
            kept.indices.short(),
        ]
        torch.save(parts, tmp_path / f"batch_{number}.tar")
        images[str(number)] = views.index.tolist()
    (tmp_path / "sampler_indices_batch.json").write_text(json.dumps(images))
    for budget in (4000, 20_000):
        found = LPQLD.resolve_options(LPQLD.Options(path=str(tmp_path)), task.shape, budget)
        assert budget - 3000 < LPQLD.fit(task, found).storage().total <= budget


def test_labels_for_images_in_another_order_are_refused(task, tmp_path):
    weights = torch.randn(64, 10, generator=torch.Generator().manual_seed(0))
    plan = replace(task.plan, epochs=10)
    task = replace(task, plan=plan, teacher=lambda x: 9 * (x - 0.5).flatten(1) @ weights)
    images, path = task.images, str(tmp_path / "theirs")
    official(tmp_path / "theirs", teacher_logits(task, range(30), ""), 5)
    fitted(task, keep=1.0, path=path)
    other = ResidentImages(images.pixels.roll(1, 0), images.labels, images.class_names)
    with pytest.raises(UserError, match=r"do not fit these images: .*known one in \d+ of 200"):
        fitted(replace(task, images=other), keep=1.0, path=path)


def test_without_a_teacher_labels_must_name_the_images_classes(task, tmp_path):
    task = replace(task, plan=replace(task.plan, epochs=20), teacher=None)
    images, path = task.images, str(tmp_path / "theirs")
    views = [task.plan.batch(*divmod(number, 3)) for number in range(60)]
    hot = F.one_hot(images.labels, 10).half()
    official(tmp_path / "theirs", [(v, 9 * hot[v.index]) for v in views], 5)
    fitted(task, keep=1.0, path=path)
    other = ResidentImages(images.pixels, images.labels.roll(1), images.class_names)
    with pytest.raises(UserError, match=r"known one in 0 of .* each class stands 1 further on"):
        fitted(replace(task, images=other), keep=1.0, path=path)
    # Too few views cannot tell.
    source = fitted(replace(task, images=other), batches=1, path=path)
    assert (
        source.targets(source.stored.batch(0), NOTHING, 0)
        .argmax(1)
        .equal(images.labels[views[0].index])
    )


def test_numbers_of_batches_are_shipped_only_where_needed(task, tmp_path):
    sizes = []
    for name, options in (("first", {}), ("random", {"select": "random"})):
        reloaded(fitted(task, keep=0.5, **options), tmp_path / name)
        sizes.append(read(tmp_path / name).ledger.views)
    assert sizes == [0, 3]  # six numbers below 12, in four bits each


def test_stored_labels_are_given_in_order(task):
    source = fitted(task, batches=5, select="random", k=3)
    given = list(source.stored_labels())
    assert [views.batch for views, _ in given] == list(range(5))
    for number, (views, logits) in zip(source.stored.numbers, given, strict=True):
        (_, whole), *_ = teacher_logits(task, [number], "")
        kept = whole.float().topk(3, 1)
        assert views.crop.equal(task.plan.batch(*divmod(number, 3)).crop)
        assert logits.gather(1, kept.indices).equal(kept.values)
        assert logits.isfinite().sum(1).tolist() == [3] * len(views)


def test_labels_of_batches_of_another_size_are_refused(task, tmp_path):
    theirs = replace(task, plan=replace(task.plan, epochs=30))  # batches of 7
    official(tmp_path / "theirs", teacher_logits(theirs, range(90), ""), 5)
    ours = replace(task, plan=replace(task.plan, batch_size=20))
    options = LPQLD.Options(path=str(tmp_path / "theirs"))
    with pytest.raises(
        UserError, match=r"batches of 7 views, .* 3 an epoch, and the recipe takes 1"
    ):
        LPQLD.resolve_options(options, ours.shape, None)


def test_labels_whose_classes_stand_elsewhere_are_read_in_the_fitted_order(task, tmp_path):
    task = replace(task, plan=replace(task.plan, epochs=20), teacher=None)
    images, path = task.images, str(tmp_path / "theirs")
    views = [task.plan.batch(*divmod(number, 3)) for number in range(60)]
    hot = F.one_hot((images.labels + 3) % 10, 10).half()
    official(tmp_path / "theirs", [(v, 9 * hot[v.index]) for v in views], 10)
    source = fitted(task, keep=1.0, path=path, class_order="fitted", quantise="none")
    for shown, logits in source.stored_labels():
        assert logits.argmax(1).equal(images.labels[shown.index])
    accepting = replace(task, accepted=("labels",))
    kept = fitted(accepting, keep=1.0, path=path, quantise="none")
    for shown, logits in kept.stored_labels():
        assert logits.argmax(1).equal((images.labels[shown.index] + 3) % 10)
