"""requests of a door, or of a model → let in and counted, or refused once it is closed."""

import asyncio
from contextlib import suppress

from service.errors import Unavailable

TURN_S = 0.005
QUIET_TURNS, MOST_TURNS = 10, 200


class Gate:
    """Counts who is inside. Closing it refuses newcomers and lets those inside finish.

    As a context manager it lets one request in and out again. Used from one event loop only.
    """

    def __init__(self) -> None:
        self.inside = 0
        self.came = 0
        """All who came so far, let in or not."""
        self.closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def enter(self) -> None:
        """Raises Unavailable where the gate is closed; every call that returns needs a `leave`."""
        self.came += 1
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

    async def quiet(self) -> None:
        """Wait until nobody has come for a while, but not for long.

        Counted in turns of the event loop: if it stood still, who came meanwhile shows only then.
        """
        came, turns = self.came, 0
        for _ in range(MOST_TURNS):
            await asyncio.sleep(TURN_S)
            turns = turns + 1 if self.came == came else 0
            if turns == QUIET_TURNS:
                return
            came = self.came

    async def empty(self, within_s: float | None = None) -> bool:
        """Wait until nobody is inside; False where that takes longer than `within_s`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), within_s)
        return not self.inside
