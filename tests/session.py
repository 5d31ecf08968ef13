"""A session as a notebook has it: cells run one after another, and their sources are remembered."""

import linecache
import sys
from itertools import count
from types import ModuleType
from typing import Any

numbers = count()


class Session:
    """Cells of one module, which is known by its name as `__main__` is."""

    def __init__(self) -> None:
        self.module = ModuleType(f"session_{next(numbers)}")
        sys.modules[self.module.__name__] = self.module

    def run(self, source: str) -> None:
        """Run a cell."""
        name = f"<cell {next(numbers)}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        exec(compile(source, name, "exec"), self.space)

    @property
    def space(self) -> dict[str, Any]:
        """What its cells have defined."""
        return vars(self.module)
