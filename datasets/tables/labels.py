"""The label column of tables: how its values stand for classes.

Whole numbers of any type count classes from 0, and the schema's ClassLabel names them. Text,
and true or false, is a class each, in sorted order; numbers written as text in the order of
numbers. What could be read in two ways is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict

from benchmark.core import bounded
from benchmark.core.bounded import short, shown
from benchmark.core.errors import UserError
from benchmark.core.progress import say

from .table import column_of, has_labels, label_column, schema_of

MOST_CLASSES = 100_000
HIDDEN = -1
LONGEST = 4096  # characters of a class's name


class _Label(TypedDict, total=False):
    names: (
        Annotated[
            list[Annotated[str, Field(strict=True, max_length=LONGEST)]],
            Field(max_length=MOST_CLASSES),
        ]
        | None
    )


class _Info(TypedDict, total=False):
    features: dict[str, Any]


class _Told(TypedDict, total=False):
    """What the `datasets` library writes of its columns, as far as it is read here."""

    info: _Info


FEATURES, LABEL = TypeAdapter(_Told), TypeAdapter(_Label)


@dataclass(frozen=True)
class Classes:
    """The classes of a label column.

    Attributes:
        names: in label order.
        values: what stands in the column for each class, in label order; numbers or texts.
    """

    names: tuple[str, ...]
    values: tuple[int, ...] | tuple[str, ...]

    @property
    def textual(self) -> bool:
        """Whether the column holds texts."""
        return bool(self.values) and isinstance(self.values[0], str)


def classes_of(files: list[Path]) -> Classes:
    """The classes that a training set's tables name, or else hold.

    Raises:
        UserError: a file cannot be read, has no label somewhere, or names other classes than the
            first.
    """
    names = same_names(files)
    columns = [values_of(file) for file in files]
    textual = {column.dtype == object for column in columns}
    if len(textual) > 1:
        raise UserError(f"The labels of {str(files[0])!r} and its shards are numbers and texts.")
    found = np.unique(np.concatenate([np.unique(column) for column in columns]))
    if textual == {True}:
        texts = [str(value) for value in found]
        if names is None or not set(texts) <= set(names):
            names = tuple(_sorted(texts))
        _check_count(len(names), files[0])
        return Classes(names, names)
    if names is not None:
        return Classes(names, tuple(range(len(names))))
    if pa.types.is_boolean(_label_type(files[0])):
        return Classes(("False", "True"), (0, 1))
    return _counted(found, files)


def labels_of(file: Path, classes: Classes) -> np.ndarray:
    """The labels of a table, int64 (rows,), all below the number of classes.

    Raises:
        UserError: the file cannot be read, is empty, or has a row without such a label.
    """
    values = values_of(file)
    if (values.dtype == object) != classes.textual:
        kinds = ("text", "numbers") if values.dtype == object else ("numbers", "text")
        raise UserError(
            f"The labels of {str(file)!r} are {kinds[0]}, those of the training set {kinds[1]}."
        )
    if classes.textual:
        place = {value: label for label, value in enumerate(classes.values)}
        labels = np.array([place.get(value, -1) for value in values], np.int64)
        wrong = labels < 0
        valid = short(", ".join(classes.names), 200)
    else:
        first, last = int(classes.values[0]), int(classes.values[-1])
        wrong = (values < first) | (values > last)
        labels = np.where(wrong, first, values).astype(np.int64) - first
        valid = f"{first} to {last}"
    if wrong.any():
        row = int(wrong.argmax())
        value = shown(values[row]) if classes.textual else values[row]
        raise UserError(f"Row {row} of {str(file)!r} has the label {value}; valid: {valid}.")
    return labels


def are_hidden(files: list[Path]) -> bool:
    """Whether a split's labels are withheld: there is no such column, or all are null or -1."""
    if not any(map(has_labels, files)):
        return True
    for file in files:
        column = column_of(file, label_column(file))
        if column.null_count == len(column):
            continue
        number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
        values = column.drop_null() if column.null_count else column  # it imports pyarrow.compute
        if not number or not (_numbers(values) == HIDDEN).all():
            return False
    return True


def names_in(file: Path) -> tuple[str, ...] | None:
    """The names that a table's `huggingface` metadata gives its labels, if any.

    Raises:
        UserError: the metadata is damaged, or names a class twice.
    """
    raw = (schema_of(file).metadata or {}).get(b"huggingface", b"{}")
    column = label_column(file) if has_labels(file) else ""
    try:
        features = bounded.parse(FEATURES, bounded.loads(raw)).get("info", {}).get("features", {})
        label = bounded.parse(LABEL, features.get(column, {}), f"info.features.{column}")
    except UserError as error:
        raise UserError(f"The `huggingface` metadata of {str(file)!r}: {error}.") from error
    names = tuple(label.get("names") or ())
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{str(file)!r} names two classes {shown(twice)}.")
    return names or None


