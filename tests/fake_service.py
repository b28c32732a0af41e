"""the shipped models and a scripted Whisper → both doors with every surface, in a process."""

import asyncio
import os
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import uvicorn
from fake_whisper import Scripted, folder_of, said

from service import manifest as manifests
from service.compat.doors import described, surfaces
from service.compat.oip.rpc import open_inference
from service.engine import Engine
from service.gate import Gate
from service.http import TaskDoor, pages
from service.live.websocket import LiveDoor
from service.rpc import RpcServer
from service.settings import Settings
from service.speech.assets import ALIGNMENT
from service.tasks import automatic_speech_recognition as speech
from service.tasks import tasks

TESTS = Path(__file__).parent
SHIPPED = (
    "audio-classification",
    "graph-classification",
    "image-classification",
    "node-classification",
    "object-detection",
    "translation",
    "unconditional-image-generation",
)


@contextmanager
def started(folder: Path, *, step_s: float = 0.0) -> Iterator[tuple[int, str, str]]:
    """This file in a process: its id, and its HTTP and gRPC ports; the folder is for Whisper.

    Where its steps take time, few recordings may wait.
    """
    variables = {
        "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    service = subprocess.Popen(
        [sys.executable, __file__, folder, str(step_s)],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert service.stdout is not None
    try:
        ready, http, rpc = service.stdout.readline().split()
        assert ready == "ready"
        yield service.pid, http, rpc
    finally:
        service.terminate()
        service.wait(20)
        service.stdout.close()


async def served() -> Engine:
    """An engine that says the same of every recording, and answers all else as shipped."""
    step_s = float(sys.argv[2])
    few = {"queue_batches": 1} if step_s else {}
    engine = Engine(tasks(), Settings(threads=1, **few))
    for name in SHIPPED:
        await engine.load(engine.tasks[name], manifests.SHIPPED / name)
    assert all(engine.status()[name] == "ready" for name in SHIPPED)
    folder = folder_of(Path(sys.argv[1]))
    (folder / ALIGNMENT).touch()
    assets = speech.load_assets(folder)
    words = said(assets, 0.0, " Good morning.", 2.0, 2.0, " Open the window, please.", 4.4)
    whisper = Scripted(assets, defaultdict(lambda: words))
    space = assets.tokenizer.encode(" ").ids[0]
    whisper.step_s = step_s
    whisper.second_choice = [
        space if token >= assets.first_timestamp else token for token in words
    ]  # where times are not wanted
    task = engine.tasks["automatic-speech-recognition"]
    engine.serve(task, f"{task.name}:scripted", whisper, assets)
    return engine


async def main() -> None:
    engine, gate = await served(), Gate()
    rpc = RpcServer(engine, "127.0.0.1:0", 32 << 20, also=partial(open_inference, engine))
    await rpc.start()
    others = surfaces(engine, gate, pages(engine, described(engine.tasks)))
    app = LiveDoor(engine, gate, TaskDoor(engine, gate, others))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, lifespan="off", timeout_keep_alive=65, ws="wsproto")
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        print("ready", listening.getsockname()[1], rpc.port, flush=True)
        await server.serve([listening])
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
