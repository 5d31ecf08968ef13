import time
from pathlib import Path

import pytest

from benchmark.core import plugins
from benchmark.core.command import split_outside_brackets
from benchmark.core.errors import UserError
from benchmark.experiment.grid import (
    CONFIGS,
    Cell,
    Grid,
    Variant,
    budget_bytes,
    cells,
    images_label,
    make_grid,
    parse_images,
    parse_variant,
    read_config,
    variants,
)
from benchmark.models import networks

CONTROLS = ("hard", "soft", "teacher", "teacher[weights=int8]")


def test_options_in_brackets():
    assert parse_variant("lpqld[k=4, keep=0.05]", {}) == Variant(
        "lpqld", (("k", "4"), ("keep", "0.05"))
    )
    assert parse_variant(" hard ", {}) == parse_variant("hard[]", {}) == Variant("hard")
    assert parse_variant("m[clip=RN50:openai]", {}).options == (("clip", "RN50:openai"),)


def test_options_in_brackets_win_over_common_ones():
    found = parse_variant("lpqld[k=4]", {"k": 2, "keep": 0.5})
    assert found.options == (("k", "4"), ("keep", "0.5"))
    assert found.label == "lpqld[k=4,keep=0.5]"
    assert Variant("lpqld", (), "40x").label == "lpqld[budget=40x]"


@pytest.mark.parametrize("text", ["", "a b", "lpqld[k=4", "lpqld]k=4[", "a[b=1]c"])
def test_what_is_no_method(text):
    with pytest.raises(UserError, match="is no method: write NAME"):
        parse_variant(text, {})


def test_what_is_no_option():
    with pytest.raises(UserError, match=r"'lpqld\[k\]': 'k' is no option"):
        parse_variant("lpqld[k]", {})


def test_lists_split_at_commas_outside_brackets():
    assert split_outside_brackets("hello, lpqld[k=2,keep=0.1],hard,") == [
        "hello",
        "lpqld[k=2,keep=0.1]",
        "hard",
    ]
    assert split_outside_brackets("path:/a[1]/b,rded") == ["path:/a[1]/b", "rded"]
    assert split_outside_brackets("") == []


@pytest.mark.parametrize(
    ("text", "name", "argument", "options", "label"),
    [
        (" rded ", "rded", "", {}, "rded"),
        ("rded[]", "rded", "", {}, "rded"),
        (
            "rded[factor=2, crops=3]",
            "rded",
            "",
            {"factor": "2", "crops": "3"},
            "rded[crops=3,factor=2]",
        ),
        ("path:/my images/a=b:c", "path", "/my images/a=b:c", {}, "path:/my images/a=b:c"),
        ("path:/a[1]/b", "path", "/a[1]/b", {}, "path:/a[1]/b"),
        ("path[path=/a]", "path", "", {"path": "/a"}, "path:/a"),
        ("path:/a[x=1]", "path", "/a", {"x": "1"}, "path:/a[x=1]"),
    ],
)
def test_image_sources(text, name, argument, options, label):
    assert parse_images(text) == (name, argument, options)
    assert images_label(text) == images_label(label) == label


@pytest.mark.parametrize(
    "text", ["", "a b", "rded[factor=2", "rded]factor=2[", "a[b=1]c", "a[b[c]]"]
)
def test_what_is_no_image_source(text):
    with pytest.raises(UserError, match="is no image source: write NAME"):
        parse_images(text)


def test_what_stands_after_a_colon_is_not_given_twice():
    with pytest.raises(UserError, match="gives path twice"):
        images_label("path:/a[path=/b]")


def test_what_is_no_option_of_an_image_source():
    with pytest.raises(UserError, match=r"'rded\[factor\]': 'factor' is no option"):
        parse_images("rded[factor]")


def labels(grid):
    return [(c.images, c.ipc, c.variant.label, c.student, c.seed) for c in cells(grid)]


def test_cells_without_controls():
    grid = Grid("d", ("random",), (1, 2), ("a", "b"), ("s", "t"), seeds=2, controls=False)
    assert labels(grid) == [
        ("random", ipc, method, student, seed)
        for ipc in (1, 2)
        for method in "ab"
        for student in "st"
        for seed in (0, 1)
    ]


