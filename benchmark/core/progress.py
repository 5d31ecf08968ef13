"""What a command says while it works, on standard error; standard output is for its results.

All code speaks through four words, and draws nothing itself:

- `say(text)`: a line that stays.
- `track(items, label)`: a loop that lasts, how far it is, and the time left of it.
- `stage(kind, about)`: what is being made now, and of what.
- `overall(ended, total, left)`: how far the whole run is, and the time left of it.

On a terminal they are a live view (`live_view`). Elsewhere (pipes, logs, CI, TERM=dumb) they are
plain lines: one for each stage that is made, and one every half minute of a long loop, so that a
log shows that work goes on without filling up. A process that works for this one sends what it
says to this one (`connected`), or writes lines itself.
"""

import io
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from .live_view import LiveView

T = TypeVar("T")
SHOW_AFTER_SECONDS = 1.5
LOG_EVERY_SECONDS = 30.0
DRAW_EVERY_SECONDS = 0.2


@dataclass(frozen=True)
class Doing:
    """Something that goes on: a stage, or a loop.

    Attributes:
        name: its own, the process's number first; what begins later in the process is within it.
        kind: of stage; empty for a loop.
        about: what the stage is of, or what the loop does.
        done, total, left: of a loop, its steps and seconds.
        worker: which process side by side with others does it; 0 for this one.
    """

    name: tuple[int, int]
    kind: str
    about: str
    done: int = 0
    total: int = 0
    left: float = 0.0
    worker: int = 0

    @property
    def text(self) -> str:
        """In a line."""
        if self.kind:
            return f"{self.kind}: {self.about}" if self.about else self.kind
        return f"{self.about}: {self.done}/{self.total}, {clock(self.left)} left"


class Sink(Protocol):
    """Where all of it goes.

    Attributes:
        every: seconds from one state of a loop to the next that is worth showing.
    """

    every: float

    def say(self, text: str) -> None:
        """A line that stays."""
        ...

    def show(self, doing: Doing, aloud: bool) -> None:
        """Something begins, or goes on; `aloud`: where there is no live view, it is a line."""
        ...

    def end(self, name: tuple[int, int]) -> None:
        """It ends, and with it what began later in its process."""
        ...

    def overall(self, ended: int, total: int, left: float | None) -> None:
        """So many cells of a run have ended; `left`: seconds that the others take, if known."""
        ...


class Lines:
    """Plain lines on standard error."""

    every = LOG_EVERY_SECONDS

    def say(self, text: str) -> None:
        """See `Sink`."""
        print(text, file=sys.stderr, flush=True)

    def show(self, doing: Doing, aloud: bool) -> None:
        """See `Sink`."""
        if aloud:
            self.say(doing.text)

    def end(self, name: tuple[int, int]) -> None:
        """See `Sink`."""

    def overall(self, ended: int, total: int, left: float | None) -> None:
        """See `Sink`."""


class Quiet(Lines):
    """Nothing."""

    every = float("inf")

    def say(self, text: str) -> None:
        """See `Sink`."""


class Remote:
    """Another process's sink, to which a connection leads; nothing is said once that is gone."""

    every = DRAW_EVERY_SECONDS

    def __init__(self, connection: Any) -> None:
        self._connection, self._lock = connection, threading.Lock()

    def _send(self, *event: Any) -> None:
        with self._lock, suppress(OSError):
            self._connection.send(event)

    def say(self, text: str) -> None:
        """See `Sink`."""
        self._send("say", text)

    def show(self, doing: Doing, aloud: bool) -> None:
        """See `Sink`."""
        self._send("show", doing, aloud)

    def end(self, name: tuple[int, int]) -> None:
        """See `Sink`."""
        self._send("end", name)

    def overall(self, ended: int, total: int, left: float | None) -> None:
        """See `Sink`: the run's own process counts."""


