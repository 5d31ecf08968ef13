"""Every block of code of README, guides and documentation runs, or says why it cannot.

A comment before a block may say `<!-- runs: tests/test_x.py -->`, where another test takes it from
the page, or `<!-- does not run: because ... -->`. What remains are commands; they run here, `run`
cut short.
"""

import json
import re
import shlex
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny import quick_clock, run_main

from benchmark.cli.app import app
from benchmark.core import plugins

ROOT = Path(__file__).parents[1]
GUIDES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")
OTHERS = ("methods/README.md", "datasets/README.md", "results/README.md", "results/FINDINGS.md")
PAGES = [
    *(ROOT / name for name in (*GUIDES, *OTHERS) if (ROOT / name).is_file()),
    *sorted((ROOT / "examples").rglob("README.md")),
    *sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "catalogue.md"),
]
BLOCK = re.compile(
    r"(?:<!-- (?P<word>runs|does not run): (?P<told>.+?) -->\n+)?"
    r"^```(?P<language>[^\n]*)\n(?P<code>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
MAIN = "python -m benchmark "
COMMANDS = (MAIN, "python ", "pip ", "pytest ", "ruff ", "sphinx-build ", "labelbench ", "$ ")
SHORT = "--set recipe.epochs=1 --set teacher.epochs=1 --seeds 1 --ipc 1 --no-controls"
QUICK = "--set hello.epochs=1 --set hello.held_out=0.9 --set hello.probe=64"
TINY = (
    "run --methods lpqld,soft,hard --images rded --ipc 2 --students convnet-d2-w8 "
    "--teacher convnet-d2-w8 --recipe quick --dataset digits --no-controls --device cpu "
    "--set teacher.epochs=1 --set recipe.epochs=2 --seeds 3"
)


@dataclass(frozen=True)
class Block:
    page: str
    number: int
    word: str
    told: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"

    @property
    def is_code(self) -> bool:
        """Whether it is no drawing, no listing of a folder, and no directive of a page."""
        first = self.code.lstrip().partition("\n")[0]
        return self.language not in ("", *DIRECTIVES) or first.startswith(COMMANDS)


DIRECTIVES = ("{include}", "{toctree}", "{eval-rst}")


def blocks() -> list[Block]:
    made = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for number, match in enumerate(BLOCK.finditer(text), 1):
            language = match["language"].partition(" ")[0]
            name = page.relative_to(ROOT).as_posix()
            told = (match["word"] or "", match["told"] or "", language, match["code"])
            made.append(Block(name, number, *told))
    return [block for block in made if block.is_code]


ALL = blocks()
# Each once, though several pages may show it.
HERE = [*{block.code: block for block in reversed(ALL) if not block.word}.values()]


def commands(code: str) -> list[str]:
    """The commands of a block, each in a line, without what is told behind them."""
    lines = code.replace("\\\n", " ").splitlines()
    return [
        part.strip()
        for line in lines
        for part in re.sub(r"(^|\s)#.*", "", line).split(" && ")
        if part.strip()
    ]


def test_there_are_blocks_and_most_of_them_run():
    assert len(ALL) > 15
    assert len([block for block in ALL if block.word != "does not run"]) > 0.6 * len(ALL)


@pytest.mark.parametrize("block", [b for b in ALL if b.word], ids=str)
def test_what_does_not_run_here_says_where_or_why(block):
    if block.word == "runs":
        test = (ROOT / block.told).read_text(encoding="utf-8")
        assert Path(block.page).name in test
    else:
        assert len(block.told) > 10


@pytest.mark.parametrize("block", [b for b in ALL if b.language != "python"], ids=str)
def test_commands_are_there_with_their_options(block):
    known = {command.name for command in app.registered_commands} | {"labels"}
    told = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in commands(block.code):
        words = line.removeprefix("$ ")
        if words.startswith(MAIN):
            asked = shlex.split(words.removeprefix(MAIN))
            assert asked[0] in known
            name = asked[:2] if asked[0] == "labels" else asked[:1]
            _, out, _ = run_main(*name, "--help")
            for option in [word for word in asked if word.startswith("--")]:
                assert re.search(rf"{option}\b", out), (line, option)
        for extras in re.findall(r"pip install -e '\.\[([\w,-]+)\]'", words):
            assert {*extras.split(",")} <= {*told["optional-dependencies"]}


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """A folder in which a small run was, with some published records."""
    folder = tmp_path_factory.mktemp("docs")
    with quick_clock():
        code, _, err = run_main(*shlex.split(TINY), "--work", folder / "runs")
    assert code == 0, err
    (folder / "results").mkdir()
    lines = (ROOT / "results" / "cifar10-rded.jsonl").read_text(encoding="utf-8").splitlines(True)
    kept = [line for line in lines if json.loads(line)["cell"]["ipc"] == 10]
    (folder / "results" / "cifar10-rded.jsonl").write_text("".join(kept), encoding="utf-8")
    (example, *_) = re.findall(
        r"```python\n(.*?)```", (ROOT / "methods" / "README.md").read_text("utf-8"), re.DOTALL
    )
    (folder / "rounded.py").write_text(example, encoding="utf-8")
    return folder


@pytest.fixture
def work(measured, tmp_path, monkeypatch) -> Path:
    """A copy of it, where one stands."""
    folder = tmp_path / "work"
    shutil.copytree(measured, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(plugins, "_added", {})
    return folder


@pytest.mark.parametrize("block", HERE, ids=str)
def test_its_commands_run(block, work):
    record = next((work / "runs" / "records").glob("*.json"))
    for line in commands(block.code):
        if not line.startswith(MAIN):
            assert line.startswith("pip install -e "), line
            continue
        words = line.removeprefix(MAIN).replace("KEY-WORLD.json", record.name)
        if words.startswith("run ") and "--dry-run" not in words:
            words += f" {SHORT}" + f" {QUICK}" * ("hello" in words)
        with quick_clock():
            code, _, err = run_main(*shlex.split(words))
        assert code == 0, (line, err)
