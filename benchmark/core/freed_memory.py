"""Freed memory that a process keeps: on a CPU the next step's tensors take the last step's pages.

A step of training frees all that it made, some of it in pieces of tens of megabytes, and makes it
again. The GNU C library gives the heap's end back to the system each time, which zeroes every page
anew: a quarter of a step of Conv-3, a third of a test. More than this would be kept at the price of
a heap with holes: of twice the size, where a small network trains at 224 pixels.
"""

import ctypes
import sys
from functools import cache

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # names of options, in malloc.h
KEPT = 2**28  # bytes freed at the end of the heap that stay
MAPPED = 2**25  # pieces as large are no part of the heap


@cache
def keep() -> None:
    """Keep it from now on, where the C library can; it is speed alone."""
    if not sys.platform.startswith("linux"):
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # it is the GNU library
        set_option(MMAP_THRESHOLD, MAPPED)
        set_option(TRIM_THRESHOLD, KEPT)
