"""Methods that a notebook or script defines: known by their source, and by nothing else."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forked
import pytest
from session import Session
from tiny import WORDS, quick_clock

import benchmark
from benchmark import UserError
from benchmark.core import plugins
from benchmark.core.plugins import METHODS

IMPORTS = """
from dataclasses import dataclass
from benchmark import LabelSource
import benchmark
import torch
import torch.nn.functional as F
from benchmark.labels.image_labels import ImageLabels, ImageLabelOptions
"""
HELPERS = """
SHARE = 0.75

def softened(labels, classes):
    one_hot = F.one_hot(labels, classes).float()
    return SHARE * one_hot + (1 - SHARE) / classes
"""
HARD = """
from benchmark.methods.hard import Hard

@benchmark.register
class TunedHard(Hard):
    '''Hard labels, tuned.'''

    def targets(self, views, images, epoch):
        return softened(super().targets(views, images, epoch).argmax(1), self.task.classes)
"""


@pytest.fixture(autouse=True)
def none_added(monkeypatch):
    monkeypatch.setattr(plugins, "_added", {})
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session()
    made.run(IMPORTS)
    made.run(HELPERS)
    yield made
    del sys.modules[made.module.__name__]


def digest(name: str) -> str:
    identity = plugins.identity(METHODS, name)
    assert identity is not None
    return identity.digest


def written(name: str) -> str:
    where = plugins.found(METHODS)[name].where
    assert where is not None
    return where.read_text()


def run(work: Path, jobs: int, methods: str = "tuned_hard") -> benchmark.Results:
    words: Any = dict(zip(WORDS[::2], WORDS[1::2], strict=False))
    with quick_clock():
        return benchmark.run(
            dataset="digits", students=words["--students"], teacher=words["--teacher"],
            images="random", ipc=2, recipe="quick", seeds=1, controls=False, device="cpu",
            set={"recipe.epochs": 2, "teacher.epochs": 1}, methods=methods, jobs=jobs, work=work,
        )  # fmt: skip


def test_a_class_becomes_a_method_by_its_source(session):
    session.run(HARD)
    cls = session.space["TunedHard"]
    assert (cls.name, cls.__name__) == ("tuned_hard", "TunedHard")
    loaded = plugins.load(METHODS, "tuned_hard")
    assert loaded is not cls
    assert loaded.name == "tuned_hard"
    assert plugins.found(METHODS)["tuned_hard"].description.summary == "Hard labels, tuned."
    assert "register" not in written("tuned_hard")
    assert "SHARE = 0.75" in written("tuned_hard")
    assert "import torch.nn.functional as F" in written("tuned_hard")
    assert "\nimport torch\n" not in written("tuned_hard")  # which it does not use


@pytest.mark.parametrize(
    ("cell", "replaced"),
    [
        (HARD.replace("argmax(1)", "argmin(1)"), True),
        (HELPERS.replace("0.75", "0.5"), True),
        (HELPERS.replace("(1 - SHARE)", "(2 - SHARE)"), True),
        (HARD.replace("tuned.'''", "still tuned.'''"), False),
        (HARD.replace("    def targets", "    # as before\n    def targets"), False),
        ("ANOTHER = 3", False),
    ],
    ids=["method", "constant", "function", "docstring", "comment", "unused"],
)
def test_what_is_changed_gives_another_key(session, cell, replaced):
    session.run(HARD)
    before = digest("tuned_hard")
    session.run(cell)
    benchmark.register(session.space["TunedHard"])
    assert (digest("tuned_hard") != before) is replaced
    session.run(HELPERS)
    session.run(HARD)
    assert digest("tuned_hard") == before
    assert [name for name in plugins.found(METHODS) if name.startswith("tuned")] == ["tuned_hard"]


def test_it_is_measured_like_any_other(session, tmp_path):
    """In this process and in jobs alike; a changed class is measured anew, and nothing else."""
    session.run(HARD)
    first = run(tmp_path / "one", 1, "tuned_hard,hard")
    assert not first.failures
    by_method = {record["cell"]["method"]: record for record in first.records}
    (used,) = by_method["tuned_hard"]["plugins"]
    assert (used["kind"], used["name"], used["digest"]) == (
        *("method", "tuned_hard"),
        digest("tuned_hard"),
    )
    assert by_method["hard"]["plugins"] == []

    def told(results: benchmark.Results) -> dict[str, Any]:
        return {record["key"]: record["result"]["correct"] for record in results.records}

    session.run(HELPERS.replace("0.75", "0.11"))
    session.run(HARD)
    changed = run(tmp_path / "one", 1, "tuned_hard,hard")
    new = {r["cell"]["method"] for r in changed.records if r["key"] not in told(first)}
    assert new == {"tuned_hard"}
    jobs = run(tmp_path / "two", 2)
    assert not jobs.failures
    assert len(jobs.records) == 1
    assert told(jobs).items() <= told(changed).items()


def test_the_same_source_is_the_same_in_a_script(session, tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(
        IMPORTS + HELPERS + HARD + "\nfrom benchmark.core import plugins\n"
        "print(plugins.identity(plugins.METHODS, 'tuned_hard').digest)\n"
    )
    as_script = "import runpy, sys\nrunpy.run_path(sys.argv[1], run_name='__main__')"
    done = forked.run(as_script, [script], tmp_path)
    assert done.returncode == 0, done.stderr
    session.run(HARD)
    assert done.stdout.strip() == digest("tuned_hard")


def test_a_method_that_derives_from_another_one_of_the_session(session):
    session.run(HARD)
    session.run(
        "@benchmark.register\nclass Firm(TunedHard):\n    '''Firm.'''\n\n"
        "    def targets(self, views, images, epoch):\n"
        "        return super().targets(views, images, epoch) ** 1\n"
    )
    assert {"tuned_hard", "firm"} <= plugins.found(METHODS).keys()
    assert plugins.load(METHODS, "firm").__mro__[1].__name__ == "_TunedHard"
    before = digest("firm")
    session.run(HELPERS.replace("0.75", "0.5"))
    benchmark.register(session.space["Firm"])
    assert digest("firm") != before
    # Control is read as text, through the class between.
    assert plugins.found(METHODS)["firm"].literal("control", None) == "floor"


def test_options_of_the_session(session):
    session.run(
        "@dataclass(frozen=True)\nclass Options:\n"
        "    '''Of it.\n\n    Attributes:\n        share: of the class.\n    '''\n\n"
        "    share: float = 0.5\n"
    )
    body = (
        "@benchmark.register\nclass Choosy(LabelSource[Options]):\n"
        "    def fit(cls, task, options): ...\n    def tensors(self): ...\n"
        "    def restore(cls, task, options, shipped): ...\n"
        "    def targets(self, views, images, epoch): ...\n"
    )
    session.run(body)
    (option,) = plugins.found(METHODS)["choosy"].description.options
    assert (option.name, option.default, option.about) == ("share", "0.5", "of the class.")
    for share in ("0.9", "0.5", "1.0", "0.9"):
        session.run(f"@dataclass(frozen=True)\nclass Options:\n    share: float = {share}\n")
        session.run(body)
        (option,) = plugins.found(METHODS)["choosy"].description.options
        assert (option.default, option.about) == (share, "")
    for share in ("1 / 2", "1 / 4"):
        session.run(f"@dataclass(frozen=True)\nclass Options:\n    share: float = {share}\n")
    with pytest.raises(UserError, match="'Options' was defined in several ways"):
        session.run(body)


CONTRACT = """
    def fit(cls, task, options): ...
    def tensors(self): ...
    def restore(cls, task, options, shipped): ...
