import os

import pytest

from benchmark.code_version import of_files, of_modules, paths

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
    return of_files([file])


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
    assert of_files([tmp_path / "code.py"]) != first


def test_every_file_counts_in_order(tmp_path):
    version(tmp_path, "x = 1", "a.py")
    version(tmp_path, "x = 2", "b.py")
    a, b = tmp_path / "a.py", tmp_path / "b.py"
    assert len({of_files([a]), of_files([b]), of_files([a, b]), of_files([b, a])}) == 4


def test_modules_of_this_package():
    assert of_modules("views", "render") == of_files(paths("views", "render"))
    assert of_modules("views") != of_modules("render")
