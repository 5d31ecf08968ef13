"""What is said while work goes on: lines in a pipe, a view on a terminal, of many processes."""

import io
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import Pipe
from threading import Thread

import pytest
from rich.console import Console

from benchmark.core import live_view, progress
from benchmark.core.live_view import LiveView
from benchmark.core.progress import Doing

WIDTH, HEIGHT = 72, 10


@pytest.fixture
def view() -> Iterator[LiveView]:
    """A view on a terminal of memory."""
    terminal = Console(file=io.StringIO(), force_terminal=True, width=WIDTH, height=HEIGHT)
    made = LiveView(terminal)
    yield made
    made.close()


def seen(view: LiveView) -> list[str]:
    """The lines that are drawn now, without colours."""
    drawn = io.StringIO()
    Console(file=drawn, width=WIDTH, height=HEIGHT).print(view.drawn())
    return drawn.getvalue().splitlines()


def on_a_terminal(code: str, **variables: str) -> str:
    """What a process writes to standard error that is a terminal."""
    ours, theirs = pty.openpty()
    settings = {k: v for k, v in os.environ.items() if k not in ("CI", "NO_COLOR")}
    settings |= {"TERM": "xterm-256color", **variables}
    subprocess.run([sys.executable, "-c", code], stderr=theirs, env=settings, check=True)
    os.close(theirs)
    told = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            break
        if not part:
            break
        told += part
    os.close(ours)
    return told.decode()


STAGE = """
import time
from benchmark.core import progress
with progress.stage("labels", "hello on rded"):
    progress.say("one line")
    time.sleep(0.3)
"""


def test_without_a_terminal_a_stage_is_a_line(capsys):
    with progress.stage("labels", "hello on rded IPC 10"):
        progress.say("one line")
    with progress.stage("start", "load torch", aloud=False):
        progress.overall(1, 3, 20.0)
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "labels: hello on rded IPC 10\none line\n"


def test_a_long_loop_is_a_line_every_half_minute(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    for _ in progress.track(range(10), "train"):
        now[0] += 20.0
    assert capsys.readouterr().err.splitlines() == [
        "train: 2/10, 2:40 left",
        "train: 4/10, 2:00 left",
        "train: 6/10, 1:20 left",
        "train: 8/10, 0:40 left",
        "train: 10/10, 0:00 left",
    ]


def test_quiet_says_nothing_and_its_end_says_why(capsys):
    with progress.quiet(), progress.stage("labels", "hello"):
        progress.say("one line")
        progress.end("error: no such method")
    progress.say("aloud again")
    assert capsys.readouterr().err == "error: no such method\naloud again\n"


@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"CI": "true"}], ids=str)
def test_a_terminal_that_takes_no_view_has_lines(variables):
    told = on_a_terminal(STAGE, **variables)
    assert told.split() == ["labels:", "hello", "on", "rded", "one", "line"]
    assert "\x1b" not in told


@pytest.mark.parametrize("no_colour", ["", "1"])
def test_colours_obey_and_the_cursor_comes_back(no_colour):
    told = on_a_terminal(STAGE, NO_COLOR=no_colour)
    assert "labels" in told
    assert told.index("\x1b[?25l") < told.index("\x1b[?25h")
    coloured = re.search(r"\x1b\[(?:\d+;)*3\dm", told) is not None  # a colour of the foreground
    assert coloured is not bool(no_colour)


def test_the_view_shows_stage_cell_loop_and_time_left(view, monkeypatch):
    monkeypatch.setattr(live_view.time, "monotonic", lambda: 100.0)
    view.overall(3, 12, 700.0)
    view.show(Doing((1, 0), "students", "hard on rded IPC 10, convnet-d3, seed 0"), True)
    view.show(Doing((1, 1), "", "train", 3, 10, 41.0), True)
    monkeypatch.setattr(live_view.time, "monotonic", lambda: 160.0)
    assert [line[1:] if line[0] not in " #" else line for line in seen(view)] == [
        " students 1:00  hard on rded IPC 10, convnet-d3, seed 0",
        "  train: 3/10, 0:41 left",
        "#####............... 3/12 cells, about 11 min left, 60 s so far",
    ]


def test_what_began_within_ends_with_it(view):
    for number in range(3):
        view.show(Doing((1, number), "stage", str(number)), True)
    view.show(Doing((2, 0), "stage", "another process"), True)
    view.end((1, 1))
    assert list(view._doing) == [(1, 0), (2, 0)]
    view.end((1, 0))
    view.end((2, 0))
    assert view._live is None


def test_many_processes_have_a_line_each_as_far_as_there_is_room(view):
    view.overall(0, 50, None)
    view.show(Doing((1, 0), "start", "waits"), True)
    for worker in range(1, 21):
        about = "lpqld[keep=0.1] on a long name of images IPC 50, convnet-d3-w128, seed 12"
        view.show(Doing((worker, 1), "students", about, worker=worker), True)
        view.show(Doing((worker, 2), "", "train", worker, 50, 5.0, worker=worker), True)
    lines = seen(view)
    assert len(lines) == HEIGHT - 2
    assert max(map(len, lines)) <= WIDTH
    assert "students 1/50" in lines[0]
    assert lines[-2].strip() == "... and 14 more"
    assert "waits" not in "".join(lines)
    assert lines[-1] == "." * 20 + " 0/50 cells, time left not known yet, 1 s so far"


def test_another_process_speaks_through_this_one(view, monkeypatch):
    ours, theirs = Pipe(duplex=False)
    monkeypatch.setattr(progress, "_chosen", view)
    heard = Thread(target=progress.take, args=(ours, 7))
    heard.start()
    far = progress.Remote(theirs)
    far.say("a line from afar")
    print("10 %\r100 %\na warning", end="", file=progress.Written(far))
    far.show(Doing((99, 0), "labels", "hello"), True)
    far.show(Doing((99, 1), "", "fit", 1, 2, 3.0), True)
    far.end((99, 1))
    far.show(Doing((99, 2), "teacher", "resnet18"), True)
    theirs.close()  # it dies with two stages open
    heard.join(10)
    assert not heard.is_alive()
    assert view._doing == {}
    assert view.console.file.getvalue().startswith("a line from afar\n100 %\n")
    assert "a warning" not in view.console.file.getvalue()  # whose line has not ended
    assert "hello" in view.console.file.getvalue()
    far.say("nobody hears this")  # and nothing is raised


def test_lines_that_stay_are_broken_between_words(view):
    view.say(f"{'word ' * 30}[k=4] :smile:")
    lines = view.console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[-1].endswith("[k=4] :smile:")
