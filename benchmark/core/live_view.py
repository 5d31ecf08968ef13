"""The live view: what goes on now, on a terminal, below the lines that stay.

A line for each stage (of each process, where several work side by side), one for the loop within
it, and last the whole run with the time left of it. It is there as long as anything goes on, and
leaves nothing behind. Colours obey NO_COLOR.
"""

import atexit
import os
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import cache

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from .progress import DRAW_EVERY_SECONDS, Doing, clock, spoken

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_SPINNER = "|/-\\"  # where standard error takes no others
BAR = 20  # characters
LEAST_OF_A_STAGE = 2.0  # seconds, from which its time is shown


@dataclass(frozen=True)
class Overall:
    """How far a run is.

    Attributes:
        at: when that was so, by the monotonic clock.
        began: when its first cell did.
    """

    ended: int
    total: int
    left: float | None
    at: float
    began: float


@dataclass
class LiveView:
    """All that goes on, drawn a few times a second by a thread of its own.

    What is drawn is replaced, never changed, so the thread that draws needs no lock of ours.
    """

    console: Console
    every: float = DRAW_EVERY_SECONDS
    _doing: dict[tuple[int, int], tuple[Doing, float]] = field(default_factory=dict)
    _overall: Overall | None = None
    _live: Live | None = None
    _closed: bool = False
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def say(self, text: str) -> None:
        """A line that stays, broken between words."""
        self.console.print(Text(text))

    def show(self, doing: Doing, aloud: bool) -> None:
        """Something begins, or goes on."""
        with self._lock:
            _, since = self._doing.get(doing.name, (doing, time.monotonic()))
            self._doing = {**self._doing, doing.name: (doing, since)}
            self._on()

    def end(self, name: tuple[int, int]) -> None:
        """It ends, and with it what began later in its process."""
        with self._lock:
            process, number = name
            self._doing = {
                (p, n): each for (p, n), each in self._doing.items() if p != process or n < number
            }
            self._off()

    def overall(self, ended: int, total: int, left: float | None) -> None:
        """How far the run is; it is over once all have ended."""
        with self._lock:
            now = time.monotonic()
            began = self._overall.began if self._overall is not None else now
            self._overall = Overall(ended, total, left, now, began) if ended < total else None
            if self._overall is not None:
                self._on()
            else:
                self._off()

    def close(self) -> None:
        """Leave the terminal as it was; nothing but lines is shown from here on."""
        with self._lock:
            self._closed = True
            self._doing, self._overall = {}, None
            self._off()

    def _on(self) -> None:
        if self._live is None and not self._closed:
            live = Live(
                console=self.console,
                get_renderable=self.drawn,
                refresh_per_second=1 / DRAW_EVERY_SECONDS,
                transient=True,
                redirect_stdout=False,  # results go where they are sent
            )
            live.start(refresh=True)  # at once, not at the next beat
            self._live = live

    def _off(self) -> None:
        if self._live is not None and not self._doing and self._overall is None:
            live, self._live = self._live, None
            live.stop()

    def drawn(self) -> Group:
        """What is to be seen now, in as many lines as fit."""
        doing, overall, now = self._doing, self._overall, time.monotonic()
        workers: dict[int, list[tuple[Doing, float]]] = {}
        for each in doing.values():
            workers.setdefault(each[0].worker, []).append(each)
        if len(workers) > 1:  # this process only waits for the others
            workers.pop(0, None)
        many = len(workers) > 1
        lines = [line for w in sorted(workers) for line in self._of(workers[w], now, many)]
        most = max(1, self.console.height - 3)
        if len(lines) > most:
            lines = [*lines[: most - 1], Text(f"  ... and {len(lines) - most + 1} more")]
        if overall is not None:
            lines.append(_whole(overall, now))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)

    def _of(self, doing: list[tuple[Doing, float]], now: float, short: bool) -> list[Text]:
        """What one process does: the innermost stage and loop, in one line if it must be short."""
        stages = [each for each in doing if each[0].kind]
        loops = [each[0] for each in doing if not each[0].kind]
        loop = loops[-1] if loops else None
        lines, about = [], next((d.about for d, _ in reversed(stages) if d.about), "")
        if stages:
            stage, since = stages[-1]
            line = Text.assemble((f"{self._spinner(now)} ", "cyan"), (stage.kind, "bold"))
            if short and loop is not None:
                line.append(f" {loop.done}/{loop.total}")
            elif now - since >= LEAST_OF_A_STAGE:
                line.append(f" {clock(now - since)}", "dim")
            lines.append(line.append(f"  {about}"))
        if loop is not None and not (short and stages):
            told = loop.text.removeprefix(f"{about}: ")  # not twice
            lines.append(Text(f"  {told}" if stages else told))
        return lines

    def _spinner(self, now: float) -> str:
        frames = SPINNER if self.console.encoding.startswith("utf") else PLAIN_SPINNER
        return frames[int(now / DRAW_EVERY_SECONDS) % len(frames)]


def _whole(overall: Overall, now: float) -> Text:
    full = round(BAR * overall.ended / overall.total)
    line = Text.assemble(
        ("#" * full, "green"),
        ("." * (BAR - full), "dim"),
        f" {overall.ended}/{overall.total} cells",
    )
    left = None if overall.left is None else overall.left - (now - overall.at)
    if left is None:
        line.append(", time left not known yet")
    else:
        line.append(f", about {spoken(left)} left" if left > 1 else ", a moment left")
    return line.append(f", {spoken(now - overall.began)} so far", "dim")


@cache
def the_view() -> LiveView:
    """The one on this process's standard error."""
    view = LiveView(Console(file=sys.stderr, force_terminal=True, force_interactive=True))
    atexit.register(view.close)
    # A process that is forked from this one has a terminal, but no thread that draws.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_plain)
    return view


def _plain() -> None:
    from . import progress

    progress.choose(progress.Lines())
