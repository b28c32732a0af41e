"""what a model leaves in memory → the system's again; what stays → looked through no more."""

import ctypes
import gc
import sys


def give_back() -> None:
    """Have the allocator return what is free; it would keep most of it for later.

    A Whisper tiny.en that came and went three times left 390 MB behind without this, and 50 with
    it. Only glibc has it; elsewhere nothing happens.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def settle() -> None:
    """Leave what has been loaded out of all later collections of garbage.

    Passes over it stall requests for tens of milliseconds, and took up to half of the processor
    time of small ones.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
