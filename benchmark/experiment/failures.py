"""Failed cells: what went wrong and where in the method's code, in one sentence and in full."""

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UserError
from .grid import Cell


@dataclass(frozen=True)
class Failure:
    """Why something could not be measured.

    Attributes:
        message: one sentence, with the method's own line where it raised.
        traceback: in full, as Python prints it.
    """

    message: str
    traceback: str

    def write(self, file: Path, title: str) -> None:
        """Keep it for whoever mends the method."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{title}\n{self.message}\n\n{self.traceback}", encoding="utf-8")


Failed = dict[Cell, Failure]


def describe(error: BaseException, own: Iterable[Path]) -> Failure:
    """What an exception says.

    Args:
        own: the method's files; the last frame in one of them is named, or else the last of all.
    """
    full = "".join(traceback.format_exception(error))
    if isinstance(error, UserError):
        return Failure(str(error), full)
    text = str(error).strip().partition("\n")[0]
    message = type(error).__name__ + (f": {text}" if text else "")
    frames = traceback.extract_tb(error.__traceback__)
    files = {str(path.resolve()) for path in own}
    mine = [frame for frame in frames if str(Path(frame.filename).resolve()) in files]
    if frames:
        at = (mine or frames)[-1]
        message += f" (in {at.name}, {Path(at.filename).name}, line {at.lineno})"
    return Failure(message, full)
