"""what may be refused for want of room → its answer, asked for again a few times."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.errors import Overloaded

T = TypeVar("T")
TRIES = 3


async def patient(ask: Callable[[], Awaitable[T]]) -> T:
    """Raises Overloaded where there is no room for long, and what else `ask` raises."""
    for _ in range(TRIES - 1):
        try:
            return await ask()
        except Overloaded as error:
            await asyncio.sleep(error.retry_after() or 1)
    return await ask()
