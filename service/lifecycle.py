"""SIGTERM → not ready but serving, then refusing, then drained and gone; SIGHUP → newer models.

What load balancers need to take a server away without a failed request: the probes of both doors
say no at once, requests are still answered for `lame_duck_s` while that spreads, newcomers are then
sent elsewhere in words, and what is being worked on gets `drain_s` to finish.
"""

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable
from functools import partial

from service.engine import Engine
from service.gate import Gate
from service.rpc import RpcServer
from service.settings import OVERTIME_S

log = logging.getLogger("attendant")


class Lifecycle:
    """The end of a worker, in order and bounded; made inside its event loop."""

    def __init__(
        self, engine: Engine, http: Gate, rpc: RpcServer, *, lame_duck_s: float, drain_s: float
    ) -> None:
        self._engine, self._http, self._rpc = engine, http, rpc
        self._lame_duck_s, self._drain_s = lame_duck_s, drain_s
        self._ending: asyncio.Task[None] | None = None
        self._heard: set[int] = set()
        self._reloads: set[asyncio.Task[None]] = set()

    def listen(self) -> None:
        """Take the signals over from the HTTP server, which would stop listening at once."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            previous = signal.getsignal(number)
            leave = partial(previous, number, None) if callable(previous) else None
            loop.add_signal_handler(number, self._on_stop, number, leave)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)

    def _on_stop(self, number: int, leave: Callable[[], object] | None) -> None:
        if number in self._heard:  # asked twice: no more waiting
            os._exit(128 + number)
        self._heard.add(number)
        if self._ending is None:
            # Who presses Ctrl-C has no balancer to wait for.
            lame_duck_s = self._lame_duck_s if number == signal.SIGTERM else 0.0
            self._ending = asyncio.create_task(self.end(lame_duck_s, leave))

    def _on_reload(self) -> None:
        task = asyncio.create_task(self._engine.models.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def end(self, lame_duck_s: float, leave: Callable[[], object] | None) -> None:
        """Go through the phases, then call `leave`, which ends the HTTP server."""
        hard_stop = threading.Timer(lame_duck_s + self._drain_s + OVERTIME_S, os._exit, args=(1,))
        hard_stop.daemon = True
        hard_stop.start()
        log.info("not ready, serving for another %g s", lame_duck_s)
        self._engine.begin_drain()
        await asyncio.sleep(lame_duck_s)
        log.info("refusing new requests, %d under way on HTTP", self._http.inside)
        self._http.closed = True
        await asyncio.gather(self._rpc.stop(self._drain_s), self._http.empty(self._drain_s))
        log.info("drained, %d left on HTTP", self._http.inside)
        for number in self._heard:
            asyncio.get_running_loop().remove_signal_handler(number)  # it is raised once more
        if leave is not None:
            leave()
