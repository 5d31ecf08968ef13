"""Images recovered from a small network that was taught the digits."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny import dataset_of, made_by
from torch import Tensor, nn

from benchmark.core.device import Compute
from benchmark.core.errors import UserError
from benchmark.data.images import ResidentImages
from benchmark.data.rendering import look
from benchmark.datasets.distilled import lpld, sre2l
from benchmark.datasets.distilled.sre2l import Group, Recovery, blocks, crops, noise
from benchmark.models import networks, training
from benchmark.models.batch_norm import class_statistics, global_statistics
from benchmark.models.image_source import ImageTask, image_source
from benchmark.models.teachers import Teacher

CPU = Compute(torch.device("cpu"), bf16=False)
DIGITS = dataset_of("digits").load(None)  # type: ignore[arg-type]
SOURCES = pytest.mark.parametrize("source", [sre2l, lpld])


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    """Taught until it knows most digits."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    taught = Teacher("small", network, DIGITS.mean, DIGITS.std)
    pixels = DIGITS.train.take(torch.arange(len(DIGITS.train))).float() / 255
    optimiser = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(6):
        for rows in torch.randperm(len(pixels)).split(128):
            optimiser.zero_grad()
            F.cross_entropy(taught(pixels[rows]), DIGITS.train.labels[rows]).backward()
            optimiser.step()
    return taught.eval().requires_grad_(False)


@pytest.fixture
def task(teacher, tmp_path) -> ImageTask:
    return ImageTask(DIGITS, 3, 0, CPU, tmp_path, teacher)


def quick(source, **changes):
    """Options for a few iterations of an 8 x 8 image."""
    values = {"iterations": 6, "crop_low": 0.5, "roll": 1, "weight": 0.05, "units": "teacher"}
    return source.Options(**values | changes)


def recovery(task: ImageTask, options, block=None) -> Recovery:
    """LPLD's groups, two images each of the ten digits, without a pass over real images."""
    groups = [Group(label * task.ipc + torch.arange(2), target=0) for label in range(10)]
    block = torch.arange(10) if block is None else torch.tensor(block)
    return Recovery(task, options, groups, block, global_statistics(task.taught()))


# Groups


def groups_of(source, task, options, monkeypatch) -> tuple[list[Group], list]:
    """What a source would recover, and the statistics it would be drawn towards."""
    passed = {}
    monkeypatch.setattr(source, "recover", lambda *given: passed.update(given=given))
    made_by(source, task, options)
    return passed["given"][2:]


def test_sre2l_groups_hold_an_image_of_each_class(task, monkeypatch):
    groups, statistics = groups_of(sre2l, task, quick(sre2l), monkeypatch)
    assert [g.images.tolist() for g in groups] == [list(range(i, 30, 3)) for i in range(3)]
    assert {g.target for g in groups} == {0}
    for found, expected in zip(statistics, global_statistics(task.taught()), strict=True):
        assert torch.equal(found[0], expected[0])


@pytest.mark.parametrize("average", ["exact", "moving"])
def test_lpld_groups_hold_all_images_of_a_class(task, average, monkeypatch):
    options = quick(lpld, statistics=average, squeeze_batch=64)
    groups, statistics = groups_of(lpld, task, options, monkeypatch)
    assert [g.images.tolist() for g in groups] == [[3 * c, 3 * c + 1, 3 * c + 2] for c in range(10)]
    assert [g.target for g in groups] == list(range(10))
    plan = crops(task, options, len(DIGITS.train), 64, epochs=1)
    moving = average == "moving"
    expected = class_statistics(task.taught(), DIGITS.train, plan, CPU, moving)
    torch.testing.assert_close(statistics, expected)


def test_groups_hold_at_most_a_hundred_images():
    assert [len(part) for part in sre2l.even_parts(250)] == [84, 83, 83]
    assert [len(part) for part in sre2l.even_parts(100)] == [100]
    assert torch.equal(torch.cat(sre2l.even_parts(250)), torch.arange(250))


def test_blocks_hold_groups_of_one_size():
    groups = [Group(torch.arange(n), 0) for n in (3, 3, 3, 2, 2)]
    assert [b.tolist() for b in blocks(groups, 7)] == [[0, 1], [2], [3, 4]]
    assert [b.tolist() for b in blocks(groups, 1)] == [[0], [1], [2], [3], [4]]


# One iteration


def test_a_group_is_cropped_flipped_and_rolled_as_one(task):
    task = replace(task, dataset=replace(DIGITS, mirror=True))
    options = quick(sre2l, roll=2, iterations=40, crop_low=0.2)
    block, shifts = [7, 2, 9], set()
    of_some = recovery(task, options, block)
    for iteration in range(40):
        views = of_some.plan.batch(iteration, 0)
        shown = of_some.shown(iteration)
        for place, group in enumerate(block):
            at = (views.index == group).nonzero()[0]
            view = replace(views, index=at, crop=views.crop[at], flip=views.flip[at])
            each = [look(image[None], view) for image in of_some.canvas[place]]
            expected = torch.cat(each)
            fits = [
                (down, right)
                for down in range(-2, 3)
                for right in range(-2, 3)
                if torch.equal(shown[place], expected.roll((down, right), (2, 3)))
            ]
            assert len(fits) == 1
            shifts |= set(fits)
    assert {s for pair in shifts for s in pair} == {-2, -1, 0, 1, 2}
    assert any(down != right for down, right in shifts)


