import math
from dataclasses import replace

import pytest
import torch
from tiny import NETWORK, pictures, tiny_task  # type: ignore[import-not-found]

from benchmark.core.errors import UserError
from benchmark.labels.label_learning import run as running
from benchmark.labels.label_learning.real import RealImages
from benchmark.labels.label_learning.resets import Resets, steps_worth
from benchmark.labels.label_learning.ridge import Ridge
from benchmark.labels.label_learning.run import Run
from benchmark.labels.label_learning.second_order import SecondOrder
from benchmark.labels.label_learning.settings import Learning
from benchmark.labels.task import task_shape
from benchmark.models import networks

QUICK = Learning(
    learners=(NETWORK,), epochs=4, outer_batch=10, inner_batch=5, window=3, select_every=2
)


@pytest.fixture
def task(tmp_path):
    return replace(tiny_task(tmp_path / "scratch", images=10), train=pictures(60, seed=2))


def second_order(network):
    return SecondOrder(network, 0.05, 1, "adam", 1e-2)


def ridge(network):
    return Ridge(network, networks.headless(network, 10), 10, 1.0, "adam", 1e-2)


def learn(task, options, make=second_order):
    run = Run(task, options, make)
    return run.learn(task.scratch / "checkpoint.pt"), run.notes


@pytest.mark.parametrize("make", [second_order, ridge])
def test_learning_lowers_the_outer_loss(task, make):
    train = pictures(60, seed=2)  # each class a brightness, with noise
    train.pixels.copy_(train.pixels // 8 + 22 * train.labels.view(-1, 1, 1, 1).to(torch.uint8))
    images = pictures(10)
    images.pixels.copy_(train.pixels[:10])
    options = replace(QUICK, epochs=30, inner_batch=10, window=1000, label_lr=2e-2)
    options = replace(options, select_every=30)
    labels, notes = learn(replace(task, train=train, images=images), options, make)
    assert notes["outer_loss"][-1] < notes["outer_loss"][0] - 0.1
    assert len(notes["outer_loss"]) == len(notes["outer_error"]) == 30
    torch.testing.assert_close(labels.sum(1), torch.ones(10))
    assert labels.min() >= 0
    assert not labels.equal(torch.full((10, 10), 0.1))


def test_learners_come_in_turn_and_have_their_own_steps(task):
    options = replace(QUICK, learners=("lenet", NETWORK), epochs=8)
    _, notes = learn(task, options)
    names = [name for name, _ in notes["resets"]]
    assert len(names) > 2
    assert names == (["lenet", NETWORK] * len(names))[: len(names)]
    last = notes["validation"][-1]["steps"]
    for name in options.learners:
        assert last[name] == steps_worth([n for who, n in notes["resets"] if who == name], 0)


def test_the_labels_that_are_best_held_out_are_kept(task, monkeypatch):
    found = iter([0.5, 0.3, 0.3, 0.4])
    seen = []
    trial = Run.trial

    def watched(self, epoch):
        seen.append(self.table.values.clone())
        trial(self, epoch)

    monkeypatch.setattr(Run, "trial", watched)
    monkeypatch.setattr(SecondOrder, "mistakes", lambda *_: next(found))
    labels, notes = learn(task, replace(QUICK, epochs=7))
    assert [told["epoch"] for told in notes["validation"]] == [2, 4, 6, 7]
    assert notes["chosen"] == notes["validation"][2]
    assert labels.equal(seen[2])
    assert not labels.equal(seen[1])


def test_fewer_epochs_than_between_two_looks(task):
    _, notes = learn(task, replace(QUICK, epochs=1, select_every=5))
    assert [told["epoch"] for told in notes["validation"]] == [1]
    assert notes["chosen"]["steps"] == {NETWORK: 6}  # as many as the network has taken


def test_images_that_lack_a_class(task):
    images = pictures(8)  # classes 0 to 7 of 10
    labels, _ = learn(replace(task, images=images), QUICK)
    assert labels.shape == (8, 10)
    assert (labels > 0).all()


@pytest.mark.parametrize("make", [second_order, ridge])
@pytest.mark.parametrize("learner", [NETWORK, "resnet20"])
def test_a_run_that_was_cut_gives_the_same_labels(task, monkeypatch, make, learner):
    monkeypatch.setattr(running, "CHECKPOINT_EVERY_SECONDS", 0.0)
    options = replace(QUICK, learners=(learner, "lenet"))
    whole, notes = learn(replace(task, scratch=task.scratch.parent), options, make)
    assert notes["resets"]
    epoch = Run.epoch

    def cut(self, number):
        if number == 3:
            raise KeyboardInterrupt
        epoch(self, number)

    monkeypatch.setattr(Run, "epoch", cut)
    with pytest.raises(KeyboardInterrupt):
        learn(task, options, make)
    done = []
    monkeypatch.setattr(Run, "epoch", lambda self, n: (done.append(n), epoch(self, n)))
    again, same = learn(task, options, make)
    assert done == [3]
    assert again.equal(whole)
    assert same == notes


def test_a_damaged_checkpoint_is_no_hindrance(task, capsys):
    (task.scratch / "checkpoint.pt").write_bytes(b"nothing")
    learn(task, replace(QUICK, epochs=1))
    assert "cannot be read" in capsys.readouterr().err


def test_looking_seldom_changes_nothing(task, monkeypatch):
    seldom = learn(task, QUICK)
    monkeypatch.setattr(Resets, "safe", 1)
    often = learn(task, QUICK)
    assert seldom[0].equal(often[0])
    assert seldom[1] == often[1]


def test_equal_seeds_give_equal_labels(task):
    one, other = learn(task, QUICK)[0], learn(replace(task, seed=1), QUICK)[0]
    torch.manual_seed(99)
    assert one.equal(learn(task, QUICK)[0])
    assert not one.equal(other)


def test_a_loss_that_is_not_finite_is_told(task):
    def make(network):
        return SecondOrder(network, 1e30, 1, "adam", 1e-2)

    with pytest.raises(UserError, match=r"the outer loss is (nan|inf) in epoch 1\. A lower"):
        learn(task, QUICK, make)


def test_held_out_images_are_apart_and_batches_even(task):
    train = pictures(61, seed=2)
    real = RealImages(replace(task, train=train), 0.25, 10)
    batches = list(real.epoch(0))
    assert sorted(len(truth) for _, truth in batches) == [9, 9, 9, 9, 10]
    shown = torch.cat([pixels for pixels, _ in batches])
    expected = train.pixels[real.target.sort().values].float() / 255
    assert shown.flatten(1).sum(1).sort().values.equal(expected.flatten(1).sum(1).sort().values)
    assert not shown.equal(torch.cat([pixels for pixels, _ in real.epoch(1)]))


def test_held_out_images_are_seen_once_with_their_labels(task):
    real = RealImages(task, 0.25, 4)
    _, train, _ = task.fitting()
    pixels, truth = (torch.cat(parts) for parts in zip(*real.held_out(), strict=True))
    apart = sorted(set(range(60)) - set(real.target.tolist()))
    assert len(apart) == len(truth) == 15
    by_content = {image.numpy().tobytes(): i for i, image in enumerate(train.pixels)}
    found = [by_content[(255 * image).round().byte().numpy().tobytes()] for image in pixels]
    assert sorted(found) == apart
    assert train.labels[torch.tensor(found)].equal(truth)


def test_a_training_set_that_is_too_small(task):
    with pytest.raises(UserError, match="2 real images of which 2 are held out"):
        RealImages(replace(task, train=pictures(2)), 0.9, 10)


@pytest.mark.parametrize(
    ("images", "classes", "batch", "window"),
    [  # the authors' configurations, and a small one
        (10, 10, 10, 50),
        (20, 10, 10, 50),
        (50, 10, 25, 50),
        (100, 10, 50, 50),
        (200, 10, 50, 200),
        (500, 10, 50, 200),
        (100, 100, 100, 100),
        (4, 10, 4, 50),
    ],
)
def test_sizes_left_open_are_the_authors(task, images, classes, batch, window):
    shape = task_shape(classes, replace(task.plan, images=images))
    sized = Learning().sized(shape)
    assert (sized.inner_batch, sized.window) == (batch, window)
    asked = Learning(inner_batch=3, window=9).sized(shape)
    assert (asked.inner_batch, asked.window) == (3, 9)


@pytest.mark.parametrize(
    ("resolution", "usual"), [(8, "convnet-d2-w32"), (28, "convnet-d2-w32"), (32, "convnet-d3-w32")]
)
def test_the_usual_learner_fits_the_resolution(task, resolution, usual):
    shape = task_shape(10, replace(task.plan, resolution=resolution))
    assert Learning().sized(shape).learners == (usual,)
    assert Learning(learners=("lenet", "auto")).sized(shape).learners == ("lenet", usual)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learners": ()}, "learners must name at least one"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"window": -1}, "window must not be negative"),
        ({"label_lr": 0.0}, "label_lr must be positive"),
        ({"network_lr": math.nan}, "network_lr must be positive"),
        ({"held_out": 0.0}, "held_out must be a share above 0"),
    ],
)
def test_options_that_make_no_sense(change, message):
    with pytest.raises(ValueError, match=message):
        Learning(**change)
    with pytest.raises(UserError, match="Unknown network 'lenet6'"):
        Learning(learners=("lenet6",))
