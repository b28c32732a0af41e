"""ports → Attendant's two doors with a task that does nothing, as a worker opens them.

`direct` answers at the engine's entry: what is left are the doors. Without it a request also takes
the threads of preprocessing, batching and postprocessing, which a real model keeps busy.
"""

import asyncio
import sys

import uvicorn

from loadtests.serving.doors import noop
from service import heap, logs
from service.engine import Engine
from service.gate import Gate
from service.http import TaskDoor, pages
from service.rpc import RpcServer
from service.schema import RequestModel, ResponseModel
from service.settings import Settings


class Direct(Engine):
    """Answers without a model, its threads and its queue."""

    async def answer(
        self,
        task: str,
        request: RequestModel,
        *,
        timeout_s: float | None = None,
        priority: int = 0,
    ) -> ResponseModel:
        del task, timeout_s, priority
        assert isinstance(request, noop.EchoRequest)
        return noop.EchoResponse(text=request.text)


async def main(http_port: int, grpc_port: int, way: str) -> None:
    logs.configure("text", "warning")  # no other server here writes a line for each request
    settings = Settings()
    engine = (Direct if way == "direct" else Engine)([noop.TASK], settings)
    engine.serve(noop.TASK, "echo:1", None, None)  # type: ignore[arg-type]
    address = f"127.0.0.1:{grpc_port}"
    rpc = RpcServer(engine, address, settings.max_body_bytes, service=noop.service())
    await rpc.start()
    heap.settle()
    door = TaskDoor(engine, Gate(), pages(engine))
    config = uvicorn.Config(door, port=http_port, log_config=None, server_header=False)
    await uvicorn.Server(config).serve()
    await rpc.stop(0)  # an open one would hold the end of the process for up to a minute


if __name__ == "__main__":
    loops = uvicorn.Config("").get_loop_factory()
    with asyncio.Runner(loop_factory=loops) as runner:
        runner.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
