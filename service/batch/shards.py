"""records → shards: the same ones every time, each small enough to be held in memory."""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from service.batch.records import Record

ITEMS = 1_000
"""In a shard, unless it is said otherwise."""
RECORDINGS = 10
"""The same, of speech: each takes an engine long, and there are several engines."""
MAX_BYTES = 16 << 20
"""Of the input that a shard takes, but for one item that is larger."""


@dataclass(frozen=True)
class Shard:
    """Neighbouring items; what is computed, written and counted as done together."""

    number: int
    records: list[Record]

    @property
    def size_bytes(self) -> float:
        return sum(record.size_bytes for record in self.records)


def usual_items(task: str) -> int:
    """How many items of a task are in a shard, unless it is said otherwise."""
    return RECORDINGS if task == "automatic-speech-recognition" else ITEMS


def shards(records: Iterable[Record], max_items: int) -> Iterator[Shard]:
    """All records in their order, up to so many in a shard."""
    number, held, size = 0, list[Record](), 0.0
    for record in records:
        if held and (len(held) == max_items or size + record.size_bytes > MAX_BYTES):
            yield Shard(number, held)
            number, held, size = number + 1, [], 0.0
        held.append(record)
        size += record.size_bytes
    if held:
        yield Shard(number, held)


class Line:
    """Shards in line for whoever is free; one that was given back is taken first."""

    def __init__(self, shards: Iterator[Shard]) -> None:
        self._shards = shards
        self._returned: deque[Shard] = deque()
        self._out = 0
        self._changed = asyncio.Condition()

    async def take(self) -> Shard | None:
        """The next one; None when all that were taken are done and no more will come."""
        async with self._changed:
            while True:
                shard = self._returned.popleft() if self._returned else None
                shard = shard or await asyncio.to_thread(next, self._shards, None)
                if shard or not self._out:
                    self._out += shard is not None
                    return shard
                await self._changed.wait()

    async def done(self) -> None:
        async with self._changed:
            self._out -= 1
            self._changed.notify_all()

    async def give_back(self, shard: Shard) -> None:
        """It could not be done, and somebody else is to do it."""
        async with self._changed:
            self._out -= 1
            self._returned.append(shard)
            self._changed.notify_all()
