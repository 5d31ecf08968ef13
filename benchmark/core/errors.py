"""Errors that tell the user what was wrong, the value, and the valid choices."""

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 200  # characters of a name that is shown, and looked for


class UserError(Exception):
    """Something the user can mend: the command line prints it alone and exits with code 2."""


class Interrupted(Exception):
    """The user, or the system, ended a run; says what is kept and how to go on."""


class Lost(BaseException):
    """One of several processes of a run ended, so the others cannot go on; nothing catches it."""


class ArtefactError(UserError):
    """A shipped folder is damaged, or was made for other images, classes or priors."""


def unknown(what: str, name: str, choices: Iterable[str]) -> UserError:
    """The error for a `name` that is none of `choices`; names the nearest ones first."""
    choices, name = sorted({*choices}), str(name)
    if len(name) > LONGEST:
        name = f"{name[: LONGEST - 3]}..."
    shown = ", ".join(choices[:40]) + (
        f", ... ({len(choices)} in all)" if len(choices) > 40 else ""
    )
    near = get_close_matches(name, choices, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(c) for c in near)}?" if near else ""
    return UserError(f"Unknown {what} {name!r}.{hint} Valid: {shown or 'none'}.")