def test_only_images_that_may_be_mirrored_are(task):
    assert recovery(task, quick(sre2l)).plan.augmentation.flip == 0
    mirrored = replace(task, dataset=replace(DIGITS, mirror=True))
    assert recovery(mirrored, quick(sre2l)).plan.augmentation.flip == 0.5


def test_losses_are_cross_entropy_and_distances_of_statistics(task):
    options = quick(sre2l, weight=0.3, first_weight=7.0)
    ours, network = recovery(task, options), task.taught().network
    losses, shown = ours.losses(0), ours.shown(0)
    for group in range(10):
        normalised = task.taught().normalised(shown[group] * ours.std + ours.mean)
        logits = network(normalised)
        expected = F.cross_entropy(logits, torch.tensor([group, group]))
        for layer, share in ((1, 7.0), (4, 1.0)):
            seen: Tensor = network[:layer](normalised)  # type: ignore[index]
            mean, variance = seen.mean((0, 2, 3)), seen.var((0, 2, 3), correction=0)
            own = network[layer]  # type: ignore[index]
            apart = (mean - own.running_mean).norm() + (variance - own.running_var).norm()
            expected = expected + 0.3 * share * apart
        torch.testing.assert_close(losses[group], expected)


def test_a_run_in_bfloat16_recovers_in_single_precision(task):
    exact = recovery(task, quick(sre2l)).losses(0)
    asked = recovery(replace(task, compute=Compute(CPU.device, bf16=True)), quick(sre2l)).losses(0)
    assert torch.equal(asked, exact)


def test_presets_are_the_papers():
    tiny, cifar = sre2l.Options(), sre2l.Options(preset="cifar")
    assert (tiny.iterations, tiny.lr, tiny.weight, tiny.roll, tiny.both_ways) == (
        *(4000, 0.1, 1.0),
        *(4, True),
    )
    assert (cifar.iterations, cifar.lr, cifar.weight, cifar.crop_low, cifar.flip) == (
        *(1000, 0.25, 0.01),
        *(1.0, False),
    )
    assert (cifar.roll, cifar.both_ways) == (4, False)
    assert lpld.Options().weight == 0.05
    assert lpld.Options(preset="imagenet21k").weight == 0.25
    assert lpld.Options(preset="imagenet").roll == 32
    assert sre2l.Options(preset="cifar", iterations=7).iterations == 7
    assert lpld.Options().statistics == "moving"


def test_the_cifar_preset_neither_crops_nor_flips_and_rolls_one_way(task):
    mirrored = replace(task, dataset=replace(DIGITS, mirror=True))
    ours = recovery(mirrored, sre2l.Options(preset="cifar", iterations=40))
    assert ours.plan.augmentation.flip == 0
    shifts = set()
    for iteration in range(40):
        shown = ours.shown(iteration)[0]
        fits = [
            (down, right)
            for down in range(8)
            for right in range(8)
            if torch.equal(shown, ours.canvas[0].roll((down, right), (2, 3)))
        ]
        assert len(fits) == 1
        shifts |= set(fits)
    assert {s for pair in shifts for s in pair} == {0, 1, 2, 3, 4}


def test_noise_and_rate_are_in_the_units_of_the_preset(task):
    ours, own = (recovery(task, quick(sre2l, units=units)) for units in ("tiny", "teacher"))
    assert torch.equal(ours.canvas, own.canvas)
    assert (ours.mean.item(), ours.std.item()) == pytest.approx((0.4802, 0.2302))
    assert (own.mean.item(), own.std.item()) == pytest.approx((*DIGITS.mean, *DIGITS.std))


def test_groups_together_move_as_each_alone(task):
    options = quick(sre2l, iterations=5)
    together = recovery(task, options)
    alone = {group: recovery(task, options, [group]) for group in (0, 4, 9)}
    together.losses(0).sum().backward()
    for group, ours in alone.items():
        assert torch.equal(ours.canvas[0], together.canvas[group])
        ours.losses(0).sum().backward()
        torch.testing.assert_close(ours.canvas.grad[0], together.canvas.grad[group])
    together.run("together")
    for group, ours in alone.items():
        ours.run("alone")
        torch.testing.assert_close(ours.canvas[0], together.canvas[group], rtol=0, atol=1e-3)


