"""a plan → an event loop in a thread of its own, whose samples wait to be taken."""

import asyncio
import gc
import sys
from collections import deque
from threading import Thread

import uvloop

from loadtests.lab.generator import Generator
from loadtests.lab.plan import Plan
from loadtests.lab.samples import Sample

SWITCH_S = 0.0005
"""How long another thread may hold the interpreter while a request is due; by default 5 ms."""


class Running:
    """A generator at work. The thread that locust runs in takes its samples."""

    def __init__(self, plan: Plan, *, index: int = 0, of: int = 1) -> None:
        self._samples: deque[Sample] = deque()
        self.generator = Generator(plan, self._samples.append, index=index, of=of)
        self._loop = uvloop.new_event_loop()
        self._thread = Thread(target=self._work, name="generator", daemon=True)
        self.error: BaseException | None = None
        """What ended it that should not have happened."""

    def start(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        gc.collect()
        gc.freeze()  # a collection of all that was imported would take longer than a request
        self._thread.start()

    def _work(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self.generator.run())
        except BaseException as error:
            self.error = error
        finally:
            self._loop.close()

    @property
    def over(self) -> bool:
        return not self._thread.is_alive()

    def stop(self, reason: str) -> None:
        if not self.over:
            self._loop.call_soon_threadsafe(self.generator.stop, reason)

    def take(self) -> list[Sample]:
        """All samples since the last call."""
        taken = []
        while self._samples:
            taken.append(self._samples.popleft())
        return taken
