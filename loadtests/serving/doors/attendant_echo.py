"""ports → Attendant's two doors and its engine, with a task that does nothing."""

import asyncio
import gc
import logging
import sys

import uvicorn

from loadtests.serving.doors import noop
from service.engine import Engine
from service.gate import Gate
from service.http import TaskDoor, pages
from service.rpc import RpcServer
from service.settings import Settings


async def main(http_port: int, grpc_port: int) -> None:
    settings = Settings()
    engine = Engine([noop.TASK], settings)
    engine.serve(noop.TASK, "echo:1", None, None)  # type: ignore[arg-type]
    rpc = RpcServer(
        engine, f"127.0.0.1:{grpc_port}", settings.max_body_bytes, service=noop.service()
    )
    await rpc.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    door = TaskDoor(engine, Gate(), pages(engine))
    config = uvicorn.Config(
        door, port=http_port, log_config=None, access_log=False, server_header=False
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(main(*map(int, sys.argv[1:])))
