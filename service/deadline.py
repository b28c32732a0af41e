"""work, a bound in seconds → its result, or a Problem: nothing else leaves it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

from service.errors import DeadlineExceeded, Problem

T = TypeVar("T")

log = logging.getLogger("attendant")


async def within(allowed_s: float, work: Callable[[float], Awaitable[T]], name: str) -> T:
    """Do what `name` stands for; `work` is told its deadline, by `time.monotonic`."""
    deadline_s = monotonic() + allowed_s
    try:
        async with asyncio.timeout(allowed_s):
            return await work(deadline_s)
    except TimeoutError as error:
        raise DeadlineExceeded(f"not answered within {allowed_s:.3g} s") from error
    except (Problem, asyncio.CancelledError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the panic of a Rust library is no Exception
        log.exception("%s failed", name)
        raise Problem("the service failed on this request") from error