class Written(io.TextIOBase):
    """Standard error of a process that speaks through another: what libraries write is said too."""

    def __init__(self, out: Sink) -> None:
        self._out, self._rest = out, ""

    def write(self, text: str) -> int:
        """Say whole lines; of one that was overwritten, the last form."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._out.say(line.rpartition("\r")[2])
        return len(text)


_chosen: Sink | None = None
_lines = Lines()
_numbers = itertools.count()


def is_live() -> bool:
    """Whether there is somebody who sees a live view, here or in the process that began this."""
    return not isinstance(sink(), Lines)


def sink() -> Sink:
    """Where everything goes: what was chosen, or else what suits standard error."""
    return _chosen if _chosen is not None else _suitable()


def _suitable() -> "Lines | LiveView":
    dumb = os.environ.get("TERM", "dumb") == "dumb" or "CI" in os.environ
    if dumb or not sys.stderr.isatty():
        return _lines
    from .live_view import the_view  # with it comes rich

    return the_view()


def choose(new: Sink | None) -> None:
    """Have everything go there from here on; if None, where it suits standard error."""
    global _chosen
    _chosen = new


@contextmanager
def quiet(asked: bool = True) -> Iterator[None]:
    """Say nothing, if that is asked for; errors are said by who ends the command."""
    before = _chosen
    if asked:
        choose(Quiet())
    try:
        yield
    finally:
        choose(before)


def end(text: str = "") -> None:
    """End all that is shown, for this command is over; `text` is why, and said even if quiet."""
    out = _suitable()
    if not isinstance(out, Lines):
        out.close()
    if text:
        out.say(text)


def take(connection: Any, worker: int) -> None:
    """Pass on what another process says, until it ends.

    Args:
        connection: of which `Remote` has the other end.
        worker: that process's number among those side by side; 0 if it works for this one alone.
    """
    names: dict[tuple[int, int], None] = {}
    while True:
        try:
            word, *event = connection.recv()
        except (EOFError, OSError):
            break
        if word == "show":
            doing, aloud = event
            names[doing.name] = None
            sink().show(replace(doing, worker=worker or doing.worker), aloud)
        else:
            names.pop(event[0], None)
            getattr(sink(), word)(*event)
    for name in names:
        sink().end(name)


def say(text: str) -> None:
    """One line that stays, on standard error."""
    sink().say(text)


@contextmanager
def stage(kind: str, about: str = "", aloud: bool = True) -> Iterator[None]:
    """While this lasts, a stage of this kind is made.

    Args:
        about: what of, in a line.
        aloud: whether a line says so where there is no live view.
    """
    out, doing = sink(), Doing(_name(), kind, about)
    out.show(doing, aloud)
    try:
        yield
    finally:
        out.end(doing.name)


def overall(ended: int, total: int, left: float | None) -> None:
    """So many of all cells have ended, and the others take about `left` seconds, if known."""
    sink().overall(ended, total, left)


def track(
    items: Iterable[T], label: str | Callable[[], str], total: int | None = None
) -> Iterator[T]:
    """Pass `items` on, showing `label`, how many of `total` are done, and the time left.

    Args:
        label: asked for anew whenever it is shown, if it can be.
    """
    if total is None:
        total = len(items)  # type: ignore[arg-type]
    out, name = sink(), _name()
    started = shown = time.monotonic()
    drawn = False
    try:
        for done, item in enumerate(items, 1):
            yield item
            now = time.monotonic()
            if now - started < SHOW_AFTER_SECONDS or now - shown < out.every:
                continue
            shown, drawn = now, True
            left = (now - started) / done * (total - done)
            about = label() if callable(label) else label
            out.show(Doing(name, "", about, done, total, left), True)
    finally:
        if drawn:
            out.end(name)


def _name() -> tuple[int, int]:
    return os.getpid(), next(_numbers)


def clock(seconds: float) -> str:
    """`0:41`, `12:05`, `3:20:00`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def spoken(seconds: float) -> str:
    """A time in words: `45 s`, `12 min`, `3 h 20 min`, `487 days`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        hours, left = divmod(10 * round(minutes / 10), 60)
        return f"{hours} h {left} min" if left else f"{hours} h"
    return f"{round(minutes / 1440)} days"
