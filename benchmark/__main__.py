"""`python -m benchmark`."""

import os
import signal
import sys
from typing import NoReturn

from .core import progress
from .core.errors import Interrupted, Lost, UserError
from .core.files import disk_is_full


def main() -> None:
    """Run the command line; what the user can mend is printed alone, with exit code 2.

    Ctrl-C and a polite end by the system (SIGTERM) end it with exit code 130; further ones change
    nothing.
    """
    end = _Ending()
    signal.signal(signal.SIGTERM, end)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, end)
    # A shell completes the installed command, whichever way this one was called.
    completion = "completion" in "".join(sys.argv[1:2])
    try:
        from .cli.app import app  # takes most of a second, in which Ctrl-C ends it as well

        app(prog_name="labelbench" if completion else None)
    except Interrupted as error:
        _end(f"interrupted: {error}", 130)
    except KeyboardInterrupt:
        sys.exit(130)
    except (UserError, Lost) as error:
        _end(f"error: {error}", 2)
    except Exception as error:
        if disk_is_full(error):
            _end(
                f"error: The disk is full ({error}). What was finished is kept, nothing "
                "half-written is; make room and run the same command again, or write "
                "elsewhere.",
                2,
            )
        if not isinstance(error, OSError) or error.filename is None:
            raise
        _end(f"error: {error.strerror}: {str(error.filename)!r}.", 2)


class _Ending:
    """What a signal to end does: at first an interrupt, as Ctrl-C is; then nothing but a line.

    Processes that work for this one are ended first, which takes a moment.
    """

    def __init__(self) -> None:
        self.begun = False

    def __call__(self, number: int, _: object) -> None:
        if self.begun:
            signal.signal(number, signal.SIG_IGN)
            os.write(2, b"interrupted already: what is at work is being ended\n")
            return
        self.begun = True
        raise KeyboardInterrupt


def _end(text: str, code: int) -> NoReturn:
    progress.end(text)
    sys.exit(code)


if __name__ == "__main__":
    main()
