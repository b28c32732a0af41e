"""`python -m loadtests.serving.surfaces`: what the APIs of other servers cost beside our own doors.

One server is asked the same of the same model by every surface, in turns, round by round; a surface
is held against our own door by the ratio within each round.
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from loadtests.serving.attendant import STORE, Attendant, attendant, prepared
from loadtests.serving.doors.clients import Load, WrongAnswer, http_load, post, rpc_load
from loadtests.serving.verdict import Row, conclude, judged
from service.compat.oip.pb import open_inference_pb2 as oip
from service.pb import attendant_pb2 as pb
from service.tasks import task

LEAST = 0.9
"""Of our own door's requests a second."""
SETTLE_S = 1.0
JSON = "Content-Type: application/json"
FORM = "Content-Type: multipart/form-data; boundary=x"
INFER = "/inference.GRPCInferenceService/ModelInfer"
TEXT = "I like to read books."
EXPECTED = "Ich lese gerne Bücher."


@dataclass(frozen=True)
class Way:
    """One task asked by one surface."""

    task: str
    surface: str
    request: bytes
    """All of an HTTP request, or a message."""
    expected: bytes
    method: str = ""
    """Of gRPC; empty for HTTP."""
    native: str = "REST"
    """Which of our doors it is held against; empty for a door itself."""
    least: float = LEAST

    async def ask(self, server: Attendant, callers: int, seconds: float) -> Load:
        if self.method:
            port = int(server.grpc.rpartition(":")[2])
            return await rpc_load(
                port, self.method, self.request, self.expected, callers=callers, seconds=seconds
            )
        port = int(server.url.rpartition(":")[2])
        return await http_load(port, self.request, self.expected, callers=callers, seconds=seconds)


def parted(way: Way) -> tuple[str, dict[str, str], bytes]:
    """Path, headers and body of a whole request."""
    head, _, body = way.request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return first.split()[1], {k: v for k, v in headers.items() if k != "Content-Length"}, body


