"""requests that find no room → so many refused a second, so that those who have room are computed.

A refusal takes about 0.3 ms of the event loop. Callers who ask again at once would have it do
nothing else, and what computes waits for the interpreter's lock: 180 connections of this kind got
2,900 refusals and 35 answers a second; where refusals wait their turn it is over 200 answers.
"""

import asyncio
from time import monotonic

PER_S = 1000
"""A third of the loop's time. Three times what two cores sustain stays well below."""
LONGEST_S = 0.25
"""Nobody waits longer for a refusal, however many do."""


class Refusals:
    """The line of those to be refused, of one event loop."""

    def __init__(self) -> None:
        self._next_s = 0.0

    async def turn(self) -> None:
        """Wait until it is time for the next refusal."""
        now_s = monotonic()
        at_s = min(max(now_s, self._next_s), now_s + LONGEST_S)
        self._next_s = at_s + 1 / PER_S
        if at_s > now_s:
            await asyncio.sleep(at_s - now_s)
