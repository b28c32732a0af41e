"""a thread that computes → one that leaves the cores to the doors when both want them."""

import os
import sys
from threading import get_native_id

BEHIND = 5
"""Nice value of what computes: the doors get three times its share of a core they fight for."""


def behind_the_doors() -> None:
    """Let the calling thread, and those it starts, compute with what the doors leave.

    A door needs little and needs it now: to refuse, to say how it is, to let a client go. Under
    three times its capacity the service answered a fifth more in time, and refused three times as
    soon. Only Linux has priorities of single threads; who was started with a lower one keeps it,
    since only root may raise it.
    """
    if sys.platform == "linux":
        here = get_native_id()
        lowered = max(BEHIND, os.getpriority(os.PRIO_PROCESS, here))
        os.setpriority(os.PRIO_PROCESS, here, lowered)