"""
ONE = "class One(LabelSource[benchmark.NoOptions]):" + CONTRACT
REFUSED = [
    ("benchmark.register(3)", "register takes a class derived from benchmark.LabelSource, got 3"),
    ("benchmark.register(int)", "register takes a class derived from benchmark.LabelSource"),
    (f"@benchmark.register\n{ONE}", "One does not define targets"),
    (HARD.replace("TunedHard", "Hard2").replace("Hard2", "_Mine"), "does not begin with an under"),
    (HARD.replace("TunedHard", "Soft"), "has the name of a built-in method, 'soft': rename it"),
    ("LABELS = torch.ones(3)\n" + HARD.replace("argmax(1)", "argmax(1) * LABELS"),
     "TunedHard uses 'LABELS' of its session, a Tensor, which no source tells"),
    ("def make():\n    from benchmark.methods.hard import Hard\n    class Inner(Hard):\n"
     "        pass\n    return Inner\nbenchmark.register(make())", "is defined inside something"),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "message"), REFUSED, ids=[m[:30] for _, m in REFUSED])
def test_what_cannot_be_registered(session, cell, message):
    before = set(plugins.found(METHODS))
    with pytest.raises(UserError, match=message):
        session.run(cell)
    assert set(plugins.found(METHODS)) == before


def test_a_class_without_source(session):
    with pytest.raises(UserError, match="The source of 'TunedHard' cannot be had"):
        exec(HARD, session.space)


def test_modules_that_no_package_brings(session, tmp_path, monkeypatch):
    """Functions of a file beside are taken along; the file itself would change unnoticed."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_my_own.py").write_text("import torch\n\ndef same(x):\n    return x + 0\n")
    monkeypatch.setitem(sys.modules, "of_my_own", None)
    del sys.modules["of_my_own"]
    session.run("import of_my_own\nfrom of_my_own import same\n")
    session.run(HARD.replace("return softened", "return same(1) * softened"))
    assert "def same(x):" in written("tuned_hard")
    with pytest.raises(UserError, match="TunedHard uses 'of_my_own', a module of no installed"):
        session.run(HARD.replace("return softened", "return of_my_own.same(1) * softened"))


def test_a_name_that_means_two_things(session):
    session.run(HARD)
    other = Session()
    other.run("SHARE = 0.1\n\ndef less(x):\n    return x * SHARE / SHARE\n")
    session.space["less"] = other.space["less"]
    with pytest.raises(UserError, match="'SHARE' means two things in what TunedHard uses"):
        session.run(HARD.replace("return softened", "return less(1) * softened"))
    other.run("SHARE = 0.75\n\ndef less(x):\n    return x * SHARE / SHARE\n")
    session.space["smaller"] = other.space["less"]
    session.run(HARD.replace("return softened", "return smaller(1) * softened"))
    assert "smaller = less" in written("tuned_hard")


def test_a_function_that_names_its_method(session):
    """Defined anew, the class is not what the name still means while it is decorated."""
    cell = HARD.replace("return softened", "return kind().SHARPNESS * softened").replace(
        "    def targets", "    SHARPNESS = 1.0\n\n    def targets"
    )
    session.run("def kind():\n    return TunedHard\n")
    session.run(cell)
    before = digest("tuned_hard")
    session.run(cell.replace("1.0", "2.0"))
    assert digest("tuned_hard") != before


def test_a_change_that_fails_leaves_the_former(session):
    session.run(HARD)
    before = digest("tuned_hard")
    with pytest.raises(UserError, match="cannot be imported: NameError"):
        session.run(
            "@benchmark.register\nclass TunedHard(TunedHard):\n"
            "    def targets(self, views, images, epoch):\n"
            "        return super().targets(views, images, epoch)\n"
        )
    assert digest("tuned_hard") == before
