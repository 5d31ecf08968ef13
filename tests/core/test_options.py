import json
from dataclasses import asdict, dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import recipe_of

from benchmark.core.errors import UserError
from benchmark.core.options import build, change, convert
from benchmark.data.recipe import Augmentation, Recipe
from benchmark.data.views import ViewPlan
from benchmark.methods.expert import Expert
from benchmark.methods.ld import LD
from benchmark.methods.soft import Soft
from benchmark.models.teachers import TeacherOptions


@dataclass(frozen=True)
class Inner:
    low: float = 0.5


@dataclass(frozen=True)
class Outer:
    count: int = 1
    share: float = 0.5
    on: bool = True
    kind: Literal["a", "b"] = "a"
    limit: int | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    names: tuple[str, ...] = ()
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self):
        if self.count < 0:
            raise ValueError(f"count must not be negative, got {self.count}")


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("7", int, 7),
        ("1e-3", float, 0.001),
        (3, float, 3.0),
        ("true", bool, True),
        ("False", bool, False),
        (True, bool, True),
        ("b", Literal["a", "b"], "b"),
        ("4", Literal[2, 4], 4),
        ("none", int | None, None),
        (None, int | None, None),
        ("5", int | None, 5),
        ("0.1, 0.9", tuple[float, float], (0.1, 0.9)),
        ([1, 2, 3], tuple[int, ...], (1, 2, 3)),
        ("x", tuple[str, ...], ("x",)),
        (12, str, "12"),
        ({"low": "0.1"}, Inner, Inner(0.1)),
    ],
)
def test_conversions(text, hint, value):
    converted = convert(text, hint, "x")
    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize(
    ("text", "hint", "message"),
    [
        ("seven", int, "x must be a whole number, got 'seven'"),
        ("1.5", int, "x must be a whole number, got '1.5'"),
        (1.0, int, "x must be a whole number, got 1.0"),
        ("much", float, "x must be a number, got 'much'"),
        (True, float, "x must be a number, got True"),
        ("yes", bool, "x must be true or false, got 'yes'"),
        ("c", Literal["alpha", "beta"], r"Unknown value of x 'c'.*Valid: alpha, beta"),
        ("1,2,3", tuple[float, float], "x takes 2 values, got '1,2,3'"),
        ("1,b", tuple[int, ...], "x must be a whole number, got 'b'"),
        ("9" * 30, int, "x must be a whole number of 64 bits, got '9{30}'"),
        (-(2**63) - 1, int, "x must be a whole number of 64 bits, got -922"),
        ("9" * 10_000, int, "x must be a whole number, got '9{50,60}"),
        (10**5000, int, "x must be a whole number of 64 bits, got a huge number"),
        (10**5000, float, "x must be a number, got a huge number"),
        ("nan", float, "x must be finite, got 'nan'"),
        ("-inf", float, "x must be finite, got '-inf'"),
        (float("inf"), float, "x must be finite, got inf"),
        (True, tuple[int, ...], "x must be a list, got True"),
        ({"a": 1}, tuple[int, ...], "x must be a list, got an object"),
        ("x", Inner, "x must be a table of options, got 'x'"),
        ([1], str, r"x must be text, got \[1\]"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 99 else "",
)
def test_refusals_name_value_and_choices(text, hint, message):
    with pytest.raises(UserError, match=message):
        convert(text, hint, "x")


# A run lets the processor flush subnormal numbers, and may come before this.
@given(
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False),
    st.booleans(),
)
def test_text_of_a_value_gives_the_value(whole, number, flag):
    assert convert(str(whole), int, "x") == whole
    assert convert(repr(number), float, "x") == number
    assert convert(str(flag), bool, "x") is flag


unit = st.floats(0.01, 1)


@given(
    st.integers(0, 2**64 - 1),
    st.tuples(unit, unit).map(lambda pair: tuple(sorted(pair))),
    unit,
    st.sampled_from(["none", "cutmix", "mixup"]),
)
def test_a_plan_survives_json(seed, scale, flip, mix):
    plan = ViewPlan(seed, 10, 8, 5, 3, Augmentation(scale, (0.7, 1.3), flip, mix))
    assert build(ViewPlan, json.loads(json.dumps(asdict(plan))), "plan") == plan


def test_build_takes_text_and_keeps_defaults():
    assert build(Outer, {"count": "3", "inner": {"low": 0.1}}, "outer") == Outer(
        count=3, inner=Inner(0.1)
    )


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UserError, match=r"Unknown option of outer 'cuont'. Did you mean 'count'"):
        build(Outer, {"cuont": 3}, "outer")
    with pytest.raises(UserError, match=r"Unknown option of outer\.inner 'lo'. Did you mean 'low'"):
        change(Outer(), {"inner.lo": 3}, "outer")
    with pytest.raises(UserError, match=r"Unknown option of outer 'zzz'. Valid: count, "):
        change(Outer(), {"zzz": 3}, "outer")


def test_what_the_class_refuses_is_the_users_to_mend():
    for attempt in (build, lambda cls, values, where: change(cls(), values, where)):
        with pytest.raises(UserError, match="outer: count must not be negative, got -1"):
            attempt(Outer, {"count": "-1"}, "outer")


def test_a_missing_field():
    with pytest.raises(UserError, match=r"recipe: .*epochs"):
        build(Recipe, {"name": "x", "batch_size": 3}, "recipe")


def test_changes_reach_into_nested_classes():
    changed = change(
        recipe_of("quick"),
        {"objective.temperature": "4", "augmentation.crop_scale": "0.2,0.8", "epochs": 3},
        "recipe",
    )
    assert changed.objective.temperature == 4.0
    assert changed.augmentation.crop_scale == (0.2, 0.8)
    assert (changed.epochs, changed.batch_size) == (3, recipe_of("quick").batch_size)
    quick = recipe_of("quick")
    assert change(quick, {}, "recipe") is quick


def test_changes_below_a_plain_value():
    with pytest.raises(UserError, match=r"outer\.count has no options of its own, got outer\.coun"):
        change(Outer(), {"count.low": 3}, "outer")


@pytest.mark.parametrize(
    ("cls", "where", "former", "now"),
    [
        (LD.Options, "ld", "label_rate", "label_lr"),
        (LD.Options, "ld", "inner_rate", "inner_lr"),
        (Expert.Options, "expert", "rate", "lr"),
        (TeacherOptions, "teacher", "rate", "lr"),
    ],
)
def test_a_former_name_is_answered_with_the_new_one(cls, where, former, now):
    with pytest.raises(UserError, match=rf"^{where}.{former} is called {where}.{now} now\.$"):
        build(cls, {former: 1}, where)


@pytest.mark.parametrize(
    ("former", "now"), [("rate", "lr"), ("course", "schedule"), ("tester", "evaluator")]
)
def test_a_recipes_former_names(former, now):
    with pytest.raises(UserError, match=f"recipe.{former} is called recipe.{now} now"):
        change(recipe_of("quick"), {former: "1"}, "recipe")


def test_a_former_name_that_was_never_an_options_is_unknown():
    with pytest.raises(UserError, match="Unknown option of soft 'rate'"):
        build(Soft.Options, {"rate": 1}, "soft")
