"""Importing what takes seconds."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heavy(library: str) -> Iterator[None]:
    """While a library is imported for the first time, and whatever comes with it.

    Of the million objects that it makes none is garbage: they are not looked through, now or later,
    which takes a quarter as long as making them.
    """
    if library in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
