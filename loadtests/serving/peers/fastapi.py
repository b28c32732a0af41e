"""requests → answers of ONNX Runtime behind FastAPI: one run each, in a thread, without batches."""

from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from loadtests.serving.peers.served import Served, told


def application(name: str, *, threads: int) -> FastAPI:
    """POST /NAME takes the picture, the recording or the JSON as the body."""
    served = Served(name, threads=threads)
    app = FastAPI()

    def answered(content: bytes) -> dict[str, Any]:
        return served.answer([served.read(content)])[0]

    async def ready() -> dict[str, bool]:
        return {"ready": True}

    async def answer(request: Request) -> dict[str, Any]:
        found: dict[str, Any] = await run_in_threadpool(answered, await request.body())
        return found

    app.add_api_route("/readyz", ready)
    app.add_api_route(f"/{name}", answer, methods=["POST"])
    return app


if __name__ == "__main__":
    args = told()
    app = application(args.task, threads=args.threads)
    uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="warning", access_log=False)
