"""Progress for whatever lasts longer than a second or two, on standard error.

On a terminal a live bar; elsewhere (logs, Slurm) one line every half minute, so that a log
shows that work goes on without filling up.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SHOW_AFTER_SECONDS = 1.5
LOG_EVERY_SECONDS = 30.0
_lines = _silent = False


def in_lines(chosen: bool) -> None:
    """Whether this process writes lines even to a terminal, because others write beside it."""
    global _lines
    _lines = chosen


def silent(chosen: bool) -> None:
    """Whether this process shows nothing, because another one shows the same."""
    global _silent
    _silent = chosen


def say(text: str) -> None:
    """One line on standard error; standard output is kept for the tables."""
    if _silent:
        return
    print(text, file=sys.stderr, flush=True)


def track(
    items: Iterable[T], label: str | Callable[[], str], total: int | None = None
) -> Iterator[T]:
    """Pass `items` on, showing `label`, how many of `total` are done, and the time left.

    Args:
        label: asked for anew whenever it is shown, if it can be.
    """
    if total is None:
        total = len(items)  # type: ignore[arg-type]
    started = shown = time.monotonic()
    live = sys.stderr.isatty() and not (_lines or _silent)
    every = 0.2 if live else LOG_EVERY_SECONDS
    drawn = False
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - started < SHOW_AFTER_SECONDS or now - shown < every:
            continue
        shown = now
        left = (now - started) / done * (total - done)
        line = f"{label() if callable(label) else label}: {done}/{total}, {_clock(left)} left"
        if live:
            drawn = True
            print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
        else:
            say(line)
    if drawn:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
