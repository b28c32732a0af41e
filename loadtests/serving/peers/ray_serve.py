"""requests → answers of Ray Serve: one replica, batches of what comes within its window."""

import asyncio
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from loadtests.serving.peers.served import MAX_BATCH, WINDOW_S, Asked, Served, told


class Replica:
    """Takes the picture, the recording or the JSON as the body; a GET when it has loaded."""

    def __init__(self, name: str, threads: int) -> None:
        self.served = Served(name, threads=threads)

    @serve.batch(max_batch_size=MAX_BATCH, batch_wait_timeout_s=WINDOW_S)
    async def answer(self, asked: list[Asked]) -> list[dict[str, Any]]:
        # In a thread, or no request would be read meanwhile.
        return await asyncio.to_thread(self.served.answer, asked)

    async def __call__(self, request: Request) -> dict[str, Any]:
        if request.method == "GET":
            return {"ready": True}
        asked = await asyncio.to_thread(self.served.read, await request.body())
        found: dict[str, Any] = await self.answer(asked)
        return found


if __name__ == "__main__":
    args = told()
    ray.init(num_cpus=args.threads, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": args.port, "access_log": False})
    deployment = serve.deployment(Replica, max_ongoing_requests=1_000)
    serve.run(deployment.bind(args.task, args.threads), route_prefix=f"/{args.task}", blocking=True)
