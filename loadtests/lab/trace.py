"""requests that pass through → a trace: each task's request with the moment at which it came."""

import asyncio
import json
import signal
from pathlib import Path
from typing import TextIO

from aiohttp import BodyPartReader, ClientSession, MultipartReader, StreamReader, web
from pydantic import ValidationError

from loadtests.lab.payloads import bytes_fields, line_of
from service.tasks import Task, tasks

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}
MAX_BODY_BYTES = 64 * 2**20


class Recorder:
    """A reverse proxy of the REST door; what it cannot read it passes on and leaves out."""

    def __init__(self, url: str, session: ClientSession, out: TextIO) -> None:
        self._url, self._session, self._out = url, session, out
        self._tasks: dict[str, Task] = {f"/{task.name}": task for task in tasks()}
        self._began_s: float | None = None
        self.count = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        now_s = asyncio.get_running_loop().time()
        body = await request.read()
        task = self._tasks.get(request.path)
        if task is not None and request.method == "POST":
            await self._note(task, request, body, now_s)
        return await self._passed_on(request, body)

    async def _note(self, task: Task, request: web.Request, body: bytes, now_s: float) -> None:
        try:
            if request.content_type == "application/json":
                asked = task.request.model_validate_json(body)
            elif request.content_type.startswith("multipart/"):
                asked = task.request.model_validate(await self._form(task, request, body))
            else:  # a picture or a recording is the whole body
                asked = task.request.model_validate(dict.fromkeys(bytes_fields(task), body))
        except (ValidationError, ValueError):
            return
        self._began_s = now_s if self._began_s is None else self._began_s
        self._out.write(line_of(task, asked, now_s - self._began_s) + "\n")
        self._out.flush()
        self.count += 1

    async def _form(self, task: Task, request: web.Request, body: bytes) -> dict[str, object]:
        """Fields of a multipart form: files as bytes, numbers and the like as JSON has them."""
        # With room for all of it, or the client's connection would be paused.
        stream = StreamReader(request.protocol, len(body) + 1)
        stream.feed_data(body)
        stream.feed_eof()
        fields: dict[str, object] = {}
        async for part in MultipartReader(request.headers, stream):
            if not isinstance(part, BodyPartReader) or part.name is None:
                continue
            content = bytes(await part.read())
            field = task.request.model_fields.get(part.name)
            if field is not None and field.annotation is bytes:
                fields[part.name] = content
            elif field is not None and field.annotation is str:
                fields[part.name] = content.decode()
            else:
                fields[part.name] = json.loads(content)
        return fields

    async def _passed_on(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        address = self._url + request.rel_url.raw_path_qs
        async with self._session.request(
            request.method, address, data=body, headers=headers, allow_redirects=False
        ) as got:
            kept = {k: v for k, v in got.headers.items() if k.lower() not in HOP_BY_HOP}
            answer = web.StreamResponse(status=got.status, headers=kept)
            await answer.prepare(request)
            async for piece in got.content.iter_any():
                await answer.write(piece)
            await answer.write_eof()
            return answer


async def recorded(url: str, port: int, out: Path) -> int:
    """Until SIGINT or SIGTERM; returns the number of requests in the trace."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, over.set)
    with out.open("w", encoding="utf-8") as file:
        async with ClientSession(auto_decompress=False) as session:
            recorder = Recorder(url, session, file)
            app = web.Application(client_max_size=MAX_BODY_BYTES)
            app.router.add_route("*", "/{path:.*}", recorder.handle)
            runner = web.AppRunner(app)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            print(f"recording on http://127.0.0.1:{port}", flush=True)
            await over.wait()
            await runner.cleanup()
    return recorder.count


def record(url: str, port: int, out: Path) -> int:
    return asyncio.run(recorded(url, port, out))
