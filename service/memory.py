"""models that are asked for → models in memory, within a budget: who was asked longest ago goes.

A model in use is never taken out: one that needs its room waits. All of this is bookkeeping of the
event loop; what takes time, opening a model and closing one, is awaited and stops nobody else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from service import telemetry
from service.errors import Overloaded, TooLargeForMemory, Unavailable
from service.heap import give_back
from service.loaded import Loaded
from service.served import Served
from service.store import BrokenModel

MAX_WAITING = 256
"""Requests that may wait for one model to be loaded."""


class Memory:
    """Which models are open. `budget_bytes` is None where there is no bound."""

    def __init__(
        self, budget_bytes: int | None, opened: Callable[[Served], Awaitable[Loaded]]
    ) -> None:
        """`opened` opens a model and raises BrokenModel where it cannot."""
        self._budget_bytes, self._opened = budget_bytes, opened
        self._held: dict[Served, None] = {}
        """In memory or on their way there, the one asked longest ago first."""
        self._leaving_bytes = 0
        """Of those that are asked no more, and still answer."""
        self._freed = asyncio.Event()
        self._closed = False

    @property
    def held_bytes(self) -> int:
        return self._leaving_bytes + sum(model.bytes for model in self._held)

    def has_room(self, model: Served) -> bool:
        """It fits beside what is here."""
        return self._budget_bytes is None or model.bytes <= self._budget_bytes - self.held_bytes

    async def open(self, model: Served) -> Loaded:
        """The model, loaded if it is not; those who ask meanwhile share one attempt.

        Where nothing is awaited between this and entering its gate, it stays. Raises Unavailable
        where it cannot be loaded, TooLargeForMemory where it never can, Overloaded where too many
        wait. Whoever waits for room waits until they are cancelled.
        """
        if model.loaded is not None:
            self._held[model] = self._held.pop(model)
            return model.loaded
        if model.waiting >= MAX_WAITING:
            telemetry.rejected(model.labels, "queue")
            raise Overloaded(f"{model.waiting} requests wait for {model.tag} to be loaded")
        model.waiting += 1
        try:
            while model.loaded is None:
                if self._closed:
                    raise Unavailable("the service is shutting down")
                if model.loading is None:
                    model.refuse()
                    await self._begin(model)
                else:
                    # One who leaves does not take the attempt of the others along.
                    await asyncio.shield(model.loading)
            return model.loaded
        finally:
            model.waiting -= 1
            self.freed()

    def put(self, model: Served, loaded: Loaded) -> None:
        """A model that somebody else has opened."""
        model.loaded = loaded
        self._held[model] = None
        telemetry.loaded(model.labels, model.version, model.bytes)

    async def close(self, model: Served) -> None:
        """Take a model out of memory, once those who use it have their answers."""
        if model.loading is not None:
            await asyncio.wait([model.loading])
        if model.loaded is None:
            return
        self._leaving_bytes += model.bytes
        try:
            await self._leave([(model, self._taken_out(model))])
        finally:
            self._leaving_bytes -= model.bytes
            self.freed()

    async def close_all(self) -> None:
        """Open nothing from now on, and take all out."""
        self._closed = True
        self.freed()
        await asyncio.gather(*(self.close(model) for model in list(self._held)))

    def freed(self) -> None:
        """A model may have become idle: whoever waits for room looks again."""
        self._freed.set()
        self._freed.clear()

    async def _begin(self, model: Served) -> None:
        """Start to load a model, or wait until something changes that may let it in."""
        if self._budget_bytes is not None and model.bytes > self._budget_bytes:
            raise TooLargeForMemory(
                f"{model.tag} takes {model.bytes} bytes of memory, and all models together may "
                f"take {self._budget_bytes}",
                "model",
            )
        victims = self._victims(model)
        if victims is None:
            await self._freed.wait()
            return
        # At once, so that no request enters one of them meanwhile; their room is the model's now.
        taken_out = [(victim, self._taken_out(victim)) for victim in victims]
        self._held[model] = None
        model.loading = asyncio.create_task(self._load(model, taken_out))

    def _victims(self, model: Served) -> Sequence[Served] | None:
        """Who has to go for it, the fewest of those asked longest ago; None if not enough can."""
        found: list[Served] = []
        if self._budget_bytes is None:
            return found
        free_bytes = self._budget_bytes - self.held_bytes
        for held in self._held:
            if free_bytes >= model.bytes:
                break
            if held.idle:
                found.append(held)
                free_bytes += held.bytes
        return found if free_bytes >= model.bytes else None

    async def _load(self, model: Served, taken_out: list[tuple[Served, Loaded]]) -> None:
        try:
            await self._leave(taken_out)
            model.loaded = await self._opened(model)
        except BrokenModel as fault:
            model.failed(str(fault))
            telemetry.not_loaded(model.labels)
            raise model.refusal() from fault
        else:
            model.allow()
            telemetry.loaded(model.labels, model.version, model.bytes)
        finally:
            model.loading = None
            if model.loaded is None:
                self._held.pop(model, None)
            self.freed()

    def _taken_out(self, model: Served) -> Loaded:
        loaded, model.loaded = model.loaded, None
        assert loaded is not None
        del self._held[model]
        return loaded

    async def _leave(self, taken_out: list[tuple[Served, Loaded]]) -> None:
        """Close them, one after the other; nothing is left of them in the end."""
        if not taken_out:
            return
        while taken_out:
            model, loaded = taken_out.pop()
            await loaded.gate.empty()
            await loaded.close()
            telemetry.unloaded(model.labels, model.version, model.bytes)
        del loaded
        await asyncio.to_thread(give_back)
