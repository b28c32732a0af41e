"""`python -m loadtests.serving.soak`: minutes of everything at once, after which nothing has grown.

Callers of both doors ask requests of many shapes, each held against the answer it gets when it is
alone; others come by the APIs of other servers, speak, read texts as they come, leave before the
answer, look for paths that are not there, break off uploads and send what is refused.
"""

import asyncio
import io
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Annotated, Any

import aiohttp
import grpc
import soundfile
import typer
from google.protobuf.message import Message
from rich.console import Console

from loadtests.door import Door
from loadtests.scenarios import Scenario
from loadtests.serving.attendant import STORE, Attendant, attendant, prepared
from loadtests.serving.calls import Caller, Kind, Reply
from loadtests.serving.goldens import Golden, recorded
from loadtests.serving.growth import BOUNDS, Size, grown, size
from loadtests.serving.shapes import shaped
from loadtests.serving.streams import differing, events
from loadtests.serving.surfaces import WAYS, parted
from loadtests.serving.verdict import Row, conclude, judged
from service.tasks import Task, tasks

HTTP_WAYS = [way for way in WAYS if not way.method]
SAMPLES = 200
"""Times that the server's size is taken."""
WARM_SHARE = 0.25
LEAVING_S = 0.3
LEAVING_SHARE = 0.25
UPLOAD_BYTES = 1 << 20
PATHS = ("/wp-login.php", "/.env", "/translation/", "/static_content/x", "/v1/{}", "/{}/../{}")
REFUSED = b'{"text": "", "source": "xx"}'


@dataclass
class Soak:
    """What all actors share."""

    server: Attendant
    caller: Caller
    served: list[Task]
    goldens: list[Golden]
    seen: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def streamed(self) -> set[str]:
        return {task.name for task in self.served if task.generation}

    def note(self, actor: str, kind: str) -> None:
        self.seen[f"{actor}: {kind}"] += 1


async def ask(soak: Soak, random: Random) -> None:
    """A request whose answer is known."""
    golden = random.choice(soak.goldens)
    reply = await soak.caller.ask(golden.door, golden.scenario)
    soak.note("known", reply.kind)
    if fault := golden.wrong(reply):
        soak.wrong.append(fault)
    if reply.kind not in (Kind.ANSWERED, Kind.REFUSED):
        soak.failed.append(f"{golden.scenario.task} {golden.door}: {reply.kind} {reply.detail}")


async def ask_anew(soak: Soak, random: Random) -> None:
    """A request of a new shape; its answer is not known."""
    one, door = shaped(random.choice(soak.served), random), random.choice(list(Door))
    reply = await soak.caller.ask(door, one)
    soak.note("new shape", reply.kind)
    if reply.kind not in (Kind.ANSWERED, Kind.REFUSED):
        soak.failed.append(f"{one.task} {door}: {reply.kind} {reply.detail}")


async def leave(soak: Soak, random: Random) -> None:
    """A request whose caller goes before it is answered."""
    golden = random.choice(soak.goldens)
    asked = asyncio.create_task(soak.caller.ask(golden.door, golden.scenario))
    await asyncio.wait([asked], timeout=random.uniform(0, LEAVING_S))
    soak.note("leaving", "too late" if asked.done() else "left")
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)


async def listen(soak: Soak, random: Random) -> None:
    """A known request whose text is read as it comes, by some to the first part only."""
    golden = random.choice([each for each in soak.goldens if each.scenario.task in soak.streamed])
    leaves, partials = random.random() < LEAVING_SHARE, []
    async with aclosing(events(soak.caller, golden.door, golden.scenario)) as stream:
        async for event in stream:
            if not isinstance(event, Reply):
                partials.append(event)
                if leaves:
                    soak.note("stream", "left")
                    return
                continue
            soak.note("stream", event.kind)
            if event.kind is Kind.ANSWERED:
                fault = golden.wrong(event) or differing(partials, event.answer)
                soak.wrong += [fault] if fault else []
            elif event.kind is not Kind.REFUSED:
                what = f"{golden.scenario.task} {golden.door}"
                soak.failed.append(f"stream of {what}: {event.kind} {event.detail}")


