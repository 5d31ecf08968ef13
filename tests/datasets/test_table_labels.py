"""How the values of a label column stand for classes, and which are refused."""

import numpy as np
import pyarrow as pa
import pytest
from tiny import dataset_of

from benchmark.core.errors import UserError


def load(place):
    return dataset_of("parquet").load(place, "set")


@pytest.fixture
def labelled(encode, write_set):
    """A set whose label column holds these values."""

    def write(train: pa.Array, test: pa.Array, column: str = "label", **more: pa.Array):
        tables = {}
        for split, labels in (("train", train), ("test", test)):
            shades = range(len(labels)) if split == "train" else range(100, 100 + len(labels))
            images = pa.array([encode(shade) for shade in shades])
            tables[f"{split}.parquet"] = pa.table({"img": images, column: labels, **more})
        return write_set(tables)

    return write


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "uint64"])
def test_whole_numbers_of_any_width(place, labelled, kind):
    labelled(pa.array([1, 0, 2], kind), pa.array([2], kind))
    dataset = load(place)
    assert dataset.train.labels.tolist() == [1, 0, 2]
    assert dataset.test.labels.tolist() == [2]
    assert dataset.class_names == ("0", "1", "2")


@pytest.mark.parametrize(
    ("train", "names", "labels"),
    [
        (pa.array(["dog", "cat", "dog"]), ("cat", "dog"), [1, 0, 1]),
        (pa.array(["dog", "cat", "dog"], pa.large_string()), ("cat", "dog"), [1, 0, 1]),
        (pa.array(["dog", "cat", "dog"]).dictionary_encode(), ("cat", "dog"), [1, 0, 1]),
        (pa.array(["10", "9", "2"]), ("2", "9", "10"), [2, 1, 0]),
        (pa.array(["10", "9", "x"]), ("10", "9", "x"), [0, 1, 2]),
        (pa.array([True, False, True]), ("False", "True"), [1, 0, 1]),
        (pa.array([1.0, 0.0, 2.0]), ("0", "1", "2"), [1, 0, 2]),
        (pa.array([1.0, 0.0, 2.0], pa.float32()), ("0", "1", "2"), [1, 0, 2]),
        (pa.array(np.array([1, 0, 2], np.float16)), ("0", "1", "2"), [1, 0, 2]),
    ],
    ids=range(9),
)
def test_other_labels(place, labelled, train, names, labels):
    labelled(train, train.slice(0, 1))
    dataset = load(place)
    assert dataset.class_names == names
    assert dataset.train.labels.tolist() == labels
    assert dataset.test.labels.tolist() == labels[:1]


@pytest.mark.parametrize("column", ["label", "labels", "fine_label", "target", "class"])
def test_columns_of_labels(place, labelled, column, capsys):
    labelled(pa.array([0, 1]), pa.array([0, 1]), column, coarse_label=pa.array([0, 0]))
    assert load(place).train.labels.tolist() == [0, 1]
    assert "is read" not in capsys.readouterr().err


def test_which_of_several_columns_is_read_is_said(place, labelled, capsys):
    labelled(pa.array([0, 1]), pa.array([0, 1]), "label", target=pa.array([1, 0]))
    assert load(place).train.labels.tolist() == [0, 1]
    assert "of the columns label, target, 'label' is read" in capsys.readouterr().err


def test_a_table_without_labels_says_which_columns_it_has(place, labelled):
    labelled(pa.array([0, 1]), pa.array([0, 1]), "digit")
    with pytest.raises(UserError, match=r"no label column \(label, .*\); it has: img, digit|withh"):
        load(place)


def test_labels_from_one_are_counted_from_nought_aloud(place, labelled, capsys):
    labelled(pa.array([3, 1, 2]), pa.array([3]))
    dataset = load(place)
    assert dataset.train.labels.tolist() == [2, 0, 1]
    assert dataset.test.labels.tolist() == [2]
    assert dataset.class_names == ("1", "2", "3")
    assert "labels run from 1 to 3 and have no names; they are counted from 0" in (
        capsys.readouterr().err
    )
    labelled(pa.array([3, 1, 2]), pa.array([0]))
    with pytest.raises(UserError, match=r"Row 0 of .*test\.parquet' has the label 0; valid: 1 to"):
        load(place)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ([0, 2], "no training image shows '1', of 3 classes"),
        ([1, 3], "no training image shows '0', '2', of 4 classes"),
        ([2, 3], "no training image shows '0', '1', of 4 classes"),
    ],
)
def test_labels_with_gaps_are_refused(place, labelled, train, words):
    labelled(pa.array(train), pa.array(train))
    with pytest.raises(UserError, match=words):
        load(place)


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (["a", "b"], ["c"], r"Row 0 of .*test\.parquet' has the label 'c'; valid: a, b"),
        (["a", "b"], [1], "labels of .*test.* are numbers, those of the training set text"),
        ([0, 1], ["a"], "labels of .*test.* are text, those of the training set numbers"),
        (["a", ""], ["a"], r"Row 1 of .*train\.parquet' has a label of 0 characters; valid: 1 to"),
        (["a", "b" * 5000], ["a"], "Row 1 of .* has a label of 5,000 characters; valid: 1 to"),
        (["a", None], ["a"], r"Row 1 of .*train\.parquet' has no label"),
        ([0, 1], [2], r"Row 0 of .*test\.parquet' has the label 2; valid: 0 to 1"),
    ],
)
def test_labels_that_do_not_fit(place, labelled, train, test, words):
    labelled(pa.array(train), pa.array(test))
    with pytest.raises(UserError, match=words):
        load(place)


@pytest.mark.parametrize("other", ["train-1.parquet", "test.parquet"])
@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("dog", "cat"), "same classes in another order: label 0 is 'cat' in one, 'dog' in"),
        (("cat", "cow"), "2 and 2 classes; in one only: 'cow', 'dog'"),
        (("cat", "dog", "cow"), "2 and 3 classes; in one only: 'cow'"),
        ((), "classes in one only"),
        (("cat", "cat"), "names two classes 'cat'"),
    ],
)
def test_other_class_names_are_refused(place, write_set, other, names, words):
    write_set({"train-0.parquet": [0, 1], "train-1.parquet": [0, 1], "test.parquet": [0]})
    write_set({other: [0, 1]}, names)
    with pytest.raises(UserError, match=words):
        load(place)


def test_named_classes_without_images(place, write_set, capsys):
    write_set({"train.parquet": [0, 1], "test.parquet": [1]})
    load(place)
    assert "of 2 classes, no test image shows 'cat'" in capsys.readouterr().err
    write_set({"train.parquet": [1, 1], "test.parquet": [0]})
    with pytest.raises(UserError, match="set': no training image shows 'cat', of 2 classes"):
        load(place)
