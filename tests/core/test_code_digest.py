import os
import sys
from importlib.metadata import packages_distributions

import pytest

from benchmark.core import code_digest
from benchmark.core.code_digest import closure, code_of, digest_of_files, locate

CODE = '''"""Module."""
import os

LIMIT = 3


def scale(value: int, by: float = 2.0) -> float:
    """Scaled."""
    if value > LIMIT:
        return value * by
    return 0


class Thing:
    """A thing."""

    name = None
'''


def version(folder, text, name="code.py"):
    file = folder / name
    folder.mkdir(exist_ok=True)
    file.write_text(text)
    return digest_of_files([file])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Module."""', ""),
        ('"""Scaled."""', '"""Scaled by a factor."""'),
        ('    """A thing."""\n\n', ""),
        ("LIMIT = 3\n", "LIMIT = 3  # at most\n"),
        ("LIMIT = 3\n", "\n\n# At most.\nLIMIT = (\n    3\n)\n"),
        ("value * by", "(value*by)"),
        ("value: int, by: float = 2.0", "value: int,\n    by: float = 2.0,\n"),
    ],
)
def test_words_and_layout_do_not_count(tmp_path, old, new):
    assert old in CODE
    assert version(tmp_path / "a", CODE) == version(tmp_path / "b", CODE.replace(old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("2.0", "2.5"),
        ("value > LIMIT", "value >= LIMIT"),
        ("return 0", "return -0"),
        ("import os", "import sys"),
        ("def scale", "def scaled"),
        ("name = None", "name = 'None'"),
        ("name = None", "name = True"),
        ("LIMIT = 3", "LIMIT = 3\nLIMIT = 3"),
        ("        return value * by\n    return 0", "        return 0\n    return value * by"),
    ],
)
def test_code_counts(tmp_path, old, new):
    assert old in CODE
    assert version(tmp_path / "a", CODE) != version(tmp_path / "b", CODE.replace(old, new))


def test_a_changed_file_is_read_again(tmp_path):
    first = version(tmp_path, "x = 1")
    (tmp_path / "code.py").write_text("x = 2")
    os.utime(tmp_path / "code.py", (1, 1))
    assert digest_of_files([tmp_path / "code.py"]) != first


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `outside` whose `method` imports a helper late, and a face that shows a thing."""
    root = tmp_path / "outside"
    (root / "face").mkdir(parents=True)
    for name, text in {
        "__init__.py": "",
        "method.py": "import numpy\nfrom .face import thing\n\ndef f():\n    from . import late",
        "late.py": "x = 1",
        "unused.py": "x = 2",
        "face/__init__.py": "from .inner import thing\nfrom .other import more",
        "face/inner.py": "thing = 1",
        "face/other.py": "more = 1",
    }.items():
        (root / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return root


def test_a_closure_follows_imports_at_any_depth_and_through_faces(package, monkeypatch):
    # As if the package were this project's own, of which only what is imported counts.
    monkeypatch.setattr(code_digest, "_is_ours", lambda module: module.startswith("outside"))
    assert sorted(closure(["outside.method"])) == [
        "outside.face.inner",
        "outside.late",
        "outside.method",
    ]


def test_a_plugins_whole_package_counts(package):
    before = code_of("outside.method")
    assert "outside.unused" in before.modules
    assert before.libraries.keys() == {"numpy"}
    (package / "unused.py").write_text("x = 3")
    assert code_of("outside.method").digest != before.digest


def test_imports_for_type_checkers_do_not_count(package):
    (package / "method.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import numpy\nelse:\n    import scipy"
    )
    assert code_of("outside.method").libraries.keys() == {"scipy"}


def test_names_shown_late_lead_to_their_module(tmp_path, monkeypatch):
    (tmp_path / "half.py").write_text("from benchmark import LabelSource")
    monkeypatch.syspath_prepend(tmp_path)
    assert {"half", "benchmark.labels.contract", "benchmark.records.ledger"} <= set(
        closure(["half"])
    )


def test_finding_a_module_does_not_import_it(package):
    assert locate("outside.face.inner") == package / "face" / "inner.py"
    assert locate("outside.face") == package / "face" / "__init__.py"
    assert locate("outside.absent") is None
    assert not [name for name in sys.modules if name.startswith("outside.")]
    with pytest.raises(ModuleNotFoundError, match=r"outside\.absent"):
        code_of("outside.absent")


def test_our_methods_are_closed_under_imports():
    hard = code_of("benchmark.methods.hard")
    assert {"benchmark.labels.contract", "benchmark.records.ledger", "benchmark.data.views"} <= set(
        hard.modules
    )
    # Neither other methods, nor the harness, nor the table of recipes.
    for absent in ("methods.soft", "data.recipes", "models.networks", "models.teachers"):
        assert f"benchmark.{absent}" not in hard.modules
    assert hard.libraries["torch"].count(".") == 1
    assert "peft" not in hard.libraries
    assert "peft" in code_of("benchmark.methods.hello").libraries


def test_modules_came_with_the_distributions_that_python_names():
    """But for a distribution without Python files."""
    for top, named in packages_distributions().items():
        assert code_digest._names_of(top) == named or not code_digest.locate(top)
