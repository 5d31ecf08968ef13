"""A run as users see it: in a terminal of 80 by 24, and in a pipe.

The terminal is tmux's; where that is not installed, these tests skip and say so.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny import GRID

from benchmark.core.live_view import SPINNER

PIPE = Path(__file__).parent / "golden" / "run_in_a_pipe.txt"
WORDS = [*GRID, "--methods", "hard", "--seeds", "2", "--work", "work"]
PATIENCE = 240.0  # seconds, on a machine that has other work too
WIDTH, HEIGHT = 80, 24


class Terminal:
    """A command in a tmux of its own."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        command = shlex.join([sys.executable, "-m", "benchmark", *arguments])
        self.socket = str(folder / "tmux")
        settings = {k: v for k, v in os.environ.items() if k not in ("CI", "TMUX", "NO_COLOR")}
        settings |= {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "LC_ALL": "C.UTF-8"}
        start = ["new-session", "-d", "-x", str(WIDTH), "-y", str(HEIGHT)]
        start.append(f"{command}; echo ENDED $?; sleep 600")
        tmux = ["tmux", "-S", self.socket, "-u", "-f", os.devnull]
        subprocess.run([*tmux, *start], env=settings, cwd=folder, check=True)

    def ask(self, *words: str) -> str:
        """What tmux answers."""
        done = subprocess.run(
            ["tmux", "-S", self.socket, *words], capture_output=True, text=True, check=True
        )
        return done.stdout

    def screen(self) -> list[str]:
        """The lines that are seen; one that the terminal broke is one."""
        return [line for line in self.ask("capture-pane", "-p", "-J").splitlines() if line.strip()]

    def everything(self) -> list[str]:
        """All lines, also those that have scrolled away."""
        text = self.ask("capture-pane", "-p", "-J", "-S", "-")
        return [line.rstrip() for line in text.splitlines() if line.strip()]

    def watch(self, until: Callable[[list[str]], bool]) -> list[list[str]]:
        """Screens, until one is as wanted."""
        seen, give_up = [], time.monotonic() + PATIENCE
        while not seen or not until(seen[-1]):
            assert time.monotonic() < give_up, seen[-1:]
            seen.append(self.screen())
            time.sleep(0.1)
        return seen

    def close(self) -> None:
        """End it, and what runs in it."""
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], check=False)


@pytest.fixture
def terminal(tmp_path) -> Iterator[Callable[..., Terminal]]:
    """Opens terminals in one folder."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    opened: list[Terminal] = []

    def open_one(*arguments: str) -> Terminal:
        opened.append(Terminal(tmp_path, list(arguments)))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


def ended(lines: list[str]) -> bool:
    return any(line.startswith("ENDED") for line in lines)


def live(lines: list[str]) -> list[str]:
    """Lines of the view."""
    return [line for line in lines if line[0] in SPINNER or re.match(r"[#.]{20} ", line)]


def test_a_run_in_a_terminal(terminal):
    words = ["run", *WORDS, "--set", "recipe.epochs=400"]
    tmux = terminal(*words)
    screens = tmux.watch(lambda lines: any(line.startswith(("[1/2]", "ENDED")) for line in lines))
    seen = [line for lines in screens for line in lines]
    assert any(re.search(r"^\S start .*load torch", line) for line in seen), screens[:50]
    assert any(re.search(r"^\S teacher .*convnet-d2-w8", line) for line in seen)
    of_cell = r"^\S students .*hard on random IPC 2, convnet-d2-w8, seed 0 and 1 more"
    assert any(re.search(of_cell, line) for line in seen)
    of_all = r"^[.]{20} 0/2 cells, about \d+ s left, \d+ s so far$"
    assert any(re.search(of_all, line) for line in seen)
    screens += tmux.watch(ended)
    assert max(len(line) for lines in screens for line in lines) <= WIDTH
    left = tmux.everything()
    assert left[-1] == "ENDED 0"
    assert live(left) == []
    assert max(map(len, left)) <= WIDTH
    assert left[0] == "2 cells: 0 cached, 2 to run"
    assert [line[:5] for line in left if line.startswith("[")] == ["[1/2]", "[2/2]"]
    assert any(line.startswith("ACCURACY | digits, IPC 2") for line in left)
    assert any(line.startswith("No room for: ") for line in left)
    assert tmux.ask("display-message", "-p", "#{cursor_flag}").strip() == "1"


def test_ctrl_c_leaves_the_terminal_as_it_was(terminal):
    tmux = terminal("run", *WORDS, "--set", "recipe.epochs=100000")
    tmux.watch(lambda lines: any("students" in line and line[0] in SPINNER for line in lines))
    tmux.ask("send-keys", "C-c")
    tmux.watch(ended)
    left = tmux.everything()
    assert left[-1] == "ENDED 130"
    assert live(left) == []
    assert " ".join(left[-3:-1]) == (
        "interrupted: 0 of 2 cells are recorded in work/records. Finished stages and "
        "checkpoints are kept: run the same command again to go on."
    )
    assert "Traceback" not in "".join(left)
    assert tmux.ask("display-message", "-p", "#{cursor_flag}").strip() == "1"


def plain(text: str) -> str:
    """A run's text apart from its numbers, and from what differs between machines."""
    world = r"\), [^,\n]+(, \d+ threads?)?, torch [^,\n]+, \w+, OFF-PROTOCOL \w+"
    for pattern, word in (
        (world, "), WORLD"),
        (r"(\d+\.)?\d+ (s|min)\b( \d+ min)?", "TIME"),
        (r"[-+]?(?<![a-z])\d+(,\d{3})*(\.\d+)?(e-\d+)?", "N"),
        (r"-{3,}", "---"),
    ):
        text = re.sub(pattern, word, text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines()) + "\n"


def test_a_run_in_a_pipe(tmp_path):
    """Line by line as it was; with LABELBENCH_REWRITE set, it is written anew."""
    command = [sys.executable, "-m", "benchmark", "run", *WORDS]
    settings = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=settings)
    assert done.returncode == 0, done.stderr
    said = f"standard error\n\n{done.stderr}\nstandard output\n\n{done.stdout}"
    assert "\x1b" not in said
    assert "\r" not in said
    if os.environ.get("LABELBENCH_REWRITE"):
        PIPE.write_text(plain(said), encoding="utf-8")
    assert plain(said) == PIPE.read_text(encoding="utf-8")
