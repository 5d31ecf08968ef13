import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from benchmark.core import plugins
from benchmark.core.code_digest import code_of
from benchmark.core.errors import UserError
from benchmark.core.plugins import DATASETS, IMAGES, KINDS, METHODS, NETWORKS, RECIPES
from benchmark.labels.contract import LabelSource

IMPORTED = "from benchmark.methods.hard import Hard\n"
ONE = IMPORTED + "class One(Hard):\n    pass\n"
OF_EACH_KIND = {
    METHODS: ONE,
    DATASETS: """
from benchmark import DatasetSource
class Own(DatasetSource):
    def load(self, place, argument=""): ...
""",
    IMAGES: """
from benchmark import ImageSource
from benchmark import NoOptions
class Own(ImageSource[NoOptions]):
    def make(self, task): ...
""",
    NETWORKS: """
from benchmark import NetworkFamily
class Own(NetworkFamily):
    names = {"own-net": "a network"}
    def create(self, name, classes, channels, resolution): ...
""",
    RECIPES: """
from benchmark import Recipe, RecipeSource
class Own(RecipeSource):
    def recipe(self, setting):
        return Recipe(self.name, epochs=1, batch_size=2)
""",
}


@pytest.fixture(autouse=True)
def none_added(monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    monkeypatch.setattr(sys, "path", [*sys.path])


def plugin(folder: Path, name: str, code: str) -> plugins.Plugin:
    (folder / f"{name}.py").write_text(code)
    return plugins.add(folder / f"{name}.py")


def test_what_is_found_by_its_files():
    assert {"hard", "smoothed", "soft", "teacher", "lpqld", "hello"} <= plugins.found(
        METHODS
    ).keys()
    assert {"digits", "cifar10", "parquet"} <= plugins.found(DATASETS).keys()
    assert not {"distilled", "__init__"} & plugins.found(DATASETS).keys()
    assert {"random", "rded", "path"} <= plugins.found(IMAGES).keys()
    assert {"convnet", "resnet"} <= plugins.found(NETWORKS).keys()
    assert {"quick", "ld-ridge"} <= plugins.found(RECIPES).keys()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_ours_load_and_say_what_they_are(kind):
    for name, found in plugins.found(kind).items():
        assert found.builtin
        cls = plugins.load(kind, name)
        assert cls.name == name
        assert cls.__module__ == plugins.module_of(kind, name)
        assert found.description.summary.endswith(".")
        assert plugins.identity(kind, name) is None
        assert all(file.is_file() for file in plugins.sources_of(kind, name))


def test_a_package_counts_with_all_its_files():
    names = {file.name for file in plugins.sources_of(METHODS, "hello")}
    assert {"__init__.py", "lora.py", "projector.py"} <= names


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (METHODS, "lpqd", r"Unknown method 'lpqd'. Did you mean 'lpqld' or 'ld'.*hello"),
        (DATASETS, "cifar11", r"Unknown dataset 'cifar11'. Did you mean 'cifar10'"),
        (IMAGES, "rdde", r"Unknown image source 'rdde'. Did you mean 'rded'\?"),
        (RECIPES, "quick1", r"Unknown recipe 'quick1'. Did you mean 'quick'\?"),
    ],
)
def test_unknown_names(kind, name, message):
    with pytest.raises(UserError, match=message):
        plugins.load(kind, name)


def test_a_plugin(tmp_path):
    added = plugin(tmp_path, "outside", '"""From elsewhere.\n\nMore."""\n' + ONE)
    assert (added.kind, added.name, added.builtin) == (METHODS, "outside", False)
    method = plugins.load(METHODS, "outside")
    assert issubclass(method, LabelSource)
    assert method.__name__ == "One"
    assert plugins.load(METHODS, "outside") is method
    assert plugins.sources_of(METHODS, "outside") == [tmp_path / "outside.py"]
    assert added.description.summary == "From elsewhere."
    identity = plugins.identity(METHODS, "outside")
    assert identity is not None
    assert (identity.kind, identity.name, identity.version) == ("method", "outside", "")
    assert len(identity.digest) == 64


@pytest.mark.parametrize("kind", OF_EACH_KIND, ids=lambda kind: kind.name)
def test_a_plugin_of_each_kind(kind, tmp_path):
    assert plugin(tmp_path, "own", OF_EACH_KIND[kind]).kind == kind
    assert "own" in plugins.found(kind)
    assert plugins.load(kind, "own").name == "own"


def test_a_package_with_siblings_of_its_own(tmp_path):
    folder = tmp_path / "packed"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        '"""Packed."""\n__version__ = "1.2"\nfrom .one import One\n'
    )
    (folder / "one.py").write_text(
        IMPORTED + "from .half import HALF\nclass One(Hard):\n    half = HALF\n"
    )
    (folder / "half.py").write_text("HALF = 0.5\n")
    assert plugins.add(folder).name == "packed"
    first = plugins.load(METHODS, "packed")
    before = plugins.identity(METHODS, "packed")
    assert before is not None
    assert (first.half, before.version) == (0.5, "1.2")
    (folder / "half.py").write_text("HALF = 0.75\n")
    after = plugins.identity(METHODS, "packed")
    assert after is not None
    assert plugins.load(METHODS, "packed").half == 0.75
    assert after.digest != before.digest


def test_a_file_that_imports_its_sibling(tmp_path):
    (tmp_path / "beside_it.py").write_text("SHARE = 0.5\n")
    plugin(tmp_path, "leaning", ONE.replace("pass", "from beside_it import SHARE"))
    assert plugins.load(METHODS, "leaning").SHARE == 0.5
    module = plugins.module_of(METHODS, "leaning")
    before = code_of(module).digest
    assert "beside_it" in code_of(module).modules
    (tmp_path / "beside_it.py").write_text("SHARE = 0.25\n")
    assert code_of(module).digest != before