def same_names(files: list[Path]) -> tuple[str, ...] | None:
    """The class names that all these tables give, or None where none gives any.

    Raises:
        UserError: two tables name other classes, or the same ones in another order.
    """
    first = names_in(files[0])
    for file in files[1:]:
        names = names_in(file)
        if names != first:
            raise UserError(
                f"{str(files[0])!r} and {str(file)!r} name {_difference(first, names)}."
            )
    return first


def values_of(file: Path) -> np.ndarray:
    """A label column's values (rows,): integers, or texts as objects.

    Raises:
        UserError: it holds something else, or nothing in some row.
    """
    name = label_column(file)
    column = column_of(file, name)
    kind, what = column.type, f"Column {name!r} of {str(file)!r}"
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    whole = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    if not (text or whole or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        raise UserError(
            f"{what} must hold whole numbers, text, or true and false, not {short(str(kind), 200)}."
        )
    if column.null_count:
        absent = column.is_null().to_numpy()
        raise UserError(f"Row {int(absent.argmax())} of {str(file)!r} has no label.")
    if pa.types.is_boolean(kind):
        return column.to_numpy().astype(np.int64)
    if text:
        values = column.to_numpy()
        _check_texts(values, file)
        return values
    values = _numbers(column)
    if not pa.types.is_floating(kind):
        return values
    values = values.astype(np.float64)
    broken = ~(np.abs(values) < 2**53) | (values != np.floor(values))  # also where it is no number
    if broken.any():
        row = int(broken.argmax())
        raise UserError(
            f"Row {row} of {str(file)!r} has the label {values[row]}, which is no whole number."
        )
    return values.astype(np.int64)


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    """The numbers of a column without nulls; its own `to_numpy` imports pandas."""
    if not len(column):
        return column.to_numpy()
    return np.concatenate([np.from_dlpack(chunk) for chunk in column.chunks])


def _check_texts(values: np.ndarray, file: Path) -> None:
    for row, value in enumerate(values):
        if not 0 < len(value) <= LONGEST:
            raise UserError(
                f"Row {row} of {str(file)!r} has a label of {len(value):,} characters; valid: 1 to "
                f"{LONGEST:,}."
            )


def _counted(found: np.ndarray, files: list[Path]) -> Classes:
    """Classes that only have numbers: 0 to the highest, or 1 to the highest, said aloud."""
    first, last = int(found[0]), int(found[-1])
    _check_range(first, last, files)
    if first == 1 and len(found) == last:
        say(
            f"{str(files[0].parent)!r}: labels run from 1 to {last} and have no names; they are "
            f"counted from 0, and classes are called '1' to '{last}'"
        )
        return Classes(tuple(map(str, range(1, last + 1))), tuple(range(1, last + 1)))
    return Classes(tuple(map(str, range(last + 1))), tuple(range(last + 1)))


def _check_range(first: int, last: int, files: list[Path]) -> None:
    if first >= 0 and last < MOST_CLASSES:
        return
    for file in files:
        values = values_of(file)
        wrong = (values < 0) | (values >= MOST_CLASSES)
        if wrong.any():
            row = int(wrong.argmax())
            raise UserError(
                f"Row {row} of {str(file)!r} has the label {values[row]}; valid: 0 to "
                f"{MOST_CLASSES - 1}."
            )


def _check_count(count: int, file: Path) -> None:
    if count > MOST_CLASSES:
        raise UserError(f"{str(file)!r} holds {count:,} classes; {MOST_CLASSES:,} are the most.")


def _label_type(file: Path) -> pa.DataType:
    return schema_of(file).field(label_column(file)).type


def _sorted(texts: list[str]) -> list[str]:
    if all(text.isascii() and text.isdecimal() and len(text) < 100 for text in texts):
        return sorted(texts, key=lambda text: (int(text), text))
    return sorted(texts)


def _difference(first: tuple[str, ...] | None, second: tuple[str, ...] | None) -> str:
    """How two lists of class names differ, in few words."""
    if first is None or second is None:
        return "classes in one only"
    if set(first) == set(second):
        at = next(i for i, pair in enumerate(zip(first, second, strict=True)) if len({*pair}) > 1)
        return (
            f"the same classes in another order: label {at} is {shown(first[at])} in one, "
            f"{shown(second[at])} in the other"
        )
    alone = sorted(set(first) ^ set(second))
    told = ", ".join(shown(name) for name in alone[:3])
    return f"{len(first)} and {len(second)} classes; in one only: {told}"