def test_controls_join_methods_and_random_images_join_images():
    grid = Grid("d", methods=("a",), seeds=1)
    assert [row[:3:2] for row in labels(grid)] == [
        *(("rded", method) for method in ("a", *CONTROLS)),
        ("random", "hard"),
        ("random", "soft"),
    ]


def test_image_sources_are_called_by_their_label_once():
    sources = ("random[]", "rded[factor=2,crops=3]", "rded[crops=3, factor=2]")
    grid = Grid("d", sources, methods=("a",), seeds=1)
    found = dict.fromkeys(cell.images for cell in cells(grid))
    assert list(found) == ["random", "rded[crops=3,factor=2]"]
    assert [row[2] for row in labels(grid) if row[0] == "random"] == ["a", *CONTROLS]


def test_controls_asked_for_come_once():
    grid = Grid("d", ("random",), methods=("soft", "hard[]"), seeds=1)
    methods = [row[2] for row in labels(grid)]
    assert sorted(methods) == sorted(CONTROLS)


def test_budgets_make_variants_of_all_but_controls():
    grid = Grid("d", methods=("a[k=1]", "hard"), budgets=("40x", "9000"))
    assert [v.label for v in variants(grid)] == ["a[k=1,budget=40x]", "a[k=1,budget=9000]", "hard"]


def test_options_set_for_the_teacher_are_about_its_training():
    grid = Grid("d", methods=("a", "teacher"), set={"teacher.epochs": 3, "a.k": 2, "ab.k": 4})
    assert [v.label for v in variants(grid)] == ["a[k=2]", "teacher"]
    assert grid.of("teacher") == {"epochs": 3}


def test_the_label_of_a_cell_names_all_of_it():
    cell = Cell("rded", 10, Variant("hello"), "resnet18", 2)
    assert cell.label == "hello on rded IPC 10, resnet18, seed 2"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[("40x", 250), ("2.5x", 4000), ("1x", 10_000), ("9_000", 9000), (" 7 ", 7), ("7 B", 7)],
        *[("10kB", 10_000), ("1.5 MB", 1_500_000), ("2KB", 2000), ("2GB", 2 * 10**9)],
        *[("2KiB", 2048), ("0.5kiB", 512), ("1MiB", 2**20), ("3GiB", 3 * 2**30)],
    ],
)
def test_budgets(text, size):
    assert budget_bytes(text, 10_000) == size