async def come_by_surface(soak: Soak, random: Random) -> None:
    """What clients of another server's API ask, some of whom leave; the answer is known."""
    names = {task.name for task in soak.served}
    way = random.choice([way for way in HTTP_WAYS if way.task in names])
    path, headers, body = parted(way)
    async with soak.caller.session.post(soak.server.url + path, data=body, headers=headers) as got:
        if random.random() < LEAVING_SHARE:
            soak.note("surface", "left")
            return
        content = await got.read()
        soak.note("surface", str(got.status))
        if got.status == 200 and way.expected not in content:
            soak.wrong.append(f"{path}: {content[:200]!r}")
        elif got.status not in (200, 429, 503):
            soak.failed.append(f"{path}: {got.status} {content[:200]!r}")


async def speak(soak: Soak, random: Random) -> None:
    """Live speech, all of the example or the beginning; some leave."""
    name = random.choice([task.name for task in soak.served if task.live and task.generation])
    example = next(task for task in soak.served if task.name == name).example().model_dump()
    samples, rate_hz = soundfile.read(io.BytesIO(example["audio"]), dtype="int16")
    pcm = samples[: random.randint(rate_hz, len(samples))].tobytes()
    leaves = random.random() < LEAVING_SHARE
    url = f"{soak.server.url}/{name}/live?rate_hz={rate_hz}"
    async with soak.caller.session.ws_connect(url) as socket:
        for at in range(0, len(pcm), rate_hz):
            await socket.send_bytes(pcm[at : at + rate_hz])
            if leaves and random.random() < LEAVING_SHARE:
                soak.note("speech", "left")
                return
        await socket.send_str('{"type": "end"}')
        event: dict[str, Any] = {}
        async for message in socket:
            event = json.loads(message.data)
        soak.note("speech", str(event.get("type")))
        if event.get("type") != "end" and event.get("status") not in (429, 503):
            soak.failed.append(f"live {name}: {event}")


async def scan(soak: Soak, random: Random) -> None:
    """Paths and methods that there are not, each another one."""
    path = random.choice(PATHS).replace("{}", f"{random.getrandbits(48):x}")
    method = random.choice(("GET", "POST", "PUT", "DELETE"))
    async with soak.caller.session.request(method, soak.server.url + path) as got:
        soak.note("scan", str(got.status))
        if got.status >= 500:
            soak.failed.append(f"{method} {path}: {got.status}")
    unknown: Any = soak.caller.channel.unary_unary(f"/x.{random.getrandbits(48):x}/Y")
    try:
        await unknown(b"", timeout=30)
    except grpc.aio.AioRpcError as error:
        soak.note("scan", error.code().name)


async def break_off(soak: Soak, random: Random) -> None:
    """An upload that ends in the middle, or never gets further."""
    one = random.choice(soak.goldens).scenario
    host, _, port = soak.server.url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {one.path} HTTP/1.1\r\nHost: a\r\nContent-Type: {one.content_type}\r\n"
    writer.write(f"{head}Content-Length: {UPLOAD_BYTES}\r\n\r\n".encode())
    writer.write(bytes(random.randrange(UPLOAD_BYTES)))
    await writer.drain()
    await asyncio.sleep(random.uniform(0, LEAVING_S))
    writer.transport.abort()
    soak.note("upload", "broken off")


async def be_refused(soak: Soak, random: Random) -> None:
    """A body that is no request of the task."""
    task = random.choice(soak.served)
    one = Scenario(task.name, "", f"/{task.name}", REFUSED, "application/json", "", b"", Message)
    reply = await soak.caller.rest(one)
    soak.note("invalid", reply.kind)
    if reply.kind is not Kind.INVALID:
        soak.failed.append(f"{task.name}: {reply.kind} {reply.detail}")


Actor = Callable[[Soak, Random], Awaitable[None]]
ACTORS: tuple[Actor, ...] = (
    ask,
    ask,
    ask,
    ask_anew,
    leave,
    come_by_surface,
    scan,
    break_off,
    be_refused,
)
STREAMED: tuple[Actor, ...] = (listen, listen)
LIVE: tuple[Actor, ...] = (speak,)
PAUSE_S: dict[object, float] = {scan: 0.05, break_off: 0.2, be_refused: 0.1}
"""Between two of the cheap ones, so that they leave room for work."""


