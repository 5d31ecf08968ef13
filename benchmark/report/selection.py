"""Which comparisons are shown, where not all of them are."""

from collections.abc import Iterable

from ..core.errors import unknown
from ..records.comparison import Comparison


def selected(
    found: Iterable[Comparison],
    dataset: str = "",
    ipcs: Iterable[str] = (),
    student: str = "",
    recipe: str = "",
) -> list[Comparison]:
    """Those that are of all that is named; what is empty leaves them open.

    Raises:
        UserError: no comparison has one of the names, of those that have the ones before it.
    """
    found = list(found)
    for what, names, of in (
        ("dataset", [dataset], lambda c: c.setting.dataset),
        ("IPC", [*ipcs], lambda c: f"{c.setting.ipc}"),
        ("student", [student], lambda c: c.setting.student),
        ("recipe", [recipe], lambda c: c.setting.recipe),
    ):
        names = {*names} - {""}
        known = {of(comparison) for comparison in found}
        for name in sorted(names - known):
            raise unknown(f"{what} in these records", name, known)
        found = [comparison for comparison in found if not names or of(comparison) in names]
    return found