@pytest.mark.parametrize(
    "text",
    [
        *["", "x", "0x", "-4", "40X", "1e3", "40x2", "many", "nan"],
        *["kB", "10 k", "10kb", "10kbit", "2xB", "1TB", "10  kB"],
    ],
)
def test_budgets_that_are_none(text):
    with pytest.raises(UserError, match="neither a number of bytes nor a ratio like 40x"):
        budget_bytes(text, 10_000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "names no dataset"),
        ({"dataset": "d", "ipc": [0]}, "grid.ipc.0 must be at least 1, got 0"),
        ({"dataset": "d", "ipc": ["-3"]}, "grid.ipc.0 must be at least 1, got -3"),
        ({"dataset": "d", "ipc": ["ten"]}, "grid.ipc.0 must be a whole number, got 'ten'"),
        ({"dataset": "d", "ipc": True}, "grid.ipc must be a list, got True"),
        ({"dataset": "d", "ipc": [True]}, "grid.ipc.0 must be a whole number, got True"),
        ({"dataset": "d", "ipc": [10**12]}, "grid.ipc.0 must be at most 1,000,000, got 10000"),
        ({"dataset": "d", "ipc": [1] * 1001}, "grid.ipc must have at most 1,000 entries"),
        ({"dataset": "d", "ipc": 10**5000}, "grid.ipc must be a list, got a huge number"),
        ({"dataset": "d", "images": "rded"}, "grid.images must be a list, got 'rded'"),
        ({"dataset": "d", "methods": [["hard"]]}, r"grid.methods.0 must be text, got \['hard'\]"),
        ({"dataset": "d", "set": "x"}, "grid.set must be an object, got 'x'"),
        ({"dataset": "d", "set": {"a.b": [[1]]}}, "grid.set.a.b must be a short text, a number"),
        ({"dataset": "d", "set": {"a.b": float("nan")}}, "grid.set.a.b must be a short text, a nu"),
        ({"dataset": "d", "set": {"a.b": 10**5000}}, "grid.set.a.b must be a short text, a numbe"),
        ({"dataset": "d", "budgets": ["4x", "x"]}, "The budget 'x' is neither a number of bytes"),
        ({"dataset": "d", "budgets": ["9" * 400]}, "The budget '999.*' is neither a number of b"),
        ({"dataset": "d", "dataset2": 1}, "grid.dataset2 is no field of it"),
        ({"dataset": 3}, "grid.dataset must be text, got 3"),
        ({"dataset": "d", "ipc": []}, "names no ipc"),
        ({"dataset": "d", "methods": []}, "names no methods"),
        ({"dataset": "d", "seeds": 0}, "grid.seeds must be at least 1, got 0"),
        ({"dataset": "d", "seeds": 1.0}, "grid.seeds must be a whole number, got 1.0"),
        ({"dataset": "d", "seeds": 10**8}, "grid.seeds must be at most 1,000,000, got 100000000"),
        ({"dataset": "d", "seeds": 10**6}, "The grid has 2,000,000 cells beside controls; at mos"),
        ({"dataset": "d", "recipe": "quick1"}, r"Unknown recipe 'quick1'. Did you mean 'quick'\?"),
        ({"dataset": "d", "controls": 3}, "grid.controls must be true or false, got 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_grids_that_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        make_grid(values)


def test_a_config(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(
        'dataset = "d"\nipc = [1, 10]\n[set]\nlpqld.k = 4\nrecipe.objective.loss = "kl"'
    )
    grid = make_grid(read_config(file))
    assert grid == Grid("d", ipc=(1, 10), set={"lpqld.k": 4, "recipe.objective.loss": "kl"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("datset = 'd'", r"Unknown key of mine.toml 'datset'. Did you mean 'dataset'"),
        ("dataset = ", "mine.toml' is no TOML file"),
        ("\x00", "mine.toml' is no TOML file"),
        ("dataset = '\udcff'", "mine.toml' is no TOML file: 'utf-8' codec"),
        ("seeds = " + "9" * 5000, "mine.toml' is no TOML file: Exceeds the limit"),
        ("a = " + "[" * 5000, "mine.toml' is no TOML file: nested too deeply"),
        ("ipc = [" + "1," * 200_000 + "]", "mine.toml' is larger than 262,144 bytes"),
        ("set." + "a." * 50 + "b = 1", "Names of options have at most 8 dots"),
        ("set." + "a." * 50_000 + "b = 1", "mine.toml' has a line with more than 200 dots"),
    ],
    ids=lambda text: text[:20],
)
def test_configs_that_are_refused_at_once(tmp_path, text, message):
    file = tmp_path / "mine.toml"
    file.write_text(text, errors="surrogateescape")
    started = time.process_time()
    with pytest.raises(UserError, match=message) as caught:
        read_config(file)
    assert time.process_time() - started < 1
    assert "\n" not in str(caught.value)


def test_a_config_that_cannot_be_read(tmp_path, monkeypatch):
    file = tmp_path / "mine.toml"
    file.write_text("")
    monkeypatch.setattr(Path, "open", lambda *_: (_ for _ in ()).throw(PermissionError(13, "No!")))
    with pytest.raises(UserError, match=r"mine\.toml' cannot be read: No!"):
        read_config(file)


def test_an_unknown_config(tmp_path):
    with pytest.raises(UserError, match=r"Unknown config .*'quik'. Did you mean 'quick'\?"):
        read_config(tmp_path.__class__("quik"))


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_shipped_configs_name_what_there_is(file):
    assert read_config(file) == read_config(file.__class__(file.stem))
    grid = make_grid(read_config(file))
    known = {"recipe", "teacher", *plugins.found(plugins.METHODS), *plugins.found(plugins.IMAGES)}
    assert {key.partition(".")[0] for key in grid.set} <= known
    assert {cell.variant.method for cell in cells(grid)} <= plugins.found(plugins.METHODS).keys()
    sources = {parse_images(cell.images)[0] for cell in cells(grid)}
    assert sources <= plugins.found(plugins.IMAGES).keys()
    assert grid.dataset.partition(":")[0] in plugins.found(plugins.DATASETS)
    for network in (*grid.students, grid.teacher.partition(":")[0]):
        networks.require(network)
