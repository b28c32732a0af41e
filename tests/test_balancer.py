"""Two replicas behind deploy/balancer under open load: one is killed, or told to leave."""

import asyncio
import re
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import psutil
import pytest
from test_service_life import OWN, ROOT, Service, free_port, running

from loadtests.serving.open_load import poisson
from service import store

CONFIG = ROOT / "deploy" / "balancer" / "haproxy.cfg"
RATE_PER_S = 30.0
RETRIABLE = {"503", "UNAVAILABLE"}
TOUCHED_S = 0.1
"""What was sent so shortly after a kill may still have gone to the dead."""

pytestmark = pytest.mark.skipif(
    shutil.which("haproxy") is None, reason="haproxy is not installed: apt-get install haproxy"
)


@dataclass(frozen=True)
class Asked:
    """One request: when it was sent and answered, and how."""

    sent_s: float
    done_s: float
    outcome: str


@dataclass
class Load:
    """Requests at random moments, whether or not others are answered, in turns on both doors."""

    balancer: Service
    asked: list[Asked] = field(default_factory=list)

    async def _one(self, ask: Callable[[], Awaitable[str]]) -> None:
        sent_s = monotonic()
        outcome = await ask()
        self.asked.append(Asked(sent_s, monotonic(), outcome))

    async def offer(self, duration_s: float) -> None:
        began_s = monotonic()
        doors = (self.balancer.post, self.balancer.call)
        async with asyncio.TaskGroup() as group:
            for index, due_s in enumerate(poisson(RATE_PER_S, duration_s, seed=0)):
                await asyncio.sleep(max(0.0, began_s + due_s - monotonic()))
                group.create_task(self._one(doors[index % 2]))

    def outcomes(self) -> set[str]:
        return {one.outcome for one in self.asked}


def configured(path: Path, http: int, rpc: int, replicas: list[Service]) -> Path:
    """The shipped configuration with other addresses."""
    text = CONFIG.read_text()
    for shipped, ours in (("bind :3000", http), ("bind :50051", rpc)):
        assert text.count(shipped) == 1
        text = text.replace(shipped, f"bind 127.0.0.1:{ours}")
    for host, replica in zip(("10.0.0.11", "10.0.0.12"), replicas, strict=True):
        for shipped, ours in ((3000, replica.http), (50051, replica.rpc)):
            text, count = re.subn(rf"{host}:{shipped}\b", f"127.0.0.1:{ours}", text)
            assert count == 1
    path.write_text(text)
    return path


@asynccontextmanager
async def balanced(folder: Path) -> AsyncIterator[tuple[Service, list[Service]]]:
    """The balancer, as its clients see it, and the two behind it."""
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(running(*OWN, lame_duck_s="5")) for _ in range(2)
        ]
        http, rpc = free_port(), free_port()
        config = configured(folder / "haproxy.cfg", http, rpc, replicas)
        command = ("haproxy", "-dW", "-db", "-f", str(config))  # a warning ends it
        process = await asyncio.create_subprocess_exec(*command)
        balancer = Service(process, http, rpc)
        try:
            await balancer.begun()
            yield balancer, replicas
        finally:
            process.terminate()
            await process.wait()
            await balancer.client.aclose()
            await balancer.channel.close()


async def answered(replica: Service) -> Counter[str]:
    """How many requests a replica has answered, by door."""
    found: Counter[str] = Counter()
    for line in (await replica.client.get("/metrics")).text.splitlines():
        if line.startswith("attendant_requests_total{") and 'code="ok"' in line:
            door = re.search('door="([^"]+)"', line)
            assert door is not None
            found[door[1]] += int(float(line.split()[-1]))
    return +found


def processes(replica: Service) -> list[psutil.Process]:
    own = psutil.Process(replica.process.pid)
    return [own, *own.children(recursive=True)]


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(120):
            await scenario()

    asyncio.run(bounded())


def test_a_killed_replica_takes_along_only_what_was_on_it(
    tiny_translation: Path, tmp_path: Path
) -> None:
    store.install(tiny_translation)

    async def scenario() -> None:
        async with balanced(tmp_path) as (balancer, (victim, other)):
            load = Load(balancer)
            loading = asyncio.create_task(load.offer(6))
            await asyncio.sleep(1.5)
            doomed = processes(victim)
            for process in doomed:  # what it is sent now is certainly on it when it is killed
                process.suspend()
            await asyncio.sleep(0.8)
            for process in doomed:
                process.kill()
            killed_s = monotonic()
            await loading
            lost = [one for one in load.asked if one.outcome != "200"]
            assert lost
            assert {one.outcome for one in lost} <= RETRIABLE
            assert all(one.sent_s < killed_s + TOUCHED_S for one in lost)
            assert all(killed_s < one.done_s < killed_s + 5 for one in lost)
            assert len(lost) < 0.2 * len(load.asked)
            assert min((await answered(other)).values()) > 0

    run(scenario)


def test_a_replica_that_leaves_loses_nothing_and_the_other_takes_over(
    tiny_translation: Path, tmp_path: Path
) -> None:
    store.install(tiny_translation)

    async def scenario() -> None:
        async with balanced(tmp_path) as (balancer, (leaving, other)):
            load = Load(balancer)
            loading = asyncio.create_task(load.offer(12))
            await asyncio.sleep(1.5)
            for replica in (leaving, other):  # on each door one connection reaches both
                assert set(await answered(replica)) == {"http", "grpc"}
            leaving.process.send_signal(signal.SIGTERM)
            assert await leaving.process.wait() == 0
            before = await answered(other)
            await loading
            assert load.outcomes() == {"200"}
            assert sum((await answered(other) - before).values()) > 0

    run(scenario)


def test_pages_of_one_replica_are_not_shown_and_no_replica_is_a_refusal_to_retry(
    tiny_translation: Path, tmp_path: Path
) -> None:
    store.install(tiny_translation)

    async def scenario() -> None:
        async with balanced(tmp_path) as (balancer, replicas):
            for path in ("/metrics", "/status", "/admin/reload"):
                assert (await balancer.client.get(path)).status_code == 404
            for replica in replicas:
                for process in processes(replica):
                    process.kill()
            reply = await balancer.client.post("/translation", json={"text": "I read."})
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "1")
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.json()["status"] == 503
            assert await balancer.call() == "UNAVAILABLE"

    run(scenario)
