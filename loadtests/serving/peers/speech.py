"""recordings → texts of faster-whisper int8 behind FastAPI: a thread for each request.

`python -m loadtests.serving.peers.speech --work FOLDER --port N`; it answers
POST /automatic-speech-recognition with the recording as the body, as Attendant does.
"""

import asyncio
import io
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from faster_whisper import WhisperModel, decode_audio

from loadtests.peers.engines.faster_whisper import OPTIONS
from loadtests.peers.peer import PACKAGE


def application(work: Path, *, threads: int, workers: int) -> FastAPI:
    """`workers` transcriptions at a time, each on an equal share of the threads."""
    model = WhisperModel(
        str(work / PACKAGE),
        device="cpu",
        compute_type="int8",
        cpu_threads=max(1, threads // workers),
        num_workers=workers,
    )

    def transcribe(recording: bytes) -> str:
        segments, _ = model.transcribe(
            decode_audio(io.BytesIO(recording)), condition_on_previous_text=False, **OPTIONS
        )
        return " ".join(segment.text.strip() for segment in segments)

    app = FastAPI()

    async def ready() -> dict[str, bool]:
        return {"ready": True}

    async def answer(request: Request) -> dict[str, Any]:
        return {"text": await asyncio.to_thread(transcribe, await request.body())}

    app.add_api_route("/readyz", ready)
    app.add_api_route("/automatic-speech-recognition", answer, methods=["POST"])
    return app


def main() -> None:
    parser = ArgumentParser()
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    told = parser.parse_args()
    app = application(told.work, threads=told.threads, workers=told.workers)
    uvicorn.run(app, host="127.0.0.1", port=told.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
