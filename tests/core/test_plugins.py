from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from benchmark.core import plugins
from benchmark.core.errors import UserError
from benchmark.labels.contract import LabelSource

HARD = "from benchmark.methods.hard import Hard\n"
ONE = HARD + "class One(Hard):\n    pass\n"


@pytest.fixture(autouse=True)
def no_plugins(monkeypatch):
    monkeypatch.setattr(plugins, "_plugins", {})


def plugin(folder: Path, name: str, code: str) -> str:
    (folder / f"{name}.py").write_text(code)
    return plugins.add_plugin(folder / f"{name}.py")


def test_what_is_found_by_its_files():
    assert {"hard", "smoothed", "soft", "teacher", "lpqld", "hello"} <= plugins.methods().keys()
    assert {"digits", "cifar10", "parquet"} <= plugins.datasets().keys()
    assert not {"place", "distilled", "__init__"} & plugins.datasets().keys()
    assert {"random", "rded", "path"} <= plugins.image_sources().keys()


@pytest.mark.parametrize("name", ["hard", "smoothed", "soft", "teacher", "lpqld", "hello"])
def test_our_methods(name):
    method = plugins.method(name)
    assert issubclass(method, LabelSource)
    assert method.__module__ == f"benchmark.methods.{name}"
    assert all(file.is_file() for file in plugins.sources_of(name))


def test_a_package_counts_with_all_its_files():
    names = {file.name for file in plugins.sources_of("hello")}
    assert {"__init__.py", "lora.py", "projector.py"} <= names


def test_summaries_are_first_lines():
    assert plugins.summary(plugins.methods()["hard"]).startswith("Hard labels: ")
    assert plugins.summary(plugins.methods()["hello"]).startswith("HeLlO: ")


@pytest.mark.parametrize(
    ("find", "name", "message"),
    [
        (plugins.method, "lpqd", r"Unknown method 'lpqd'. Did you mean 'lpqld' or 'ld'\?.*hello"),
        (plugins.dataset, "cifar11", r"Unknown dataset 'cifar11'. Did you mean 'cifar10'"),
        (plugins.dataset, "place", r"Unknown dataset 'place'"),
        (plugins.image_source, "rdde", r"Unknown image source 'rdde'. Did you mean 'rded'\?"),
    ],
)
def test_unknown_names(find, name, message):
    with pytest.raises(UserError, match=message):
        find(name)


def test_a_plugin(tmp_path):
    name = plugin(tmp_path, "outside", '"""From elsewhere.\n\nMore."""\n' + ONE)
    assert name == "outside"
    method = plugins.method("outside")
    assert method.__name__ == "One"
    assert plugins.method("outside") is method
    assert plugins.sources_of("outside") == [tmp_path / "outside.py"]
    assert plugins.summary(plugins.methods()["outside"]) == "From elsewhere."


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("none_at_all", HARD, r"none_at_all.py must define exactly one subclass .* defines 0\."),
        ("two_of_them", ONE + "class Two(One): pass", r"exactly one .* defines 2: One, Two"),
        ("unparsable", "class", "unparsable.py' cannot be imported: SyntaxError"),
        ("unmet", "import not_installed", "ModuleNotFoundError: No module named 'not_installed'"),
    ],
)
def test_plugins_that_are_refused(tmp_path, name, code, message):
    plugin(tmp_path, name, code)
    with pytest.raises(UserError, match=message):
        plugins.method(name)


def test_a_plugin_mended_after_a_failed_import(tmp_path):
    plugin(tmp_path, "mended", "class")
    with pytest.raises(UserError, match="SyntaxError"):
        plugins.method("mended")
    plugin(tmp_path, "mended", ONE)
    assert plugins.method("mended").__name__ == "One"


def test_what_is_no_plugin(tmp_path):
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path / "notes.txt", tmp_path / "absent.py", tmp_path):
        with pytest.raises(UserError, match=f"takes a Python file; '{path}' is none"):
            plugins.add_plugin(path)
    with pytest.raises(UserError, match="name of a built-in method, 'hard': rename"):
        plugin(tmp_path, "hard", ONE)


def test_installed_methods(monkeypatch):
    def installed(value):
        point = EntryPoint("fancy", value, plugins.ENTRY_POINTS)
        monkeypatch.setattr(plugins, "_installed", lambda: {"fancy": point})

    installed("benchmark.methods.hard:Hard")
    assert plugins.method("fancy") is plugins.method("hard")
    assert [file.name for file in plugins.sources_of("fancy")] == ["hard.py"]
    assert "benchmark.methods.hard:Hard" in plugins.summary(plugins.methods()["fancy"])
    installed("benchmark.data.views:ViewPlan")
    with pytest.raises(UserError, match=r"'benchmark\.data\.views:ViewPlan' is not a LabelSource"):
        plugins.method("fancy")


@pytest.fixture
def installed(monkeypatch):
    """Entry points as installed plugins bring them."""
    plugins._installed.cache_clear()

    def install(*points):
        made = [EntryPoint(name, value, plugins.ENTRY_POINTS) for name, value in points]
        monkeypatch.setattr(plugins, "entry_points", lambda group: made)

    yield install
    plugins._installed.cache_clear()


def test_an_installed_plugin_cannot_take_a_built_in_name(installed):
    installed(("smoothed", "elsewhere:Smoothed"))
    with pytest.raises(UserError, match="'elsewhere:Smoothed' calls itself 'smoothed', which is a"):
        plugins.methods()


def test_two_plugins_of_one_name_are_refused(installed, tmp_path):
    installed(("one", "a:One"), ("one", "b:One"))
    with pytest.raises(UserError, match="Two installed plugins are called 'one': 'a:One' and 'b"):
        plugins.methods()
    plugins._installed.cache_clear()
    installed(("one", "a:One"))
    with pytest.raises(UserError, match="has the name of an installed method, 'one'"):
        plugin(tmp_path, "one", ONE)
    (tmp_path / "other").mkdir()
    plugin(tmp_path, "two", ONE)
    with pytest.raises(UserError, match="Two plugins are called 'two'"):
        plugin(tmp_path / "other", "two", ONE)