def test_a_sibling_whose_name_is_taken_is_refused(tmp_path):
    leaning = ONE.replace("pass", "from shares_of_it import SHARE")
    for folder, share in (("a", 0.5), ("b", 0.25)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shares_of_it.py").write_text(f"SHARE = {share}\n")
    plugin(tmp_path / "a", "first", leaning)
    first = tmp_path / "a" / "shares_of_it.py"
    with pytest.raises(UserError, match=f"imports 'shares_of_it', which is '{first}' and not the"):
        plugin(tmp_path / "b", "second", leaning)
    assert "second" not in plugins.found(METHODS)
    (tmp_path / "b" / "tabulate.py").write_text("tabulate = 1\n")
    with pytest.raises(UserError, match=r"imports 'tabulate', which is .*tabulate.py': rename"):
        plugin(tmp_path / "b", "third", ONE.replace("pass", "from tabulate import tabulate"))
    plugin(tmp_path / "b", "second", ONE)


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("none_at_all", IMPORTED, r"none_at_all.py must define exactly one class .* defines 0\."),
        ("two_of_them", ONE + "class Two(One): pass", r"exactly one .* defines 2: One, Two"),
        ("unparsable", "class", "unparsable.py' cannot be imported: SyntaxError"),
        ("unmet", "import not_installed", "ModuleNotFoundError: No module named 'not_installed'"),
    ],
)
def test_plugins_that_are_refused(tmp_path, name, code, message):
    with pytest.raises(UserError, match=message):
        plugin(tmp_path, name, code)
    assert name not in plugins.found(METHODS)


def test_a_plugin_mended_after_a_failed_import(tmp_path):
    with pytest.raises(UserError, match="SyntaxError"):
        plugin(tmp_path, "mended", "class")
    plugin(tmp_path, "mended", ONE)
    assert plugins.load(METHODS, "mended").__name__ == "One"


def test_what_is_no_plugin(tmp_path):
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path / "notes.txt", tmp_path / "absent.py", tmp_path):
        with pytest.raises(UserError, match=f"folder with __init__.py; '{path}' is none"):
            plugins.add(path)
    with pytest.raises(UserError, match="name of a built-in method, 'hard': rename"):
        plugin(tmp_path, "hard", ONE)


@pytest.fixture
def installed(monkeypatch):
    """Entry points as installed plugins bring them."""
    plugins._installed.cache_clear()

    def install(*points):
        made = [EntryPoint(name, value, METHODS.group) for name, value in points]
        monkeypatch.setattr(
            plugins, "entry_points", lambda group: made if group == METHODS.group else ()
        )

    yield install
    plugins._installed.cache_clear()


def test_an_installed_plugin(installed):
    installed(("fancy", "benchmark.methods.hard:Hard"))
    try:
        loaded = plugins.load(METHODS, "fancy")
        assert loaded.__module__ == "benchmark.methods.hard"
        assert [file.name for file in plugins.sources_of(METHODS, "fancy")] == ["hard.py"]
        assert plugins.found(METHODS)["fancy"].description.summary.startswith("Hard labels")
    finally:
        plugins.load(METHODS, "hard")  # which has its name back


def test_an_entry_point_of_something_else(installed):
    installed(("fancy", "benchmark.data.views:ViewPlan"))
    with pytest.raises(UserError, match=r"'benchmark\.data\.views:ViewPlan' is no class derived"):
        plugins.load(METHODS, "fancy")
    plugins._installed.cache_clear()
    installed(("fancy", "not_there:One"))
    with pytest.raises(UserError, match="'not_there:One' cannot be imported: ModuleNotFoundError"):
        plugins.load(METHODS, "fancy")


def test_an_installed_plugin_cannot_take_a_built_in_name(installed):
    installed(("smoothed", "elsewhere:Smoothed"))
    with pytest.raises(UserError, match="'elsewhere:Smoothed' calls itself 'smoothed', which is a"):
        plugins.found(METHODS)


def test_two_plugins_of_one_name_are_refused(installed, tmp_path):
    installed(("one", "a:One"), ("one", "b:One"))
    with pytest.raises(UserError, match="Two installed plugins are called 'one': 'a:One' and 'b"):
        plugins.found(METHODS)
    plugins._installed.cache_clear()
    installed(("one", "a:One"))
    with pytest.raises(UserError, match="has the name of an installed method, 'one'"):
        plugin(tmp_path, "one", ONE)
    (tmp_path / "other").mkdir()
    plugin(tmp_path, "two", ONE)
    with pytest.raises(UserError, match="has the name of another method, 'two'"):
        plugin(tmp_path / "other", "two", ONE)


def test_literals_are_read_without_importing():
    assert plugins.found(METHODS)["hard"].literal("control", None) == "floor"
    assert plugins.found(METHODS)["smoothed"].literal("control", None) is None
    assert plugins.found(IMAGES)["random"].literal("baseline", False) is True
    options = {o.name: o for o in plugins.found(METHODS)["ld"].description.options}
    assert options["form"].about.startswith("`fp16`, all classes;")  # of a class twice removed
    assert options["form"].kind == "Literal['fp16', 'int8', 'top-k']"  # where it was named
    assert options["learners"].default == "(AUTO,)"
    assert "arXiv 2604.18135" in plugins.found(METHODS)["lpqld"].description.paper
    assert plugins.found(METHODS)["ld_rr"].description.title == "LD-RR"
