"""requests of a door, or of a model → let in and counted, or refused once it is closed."""

import asyncio
from contextlib import suppress

from service.errors import Unavailable


class Gate:
    """Counts who is inside. Closing it refuses newcomers and lets those inside finish.

    As a context manager it lets one request in and out again. Used from one event loop only.
    """

    def __init__(self) -> None:
        self.inside = 0
        self.closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self) -> None:
        """Raises Unavailable where the gate is closed; every call that returns needs a `leave`."""
        if self.closed:
            raise Unavailable("the service is shutting down")
        self.inside += 1
        self._empty.clear()

    def leave(self) -> None:
        self.inside -= 1
        if not self.inside:
            self._empty.set()

    def __enter__(self) -> None:
        self.enter()

    def __exit__(self, *_: object) -> None:
        self.leave()

    async def empty(self, within_s: float | None = None) -> bool:
        """Wait until nobody is inside; False where that takes longer than `within_s`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), within_s)
        return not self.inside
