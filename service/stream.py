"""tokens of a request's items as they become certain → the beginnings of its answer's texts."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from time import monotonic
from typing import Any

from service import telemetry
from service.schema import Partial, ResponseModel
from service.tasks import Generation, Item
from service.telemetry import Labels

CUT = "\ufffd"
"""What decoders make of a character whose last bytes have yet to come."""


class Reading:
    """What one request's caller has been told, and what there is to tell.

    Items are read in their order: what is known of one behind the first that is not finished waits.
    A caller who reads slowly gets more at a time, never a longer queue.
    """

    def __init__(self, generation: Generation) -> None:
        self._generation = generation
        self._items: Sequence[Item] = ()
        self._assets: Any = None
        self._tokens: list[Sequence[int]] = []
        self._finished: list[bool] = []
        self._at = 0
        """The first item that is not known to its end."""
        self._before = ""
        """Its text, up to it."""
        self._told: dict[int, str] = {}
        self._changed = asyncio.Event()
        self._over = False

    def begin(self, items: Sequence[Item], assets: Any) -> None:
        """The request has been read: these are its items."""
        self._items, self._assets = items, assets
        self._tokens, self._finished = [()] * len(items), [False] * len(items)

    def watch(self, number: int, tokens: Sequence[int], finished: bool) -> None:
        """A `service.waiting.Watch`."""
        self._tokens[number], self._finished[number] = tokens, finished
        self._changed.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._over = True
        self._changed.set()

    async def partials(self) -> AsyncGenerator[Partial]:
        """What there is to tell, as it comes, until the end."""
        while not self._over:
            await self._changed.wait()
            self._changed.clear()
            for partial in self._news():
                yield partial

    def rest(self, response: ResponseModel) -> Iterator[Partial]:
        """What the answer's texts hold beyond what was told."""
        for index, text in enumerate(self._generation.texts(response)):
            yield from self._tell(index, text)

    def _news(self) -> Iterator[Partial]:
        while self._at < len(self._items):
            item, tokens = self._items[self._at], self._tokens[self._at]
            index = int(item.get("index", 0))
            text = self._generation.continued(self._before, item, tokens, self._assets)
            finished = self._finished[self._at]
            yield from self._tell(index, text if finished else text.rstrip(CUT))
            if not finished:
                return
            self._at += 1
            following = self._items[self._at : self._at + 1]
            same = all(int(item.get("index", 0)) == index for item in following)
            self._before = text if same else ""

    def _tell(self, index: int, text: str) -> Iterator[Partial]:
        told = self._told.get(index, "")
        if text != told:
            self._told[index] = text
            replaces = not text.startswith(told)
            new = text if replaces else text[len(told) :]
            yield Partial(index=index, text=new, replaces=replaces)


async def streamed(
    labels: Labels,
    generation: Generation,
    ask: Callable[[Reading], Coroutine[Any, Any, ResponseModel]],
) -> AsyncGenerator[Partial | ResponseModel]:
    """Texts of what is asked as they come, then the response; raises what `ask` raises.

    What came of a text, joined, is the text of the response. Closing the iterator cancels.
    """
    start_s, silent, reading = monotonic(), True, Reading(generation)

    def ended(asked: asyncio.Task[ResponseModel]) -> None:
        if not asked.cancelled():
            asked.exception()  # seen, though the caller may have gone
        reading.end()

    asked = asyncio.create_task(ask(reading))
    asked.add_done_callback(ended)
    try:
        async for partial in reading.partials():
            if silent:
                telemetry.first_token(labels, monotonic() - start_s)
                silent = False
            yield partial
        response = await asked
        for partial in reading.rest(response):
            yield partial
        yield response
    finally:
        asked.cancel()
