"""texts → translations of CTranslate2 int8 behind FastAPI, a collecting window as one batch.

`python -m loadtests.serving.peers.translation --work FOLDER --tokenizer FILE --port N`; it answers
POST /translation as Attendant does, into the one language that the converted checkpoint begins
with.
"""

import asyncio
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import ctranslate2
import uvicorn
from fastapi import FastAPI, Request
from tokenizers import Tokenizer

from loadtests.peers.engines.ctranslate2 import converted
from loadtests.peers.peer import JOB, Job

MAX_BATCH = 64
MAX_NEW_TOKENS = 128

Waiting = tuple[list[str], int, asyncio.Future[list[str]]]


class Collector:
    """The first request opens a window; what has come when it closes is one batch."""

    def __init__(self, translator: Any, window_s: float) -> None:
        self.translator = translator
        self.window_s = window_s
        self.queue: asyncio.Queue[Waiting] = asyncio.Queue()

    async def translate(self, source: list[str], beam_size: int) -> list[str]:
        future: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        await self.queue.put((source, beam_size, future))
        return await future

    def _batch(self, sources: list[list[str]], beam_size: int) -> list[list[str]]:
        results = self.translator.translate_batch(
            sources, beam_size=beam_size, max_decoding_length=MAX_NEW_TOKENS
        )
        return [each.hypotheses[0] for each in results]

    async def work(self) -> None:
        while True:
            batch = [await self.queue.get()]
            await asyncio.sleep(self.window_s)
            while len(batch) < MAX_BATCH and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            for beam_size in {each[1] for each in batch}:
                chosen = [each for each in batch if each[1] == beam_size]
                sources = [source for source, _, _ in chosen]
                found = await asyncio.to_thread(self._batch, sources, beam_size)
                for (_, _, future), tokens in zip(chosen, found, strict=True):
                    if not future.done():
                        future.set_result(tokens)


def application(work: Path, tokenizer: Path, *, threads: int, window_s: float) -> FastAPI:
    facts = json.loads((work / JOB).read_text())
    job = Job(facts["kind"], work, "int8", threads, facts)
    translator = ctranslate2.Translator(
        str(converted(job)),
        device="cpu",
        compute_type="int8",
        inter_threads=1,
        intra_threads=threads,
    )
    words = Tokenizer.from_file(str(tokenizer))
    collector = Collector(translator, window_s)
    app = FastAPI()
    working: set[asyncio.Task[None]] = set()

    async def ready() -> dict[str, bool]:
        if not working:
            working.add(asyncio.create_task(collector.work()))
        return {"ready": True}

    async def answer(request: Request) -> dict[str, Any]:
        asked = await request.json()
        ids = words.encode(asked["text"]).ids
        source = [str(token) for token in (facts["start"], *ids, facts["end"])]
        tokens = await collector.translate(source, int(asked.get("beam_size", 4)))
        text = words.decode([int(token) for token in tokens])
        return {"translations": [{"text": text.strip(), "tokens": len(tokens)}]}

    app.add_api_route("/readyz", ready)
    app.add_api_route("/translation", answer, methods=["POST"])
    return app


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--window-ms", type=float, default=10.0)
    told = parser.parse_args()
    app = application(
        told.work, told.tokenizer, threads=told.threads, window_s=told.window_ms / 1e3
    )
    uvicorn.run(app, host="127.0.0.1", port=told.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
