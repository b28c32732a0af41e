"""requests of a shard → their answers, from an engine in a process of its own.

Several of them with one core each do more than one with all: between the runs of its graphs an
engine has one thread at a time that runs Python. One that dies is started again, and its shards go
to the others.
"""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Any

from service import logs
from service.batch.worker import Answer, Asked, LocalWorker, Lost, Worker
from service.errors import Unavailable
from service.settings import Settings
from service.tasks import Task
from service.tasks import task as task_of

SPAWN = get_context("spawn")
MOST_DEATHS = 3
"""Of one worker, with no answer between them: what it is asked is likely to be the reason."""


def workers(task: Task, engines: int | None) -> list[Worker]:
    """Engines that share this machine's cores, as many as there are cores if nothing is said."""
    cores = Settings().threads
    engines = engines or cores
    if engines == 1:
        return [LocalWorker(task, Settings())]
    return [ProcessWorker(task.name, max(1, cores // engines)) for _ in range(engines)]


def _serve(task: str, threads: int, pipe: Connection) -> None:
    """What runs in the process, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the process that began it
    logs.configure("text", "error")
    asyncio.run(_answered(LocalWorker(task_of(task), Settings(threads=threads)), pipe))


async def _answered(worker: LocalWorker, pipe: Connection) -> None:
    """Call the worker's methods as they are asked for, several at a time."""
    calls = set[asyncio.Task[None]]()

    async def call(number: int, method: str, given: Any) -> None:
        try:
            found = await getattr(worker, method)(given)
        except Exception as error:
            found = error
        pipe.send((number, found))

    while True:
        try:
            asked = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        calls.add(one := asyncio.create_task(call(*asked)))
        one.add_done_callback(calls.discard)


class ProcessWorker:
    """An engine beside this process; a worker as `service/batch/worker.py` has it."""

    def __init__(self, task: str, threads: int) -> None:
        self._task, self._threads = task, threads
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._numbers = count()
        self._starting, self._sending = asyncio.Lock(), asyncio.Lock()
        self._deaths = 0

    async def start(self, model: str) -> str:
        """Raises Unavailable where the process dies again and again."""
        async with self._starting:
            while self._deaths < MOST_DEATHS:
                if self._pipe is None:
                    await self._end()
                    self._begin()
                try:
                    tag: str = await self._asked("start", model)
                except Lost:
                    continue
                return tag
        raise Unavailable(f"the process of an engine died {self._deaths} times")

    async def answers(self, asked: Sequence[Asked]) -> list[Answer]:
        async with self._starting:  # after a loss, for another shard
            pass
        found: list[Answer] = await self._asked("answers", asked)
        self._deaths = 0
        return found

    def _begin(self) -> None:
        self._pipe, other = SPAWN.Pipe()
        self._process = SPAWN.Process(
            target=_serve, args=(self._task, self._threads, other), daemon=True
        )
        self._process.start()
        other.close()
        loop = asyncio.get_running_loop()
        Thread(target=self._hear, args=(loop, self._pipe), daemon=True).start()

    def _hear(self, loop: asyncio.AbstractEventLoop, pipe: Connection) -> None:
        """Hand on what the process says, in a thread, until it has no more to say."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            try:
                while True:
                    loop.call_soon_threadsafe(self._told, *pipe.recv())
            except (EOFError, OSError):
                loop.call_soon_threadsafe(self._lost, pipe)

    def _told(self, number: int, found: Any) -> None:
        future = self._waiting.pop(number, None)
        if future is None or future.done():
            return
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found)

    def _lost(self, pipe: Connection) -> None:
        if self._pipe is not pipe:
            return
        self._pipe, self._deaths = None, self._deaths + 1
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            if not future.done():
                future.set_exception(Lost())

    async def _asked(self, method: str, given: Any) -> Any:
        pipe = self._pipe
        if pipe is None:
            raise Lost
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        with suppress(OSError):  # the thread that reads will notice
            async with self._sending:
                await asyncio.to_thread(pipe.send, (number, method, given))
        return await future

    async def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.join)

    async def close(self) -> None:
        self._pipe = None  # nobody is told of this loss
        await self._end()