def test_noise_is_standard_normal_and_each_images_own():
    first, again, second = (
        noise(5, 0, (3, 64, 64)),
        noise(5, 0, (3, 64, 64)),
        noise(5, 1, (3, 64, 64)),
    )
    assert torch.equal(first, again)
    assert abs(first.mean()) < 0.03
    assert abs(first.std() - 1) < 0.03
    assert abs((first * second).mean()) < 0.03
    assert first.abs().max() > 3


# Whole recoveries


@SOURCES
def test_recovered_images_are_known_and_fit_better(source, task):
    options = quick(source, iterations=150)
    kept = {name: value.clone() for name, value in task.taught().state_dict().items()}
    images = made_by(source, task, options)
    assert images.pixels.shape == (30, 1, 8, 8)
    assert images.labels.tolist() == [label for label in range(10) for _ in range(3)]
    assert images.class_names == DIGITS.class_names
    logits = task.taught()(images.pixels / 255)
    assert (logits.argmax(1) == images.labels).float().mean() > 0.9
    assert not task.taught().training
    assert all(value.equal(kept[n]) for n, value in task.taught().state_dict().items())


def test_a_run_lowers_the_loss_and_stays_among_pixels(task):
    ours = recovery(task, quick(sre2l, iterations=60))
    assert (ours.canvas < -ours.mean / ours.std).any(), "noise starts beyond black"

    def mean_losses() -> Tensor:
        return torch.stack([ours.losses(i).detach() for i in range(10)]).mean(0)

    before = mean_losses()
    ours.run("down")
    assert (mean_losses() < before / 2).all()
    pixels = ours.canvas * ours.std + ours.mean
    assert -1e-6 < pixels.min() < 0.01 < 0.99 < pixels.max() < 1 + 1e-6
    assert torch.equal(ours.pixels(), (pixels * 255).round().clamp(0, 255).byte().flatten(0, 1))


def test_images_follow_the_seed(task, tmp_path_factory):
    digests = [
        made_by(
            lpld, replace(task, seed=seed, scratch=tmp_path_factory.mktemp("scratch")), quick(lpld)
        ).digest
        for seed in (2**64 - 1, 2**64 - 1, 1)
    ]
    assert digests[0] == digests[1] != digests[2]


@SOURCES
def test_a_killed_run_goes_on_where_it_was(source, task, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(training, "CHECKPOINT_EVERY_SECONDS", -1.0)
    monkeypatch.setattr(sre2l, "STRETCH", 2)
    options = quick(source, block=20)
    whole = made_by(source, replace(task, scratch=tmp_path_factory.mktemp("whole")), options)
    usual, asked = Recovery.losses, []

    def losses(self: Recovery, iteration: int) -> Tensor:
        asked.append(iteration)
        if len(asked) == 10:
            raise KeyboardInterrupt
        return usual(self, iteration)

    monkeypatch.setattr(Recovery, "losses", losses)
    with pytest.raises(KeyboardInterrupt):
        made_by(source, task, options)
    monkeypatch.setattr(lpld, "class_statistics", None)  # they are there already
    # The first block is done, and two of the second one's three stretches are not.
    resumed = made_by(source, task, options)
    assert asked == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 2, 3, 4, 5]
    assert torch.equal(resumed.pixels, whole.pixels)
    assert not list(task.scratch.glob("*.pt"))


@SOURCES
def test_what_cannot_be_is_refused(source, task):
    convnet = networks.create("convnet-d2-w8", 10, 1, 8)
    bare = Teacher("convnet-d2-w8", convnet, (0.4,), (0.3,))
    with pytest.raises(UserError, match="a ConvNet, has no batch normalisation"):
        image_source(source.__name__.rpartition(".")[2])(source.Options()).validate(
            DIGITS, 1, convnet
        )
    with pytest.raises(UserError, match="no batch normalisation"):
        made_by(source, replace(task, teacher=bare), quick(source))
    with pytest.raises(UserError, match="IPC must be at least 1, got 0"):
        image_source(source.__name__.rpartition(".")[2])(source.Options()).validate(
            DIGITS, 0, task.taught()
        )
    wrong = {"iterations": 0, "lr": 0.0, "weight": -1.0, "first_weight": -1.0}
    for name, value in (wrong | {"crop_low": 0.0, "roll": -1, "block": 0}).items():
        with pytest.raises(ValueError, match=f"{name} must .*{value}"):
            source.Options(**{name: value})
    with pytest.raises(ValueError, match="squeeze_batch must be at least 1, got 0"):
        lpld.Options(squeeze_batch=0)


def test_lpld_needs_images_of_every_class(task):
    train = DIGITS.train
    few = ResidentImages(train.take(torch.arange(40)), train.labels[:40] % 9, train.class_names)
    gap = replace(DIGITS, train=few)
    with pytest.raises(UserError, match="no images of class"):
        lpld.LPLD(lpld.Options()).validate(gap, 1, task.taught())
    sre2l.SRe2L(sre2l.Options()).validate(gap, 1, task.taught())
