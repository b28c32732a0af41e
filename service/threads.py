"""threads that compute → threads that leave the cores to each other, and to the doors."""

import os
import sys
from threading import get_native_id

from threadpoolctl import ThreadpoolController

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


def one_for_each_product() -> None:
    """Have numpy multiply matrices in the thread that asks for it, in the whole process.

    Its own threads would wait for the next product by spinning, on the cores that the graphs run
    on: where features are made of sound, half again as many requests were answered without them.
    """
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)
