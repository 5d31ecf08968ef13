"""A thread that looks at something again and again while a `with` block runs."""

import threading
from typing import Self


class Watch:
    """Calls `look` every so many seconds, from the block's beginning to its end."""

    every = 0.2

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch)

    def look(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watching.join()

    def _watch(self) -> None:
        while not self._ended.wait(self.every):
            self.look()
