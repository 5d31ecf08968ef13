"""How long `--within` gives."""

import re

from ..core.errors import UserError

FORM = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)([smhd])")
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float:
    """The time that `90s`, `30m`, `2h` or `1d` is.

    Raises:
        UserError: it is none of these.
    """
    match = FORM.fullmatch(text)
    if match is None:
        raise UserError(
            f"--within takes seconds, minutes, hours or days as 90s, 30m, 2h or 1d, got {text!r}."
        )
    return float(match[1]) * SECONDS[match[2]]
