import pytest
import torch

from benchmark.models.agreement import agreement, described, mismatch


def shown(classes, each):
    return torch.arange(classes).repeat_interleave(each)


def test_full_agreement_has_no_other_order():
    labels = shown(10, 4)
    found = agreement(labels, labels, 10)
    assert (found.right, found.seen, found.order) == (40, 40, None)
    assert mismatch(found, 0.5, tuple("abcdefghij")) == ""


def test_a_weak_classifier_has_no_order_of_its_own():
    generator = torch.Generator().manual_seed(0)
    labels = shown(10, 50)
    for strength in (0.0, 0.2, 0.4):
        wrong = torch.rand(len(labels), generator=generator) > strength
        guess = torch.randint(0, 10, labels.shape, generator=generator)
        found = agreement(torch.where(wrong, guess, labels), labels, 10)
        assert found.order is None


def test_two_confused_classes_are_no_other_order():
    labels = shown(10, 50)
    named = labels.clone()
    named[labels == 3] = 5  # all cats are dogs, and dogs are dogs
    found = agreement(named, labels, 10)
    assert found.order is None
    assert mismatch(found, 0.5, tuple("abcdefghij")) == ""


@pytest.mark.parametrize("classes", [2, 10, 1002])
def test_a_rolled_order_is_named(classes):
    labels = shown(classes, 5)
    found = agreement((labels + 1) % classes, labels, classes)
    assert found.right == 0
    assert found.in_order == len(labels)
    told = mismatch(found, 0.5, tuple(map(str, range(classes))))
    assert "each class stands 1 further on" in told


def test_two_exchanged_classes_of_many_are_seen():
    labels = shown(1000, 5)
    named = labels.clone()
    named[labels == 7], named[labels == 8] = 8, 7
    found = agreement(named, labels, 1000)
    assert found.share == 0.998
    assert "2 classes stand elsewhere: '7' is '8'" in mismatch(
        found, 0.5, tuple(map(str, range(1000)))
    )


def test_an_order_as_text_is_named():
    names = tuple(map(str, range(12)))
    as_text = sorted(range(12), key=str)
    order = torch.empty(12, dtype=torch.int64)
    order[torch.tensor(as_text)] = torch.arange(12)
    assert "in the order of their names as text" in described(order, names)
    labels = shown(12, 3)
    found = agreement(order[labels], labels, 12).order
    assert found is not None
    assert torch.equal(found, order)


def test_classes_that_are_not_shown_fill_the_gaps():
    labels = shown(10, 5)[:40]  # 8 and 9 are not shown
    found = agreement((labels + 2) % 10, labels, 10)
    assert found.order is not None
    assert sorted(found.order.tolist()) == list(range(10))


def test_one_image_a_class_shows_an_order_only_if_all_fits():
    labels = torch.arange(10)
    assert agreement((labels + 1) % 10, labels, 10).order is not None
    assert agreement(torch.tensor([1, 0, 2, 3, 4, 5, 6, 7, 8, 9]), labels, 10).order is None


def test_what_is_near_chance_is_told_with_the_chance():
    labels = shown(10, 10)
    told = mismatch(agreement(torch.zeros_like(labels), labels, 10), 0.5, tuple("abcdefghij"))
    assert (
        "10 of 100 views (10.0%), where at least 50.0% is asked for and chance gives 10.0%" in told
    )