async def soaked(soak: Soak, duration_s: float, seed: int) -> list[Size]:
    """All actors for so long; returns the server's size over that time."""
    loop = asyncio.get_running_loop()
    end_s = loop.time() + duration_s
    sizes: list[Size] = []

    async def act(actor: Actor, random: Random) -> None:
        while loop.time() < end_s:
            try:
                await actor(soak, random)
            except (aiohttp.ClientError, OSError) as error:
                soak.failed.append(f"{actor.__name__}: {error!r}")
                await asyncio.sleep(PAUSE_S[break_off])
            await asyncio.sleep(PAUSE_S.get(actor, 0))

    async def sample() -> None:
        while (left_s := end_s - loop.time()) > 0:
            metrics = await soak.caller.text("/metrics")
            sizes.append(size(soak.server, metrics, duration_s - left_s))
            await asyncio.sleep(duration_s / SAMPLES)

    actors = ACTORS + (STREAMED if soak.streamed else ())
    actors += LIVE if any(task.live and task.generation for task in soak.served) else ()
    acting = (act(actor, Random(seed + number)) for number, actor in enumerate(actors))
    await asyncio.gather(*acting, sample())
    return sizes


def rows_of(soak: Soak, sizes: list[Size]) -> list[Row]:
    """The verdict: what was asked, what was wrong, what has grown."""
    rows = [Row(tried=what, saw=f"{count:,}") for what, count in sorted(soak.seen.items())]
    known = soak.seen["known: answered"]
    rows += [
        judged("wrong answers", f"{len(soak.wrong)} of {known:,}", "0",
               met=known > 0 and not soak.wrong),
        judged("failed requests", str(len(soak.failed)), "0", met=not soak.failed),
    ]  # fmt: skip
    after = [each for each in sizes if each.at_s >= WARM_SHARE * sizes[-1].at_s]
    for name, bound in BOUNDS.items():
        began, ended = grown(after, name)
        rows.append(
            judged(
                bound.unit,
                f"{began:,.0f} → {ended:,.0f}",
                f"at most {bound.most:.0f} more",
                met=ended - began <= bound.most,
            )
        )
    return rows


async def soak_server(
    server: Attendant, served: list[Task], *, shapes: int, duration_s: float, seed: int
) -> list[Row]:
    random = Random(seed)
    async with Caller(server.url, server.grpc) as caller:
        requests = [shaped(task, random) for task in served for _ in range(shapes)]
        soak = Soak(server, caller, served, await recorded(caller, requests))
        sizes = await soaked(soak, duration_s, seed)
    console = Console()
    for fault in [*soak.wrong[:5], *soak.failed[:5]]:
        console.print(fault[:1_000], style="red", markup=False)
    return rows_of(soak, sizes)


def main(
    minutes: Annotated[float, typer.Option(min=0.05)] = 10.0,
    shapes: Annotated[int, typer.Option(min=1, help="Known requests of each task.")] = 24,
    seed: Annotated[int, typer.Option()] = 0,
    only: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    store: Annotated[Path, typer.Option(help="Model store to copy.")] = STORE,
    bare: Annotated[bool, typer.Option("--bare", help="Without models from a package.")] = False,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Load a server of our own with everything at once, and print what became of it."""
    served = [task for task in tasks() if not only or task.name in only]
    with attendant(None if bare else prepared(store)) as server:
        run = soak_server(server, served, shapes=shapes, duration_s=60 * minutes, seed=seed)
        rows = asyncio.run(run)
        unhandled = server.unhandled()
    rows.append(
        judged("log", "; ".join(dict.fromkeys(unhandled)) or "nothing unhandled",
               "no error that nobody handled", met=not unhandled)
    )  # fmt: skip
    conclude("soak", rows, {"seed": seed, "minutes": minutes, "shapes": shapes}, record=record)


if __name__ == "__main__":
    typer.run(main)
