"""`check`: whether a plugin keeps the contract of its kind."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.arguments import typed
from ..core.errors import unknown


@dataclass(frozen=True)
class Check:
    """One check of a plugin.

    Attributes:
        problem: a sentence for its author; None where it holds.
    """

    title: str
    problem: str | None

    def text(self) -> str:
        """For the terminal."""
        if self.problem is None:
            return f"ok     {self.title}"
        return f"FAILED {self.title}\n       {self.problem}"


@typed
def check(name: str, plugin: Sequence[str | Path] | str | Path = ()) -> list[Check]:
    """Hold a plugin against the contract of its kind, on the CPU, in seconds.

    Args:
        name: of a method (also a registered one), dataset, image source, network family or recipe.
        plugin: files and package folders of plugins, which are added first.

    Raises:
        UserError: there is no such plugin.
    """
    given = [plugin] if isinstance(plugin, str | Path) else plugin
    return list(checks(name, [Path(path) for path in given]))


def checks(name: str, added: Sequence[Path]) -> Iterator[Check]:
    """As `check`, one after another as they are done."""
    from ..core import plugins

    for path in added:
        plugins.add(path)
    kinds = [kind for kind in plugins.KINDS if name in plugins.found(kind)]
    if not kinds:
        known = [n for kind in plugins.KINDS for n in plugins.found(kind)]
        raise unknown("plugin", name, known)
    from ..experiment.conformance import check as check_plugin

    for kind in kinds:
        for title, problem in check_plugin(kind, name):
            yield Check(title, problem)
