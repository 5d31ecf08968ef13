from dataclasses import fields
from typing import Any

import pytest
from tiny import DESCRIBED

from benchmark.core.errors import UserError
from benchmark.data.recipe import Augmentation, Objective
from benchmark.data.views import ViewPlan
from benchmark.labels import manifest

WHOLE: Any = {"format": manifest.FORMAT, **DESCRIBED, "tensors": {}, "shards": []}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        (manifest.Plan, ViewPlan),
        (manifest.Augmentation, Augmentation),
        (manifest.Objective, Objective),
    ],
)
def test_the_schema_has_the_fields_of_what_is_built_from_it(schema, kind):
    assert [*schema.__annotations__] == [field.name for field in fields(kind)]


def test_what_is_written_is_read_and_what_is_empty_takes_no_bytes():
    raw = manifest.dump(WHOLE)
    told = manifest.parse(raw)
    assert told == {**WHOLE, "requires": {}, "extra": {}, "plan": told["plan"]}
    for absent in (b"options", b"requires", b"extra", b"tensors", b"shards"):
        assert absent not in raw


def test_any_changed_byte_is_seen():
    raw = manifest.dump(WHOLE)
    for place in range(len(raw)):
        changed = bytearray(raw)
        changed[place] ^= 1 << place % 7
        with pytest.raises(UserError):
            manifest.parse(bytes(changed))
    for longer in (raw + b"\n", b" " + raw, raw.replace(b":0,", b": 0,")):
        with pytest.raises(UserError, match="its seal is not that of its bytes"):
            manifest.parse(longer)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"std": [0.0]}, r"cannot be written: std\.0 must be at least"),
        ({"extra": {"a": float("inf")}}, "cannot be written: no JSON: Infinity"),
        ({"extra": {"a": "x" * 2**20}}, "cannot be written: it is longer than"),
        ({"options": {"a": float("nan")}}, "cannot be written: no JSON: NaN"),
    ],
)
def test_what_no_reader_would_take_is_not_written(change, words):
    with pytest.raises(UserError, match=words):
        manifest.dump(dict(WHOLE) | change)
