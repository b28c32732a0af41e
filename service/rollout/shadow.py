"""a request that has been answered → the candidate computes it too, for nobody, if nobody waits."""

import asyncio
from contextvars import Context
from time import monotonic

from service import telemetry
from service.errors import Overloaded, Problem
from service.headers import DEFAULT_URGENCY, LAST_URGENCY
from service.memory import Memory
from service.registry import Registry
from service.schema import RequestModel
from service.served import Served

MOST = 4
"""Shadows at a time; what comes beyond is dropped."""
LAST = DEFAULT_URGENCY - LAST_URGENCY
"""The lowest priority that there is."""


class Shadows:
    """Shadows under way. None is part of any request: neither its time, its trace nor its fate."""

    def __init__(self, registry: Registry, memory: Memory, timeout_s: float) -> None:
        self._registry, self._memory, self._timeout_s = registry, memory, timeout_s
        self._running: set[asyncio.Task[None]] = set()

    def send(self, answered: Served, request: RequestModel) -> None:
        """After an answer by `answered`, whose version the request did not name."""
        canary = self._registry.canaries.get(answered.name)
        if canary is None or answered is canary.served or not canary.shadows():
            return
        busy = answered.loaded is not None and answered.loaded.lane.queue.cost > 0
        if busy or len(self._running) >= MOST:
            telemetry.shadow(canary.served.labels, "dropped")
            return
        # In a context of its own, so that nothing of it is told of the request.
        shadow = asyncio.get_running_loop().create_task(
            self._compute(canary.served, request), context=Context()
        )
        self._running.add(shadow)
        shadow.add_done_callback(self._running.discard)

    async def _compute(self, candidate: Served, request: RequestModel) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                loaded = await self._memory.open(candidate)
                with loaded.gate:
                    deadline_s = monotonic() + self._timeout_s
                    await loaded.answer(request, deadline_s, priority=LAST)
        except Overloaded:
            telemetry.shadow(candidate.labels, "dropped")
        except (Problem, TimeoutError):
            telemetry.shadow(candidate.labels, "failed")
        except Exception:
            telemetry.shadow(candidate.labels, "failed")
            telemetry.log.exception("shadow of %s failed", candidate.tag)
        else:
            telemetry.shadow(candidate.labels, "ok")
        finally:
            self._memory.freed()

    async def close(self) -> None:
        """End those under way."""
        for shadow in self._running:
            shadow.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
