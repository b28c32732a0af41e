"""a listening socket, a pipe → one worker with both doors, whose heart beats into the pipe.

The supervisor starts it. It differs from the worker of `bentoml serve` in that beat, and in how its
connections end.
"""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from typing import Annotated

import typer
import uvicorn

from service.access.tls import tls_of
from service.app import SETTINGS, Attendant
from service.live.incoming import MAX_CHUNK_BYTES
from service.parting import Server

BEAT_S = 0.5
LOOK_S = 0.05
"""Until the start is over: a worker that is killed before its first beat counts as one that could
not start."""
KEEP_ALIVE_S = 65
"""Longer than proxies keep idle connections, which else would send into a closing one."""
CUT_S = 1
"""After the drain (`service/lifecycle.py`) and the parting, what is left is cut."""


async def _beat(pipe: int, server: uvicorn.Server) -> None:
    os.set_blocking(pipe, False)
    while True:
        if server.started:
            try:
                with suppress(BlockingIOError):  # the supervisor is stopped, and will read it later
                    os.write(pipe, b".")
            except BrokenPipeError:  # it is gone, and nobody else would end this process
                signal.raise_signal(signal.SIGTERM)
                return
        await asyncio.sleep(BEAT_S if server.started else LOOK_S)


async def _serve(server: uvicorn.Server, listening: socket.socket, pipe: int) -> None:
    beating = asyncio.create_task(_beat(pipe, server))
    await server.serve(sockets=[listening])
    beating.cancel()


def main(
    http: Annotated[int, typer.Option(help="File descriptor of the listening socket.")],
    pipe: Annotated[int, typer.Option(help="File descriptor that beats are written to.")],
) -> None:
    """Serve until SIGTERM; exits 0 after an orderly end, 3 where the start failed."""
    config = uvicorn.Config(
        Attendant.to_asgi(),  # type: ignore[attr-defined]
        **(tls.for_uvicorn() if (tls := tls_of(SETTINGS)) else {}),
        ws="wsproto",
        ws_max_size=2 * MAX_CHUNK_BYTES,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CUT_S,
    )
    server = Server(config)
    # uvicorn raises the signals that ended it once more; that end is an orderly one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(server, socket.socket(fileno=http), pipe))
    raise typer.Exit(0 if server.started else 3)


if __name__ == "__main__":
    typer.run(main)
