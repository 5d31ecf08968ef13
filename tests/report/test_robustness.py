import math

import pytest
from synthetic import record

from benchmark.records.comparison import comparisons
from benchmark.report.robustness import label_robust, score


def test_the_score_is_the_papers_at_its_ends():
    assert score(-1, 1) == pytest.approx(1)
    assert score(1, -1) == pytest.approx(0)
    assert score(0, 0) == pytest.approx((1 - math.exp(-1)) / (math.e - math.exp(-1)))


def shown(**accuracies):
    """One comparison: accuracies by METHOD_IMAGES."""
    made = []
    for name, accuracy in accuracies.items():
        method, images = name.split("_")
        made.append(record(method, accuracy=accuracy, images=images, student="resnet18"))
    (found,) = comparisons(made)
    return found


def test_images_are_scored_by_what_they_add():
    found = shown(hard_rded=0.4, lpqld_rded=0.6, hard_random=0.3, lpqld_random=0.5)
    lacks = found.setting.teacher_accuracy - 0.4
    assert label_robust(found) == pytest.approx({"rded": score(lacks, 0.1)})


def test_without_hard_labels_or_random_images_there_is_no_score():
    assert label_robust(shown(lpqld_rded=0.6, hard_random=0.3)) == {}
    assert label_robust(shown(hard_rded=0.4, lpqld_rded=0.6)) == {}
