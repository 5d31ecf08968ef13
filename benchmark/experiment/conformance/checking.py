"""How checks are run: one after another, each a function whose docstring is its title."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from ...core import plugins
from ...core.plugins import Kind
from ..failures import describe

Case = TypeVar("Case")
Told = Iterator[tuple[str, str | None]]


class Problem(Exception):
    """A broken rule, told to the plugin's author."""


def run(
    kind: Kind,
    name: str,
    case: Case,
    checks: Sequence[Callable[[Case], None]],
    needed: Collection[Callable[[Case], None]],
) -> Told:
    """Run checks on a case; yields each one's title with its problem, or None if it holds.

    Args:
        needed: checks that later ones rely on: nothing is run after one of them that is broken.
    """
    for check in checks:
        title = (check.__doc__ or "").rstrip(".")
        try:
            check(case)
        except Problem as problem:
            yield title, str(problem)
        except Exception as error:
            told = describe(error, plugins.sources_of(kind, name)).message
            yield title, f"It raised {told}"
        else:
            yield title, None
            continue
        if check in needed:
            return
