"""Plugins reach machines that do not have their files."""

import shutil
import sys

import pytest
from session import Session

from benchmark.api.register import register
from benchmark.core import plugin_files, plugins
from benchmark.core.errors import UserError
from benchmark.core.plugin_files import packed, unpacked
from benchmark.labels.contract import method

HALVED = """
from benchmark.methods.hard import Hard
from beside import HALF

class Halved(Hard):
    half = HALF
"""
NOTEBOOK = """
from benchmark.methods.hard import Hard

TENTH = 0.1

class TenthOfIt(Hard):
    tenth = TENTH
"""


@pytest.fixture
def known():
    """Plugins that tests add are forgotten afterwards."""
    before = plugins.paths()
    yield
    plugins.use(before)


def moved(folder):
    """The paths of all plugins, where the files of a folder are not."""
    sent = packed()
    shutil.rmtree(folder)
    for name in [
        n for n, m in sys.modules.items() if str(folder) in str(getattr(m, "__file__", ""))
    ]:
        del sys.modules[name]  # as where it never lay
    if str(folder) in sys.path:
        sys.path.remove(str(folder))
    return unpacked(sent)


def test_a_file_goes_with_the_modules_beside_it_that_it_imports(tmp_path, known):
    folder = tmp_path / "plugins"
    folder.mkdir()
    for name, text in (("halved", HALVED), ("beside", "HALF = 0.5"), ("other", "")):
        (folder / f"{name}.py").write_text(text)
    plugins.add(folder / "halved.py")
    before = plugins.identity(plugins.METHODS, "halved")
    assert before is not None
    assert unpacked(packed()) == [folder / "halved.py"]  # it lies here: nothing is written
    (path,) = moved(folder)
    assert path.parent != folder
    assert sorted(file.name for file in path.parent.iterdir()) == ["beside.py", "halved.py"]
    plugins.use([path])
    assert method("halved").half == 0.5  # type: ignore[attr-defined]
    assert plugins.identity(plugins.METHODS, "halved") == before


def test_a_package_goes_whole(tmp_path, known):
    folder = tmp_path / "halved_package"
    folder.mkdir()
    (folder / "__init__.py").write_text(HALVED.replace("from beside", "from .beside"))
    (folder / "beside.py").write_text("HALF = 0.25")
    (folder / "table.csv").write_text("1,2")
    plugins.add(folder)
    (path,) = moved(folder)
    assert (path / "table.csv").read_text() == "1,2"
    plugins.use([path])
    assert method("halved_package").half == 0.25  # type: ignore[attr-defined]


def test_a_notebooks_method_goes_too(known):
    session = Session()
    session.run(NOTEBOOK)
    register(session.space["TenthOfIt"])
    file = plugins.paths()[-1]
    path = moved(file.parent)[-1]
    assert path != file
    plugins.use([path])
    assert method("tenth_of_it").tenth == 0.1  # type: ignore[attr-defined]


def test_what_is_too_large_is_refused(tmp_path, monkeypatch, known):
    (tmp_path / "halved_alone.py").write_text(HALVED.replace("from beside import HALF", "HALF = 1"))
    plugins.add(tmp_path / "halved_alone.py")
    monkeypatch.setattr(plugin_files, "MOST_BYTES", 10)
    with pytest.raises(UserError, match=r"halved_alone.py' has \d+ bytes; up to 10 are sent"):
        packed()