def form(file: bytes, **fields: str) -> bytes:
    """A multipart form with a file."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = 'Content-Disposition: form-data; name="file"; filename="a.flac"'
    return b"".join([*parts, f"--x\r\n{head}\r\n\r\n".encode(), file, b"\r\n--x--\r\n"])


def binary(model: str, name: str, datatype: str, shape: Sequence[int], raw: bytes) -> bytes:
    """A request of the Open Inference Protocol with its tensor in bytes, as tritonclient sends."""
    sized = {"name": name, "shape": list(shape), "datatype": datatype,
             "parameters": {"binary_data_size": len(raw)}}  # fmt: skip
    head = json.dumps({"inputs": [sized], "parameters": {"binary_data_output": True}}).encode()
    length = f"Inference-Header-Content-Length: {len(head)}"
    return post(f"/v2/models/{model}/infer", head + raw, length)


def message(model: str, name: str, datatype: str, shape: Sequence[int], raw: bytes) -> bytes:
    """The same as a message."""
    tensor = {"name": name, "datatype": datatype, "shape": shape}
    asked = oip.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[raw])
    return asked.SerializeToString()


def element(content: bytes) -> bytes:
    return len(content).to_bytes(4, "little") + content


def of_pictures() -> Iterator[Way]:
    name = "image-classification"
    image: bytes = task(name).example().model_dump()["image"]
    whole = (name, "image", "BYTES", [1], element(image))
    pixels = np.full((1, 3, 32, 32), 0.5, "<f4")
    graph = (f"{name}.model", "pixels", "FP32", pixels.shape, pixels.tobytes())
    native, rpc = post(f"/{name}", image, "Content-Type: image/jpeg"), pb.ClassifyImageRequest
    method = "/attendant.v1.Attendant/ClassifyImage"
    yield Way(name, "REST", native, b'"cat"', native="")
    yield Way(name, "gRPC", rpc(image=image).SerializeToString(), b"cat", method, native="")
    yield Way(name, "Hugging Face", post(f"/models/{name}", image), b'"cat"')
    yield Way(name, "OIP, bytes", binary(*whole), b"cat")
    yield Way(name, "OIP gRPC, bytes", message(*whole), b"cat", INFER, native="gRPC")
    yield Way(name, "OIP, tensor", binary(*graph), b'"logits"', least=1.0)
    yield Way(name, "OIP gRPC, tensor", message(*graph), b"logits", INFER, "gRPC", 1.0)


def of_texts() -> Iterator[Way]:
    name, expected = "translation", EXPECTED.encode()
    asked = {"source": "en", "target": "de", "beam_size": 4}
    native = json.dumps({"text": TEXT, **asked}).encode()
    libre = json.dumps({"q": TEXT, "source": "en", "target": "de"}).encode()
    pair = {"src_lang": "en", "tgt_lang": "de", "generate_parameters": {"num_beams": 4}}
    hugging = json.dumps({"inputs": TEXT, "parameters": pair}).encode()
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1], "data": [TEXT]}
    protocol = json.dumps({"inputs": [tensor], "parameters": asked}).encode()
    rpc = pb.TranslateRequest(text=[TEXT], source="en", target="de", beam_size=4)
    yield Way(name, "REST", post(f"/{name}", native, JSON), expected, native="")
    yield Way(name, "gRPC", rpc.SerializeToString(), expected, "/attendant.v1.Attendant/Translate",
              native="")  # fmt: skip
    yield Way(name, "LibreTranslate", post("/translate", libre, JSON), expected)
    yield Way(name, "Hugging Face", post(f"/models/{name}", hugging, JSON), expected)
    yield Way(name, "OIP, JSON", post(f"/v2/models/{name}/infer", protocol, JSON), expected)


def of_speech() -> Iterator[Way]:
    name, expected = "automatic-speech-recognition", b"open the window"
    audio: bytes = task(name).example().model_dump()["audio"]
    openai = form(audio, model=name, language="en")
    yield Way(name, "REST", post(f"/{name}?language=en", audio, "Content-Type: audio/flac"),
              expected, native="")  # fmt: skip
    yield Way(name, "OpenAI", post("/v1/audio/transcriptions", openai, FORM), expected)
    yield Way(name, "Hugging Face", post(f"/models/{name}", audio), expected)


WAYS: tuple[Way, ...] = (*of_pictures(), *of_texts(), *of_speech())


async def served(server: Attendant, ways: Sequence[Way]) -> list[Way]:
    """Those that answer; the others are printed with what they said instead."""
    found = []
    for way in ways:
        try:
            await way.ask(server, 1, 0.01)
        except WrongAnswer as fault:
            said = f"{way.task} by {way.surface}: {str(fault)[:160]!r}"
            Console().print(said, style="yellow", markup=False)
        else:
            found.append(way)
    return found


async def measured(
    server: Attendant, ways: Sequence[Way], *, callers: int, rounds: int, seconds: float
) -> dict[Way, list[Load]]:
    """Each way's rounds, in turns, after a first one that does not count."""
    seen: dict[Way, list[Load]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        # To and fro, so that no way always follows the same other.
        for way in ways if turn % 2 else reversed(ways):
            load = await way.ask(server, callers, seconds if turn else SETTLE_S)
            if turn:
                seen[way].append(load)
    return seen


def rows(seen: dict[Way, list[Load]]) -> list[Row]:
    """What was seen of each way, and how it stands beside our own door."""
    natives = {(way.task, way.surface): loads for way, loads in seen.items() if not way.native}
    table = []
    for way, loads in seen.items():
        rate = median(load.rate for load in loads)
        p50, p99 = (median(load.percentile_ms(share) for load in loads) for share in (0.5, 0.99))
        saw = f"{rate:.1f}/s, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
        tried = f"{way.task} by {way.surface}"
        own = natives.get((way.task, way.native))
        if own is None:
            table.append(Row(tried=tried, saw=saw))
            continue
        ratio = median(one.rate / other.rate for one, other in zip(loads, own, strict=True))
        wanted = f"at least {way.least:g} x {way.native}"
        table.append(judged(tried, f"{ratio:.3f} x; {saw}", wanted, met=ratio >= way.least))
    return table


def main(
    callers: Annotated[int, typer.Option(min=1)] = 16,
    rounds: Annotated[int, typer.Option(min=1, help="Of each surface, in turns.")] = 7,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each round.")] = 4.0,
    only: Annotated[list[str] | None, typer.Option(help="Only these tasks.")] = None,
    store: Annotated[Path, typer.Option(help="Model store to copy.")] = STORE,
    bare: Annotated[bool, typer.Option("--bare", help="Without models from a package.")] = False,
    record: Annotated[Path | None, typer.Option(help="Keep the table in this file.")] = None,
) -> None:
    """Compare requests per second by surface; exits 1 where one costs more than it may."""
    wanted = [way for way in WAYS if not only or way.task in only]

    async def compared(server: Attendant) -> dict[Way, list[Load]]:
        ways = await served(server, wanted)
        return await measured(server, ways, callers=callers, rounds=rounds, seconds=seconds)

    quiet = {"ATTENDANT_LOG_LEVEL": "warning"}
    with attendant(None if bare else prepared(store), quiet) as server:
        seen = asyncio.run(compared(server))
    terms = {"callers": callers, "rounds": rounds, "seconds": seconds}
    conclude("bench-surfaces", rows(seen), terms, record=record)


if __name__ == "__main__":
    typer.run(main)
