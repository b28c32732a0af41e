"""a kind of work → the servers that are compared on it, each in its own environment."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from loadtests.peers.peer import HUGGING_FACE
from loadtests.serving.attendant import QUIET, attendant
from loadtests.serving.processes import NotStarted, Running, free_port, running

TRANSLATION, SPEECH = "translation-shipped", "whisper-base"
"""Not the shipped Whisper: vLLM's server names a language to every model, and one of English only
then says nothing."""
TOKENIZER = Path("models/weights/translation/tokenizer.json")
SERVING, VLLM = "peers-serving", "peers-vllm"
VLLM_READS = ("av", "soundfile", "soxr")
"""What vLLM reads recordings with: without, its server starts and refuses all of them."""


@dataclass(frozen=True)
class Places:
    """Where what is compared lies."""

    store: Path
    environments: Path
    works: Path
    data: Path
    threads: int


Started = Callable[[], AbstractContextManager[Running]]


class Missing(Exception):
    """A peer cannot be compared here; the message says why."""


def ready_work(work: str, places: Places) -> Path:
    """The folder with the weights in every peer's format, made where they are not there."""
    command = [sys.executable, "-m", "loadtests.peers", "--work", work, "--prepare-only"]
    command += ["--works-dir", str(places.works), "--data-dir", str(places.data)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return places.works / work


def ours(places: Places, **settings: str) -> Started:
    """Attendant with these settings."""
    return lambda: attendant(places.store, {"ATTENDANT_THREADS": str(places.threads), **settings})


def our_speech(places: Places) -> Started:
    """Attendant with the Whisper that the others have, imported from the same checkpoint.

    It is rounded as theirs are, if the words of the data allow it.
    """

    @contextmanager
    def start() -> Iterator[Running]:
        folder = ready_work(SPEECH, places)
        store, imported, small = (folder / name for name in ("store", "imported", "small"))
        if not small.exists():
            store.mkdir(exist_ok=True)
            variables = {**os.environ, **QUIET, "BENTOML_HOME": str(store.absolute())}
            whole = ["models", "import", str(folder / HUGGING_FACE), "--name", SPEECH]
            rounded = ["export", "model", SPEECH, "--published", str(imported / SPEECH)]
            rounded += ["--target", "openvino" if find_spec("openvino") else "cpu"]
            rounded += ["--precision", "int8", "--data-dir", str(places.data), "--out", str(small)]
            for command in ([*whole, "--out", str(imported), "--no-install"], rounded):
                here = [sys.executable, "-m", *command]
                done = subprocess.run(here, check=False, env=variables, stdout=subprocess.PIPE)
                if done.returncode:
                    raise Missing(done.stdout.decode()[-200:])
        settings = {
            "ATTENDANT_MODELS": SPEECH,
            "ATTENDANT_DEFAULT_MODELS": f"automatic-speech-recognition={SPEECH}",
            "ATTENDANT_THREADS": str(places.threads),
        }
        with attendant(store, settings) as server:
            yield server

    return start


def python_of(environment: str, places: Places, *modules: str) -> str:
    """The interpreter of an environment, which has these modules; raises Missing."""
    python = places.environments / environment / "bin" / "python"
    if not python.exists():
        raise Missing(f"requirements/{environment}.txt is not installed")
    found = subprocess.run([python, "-c", f"import {', '.join(('sys', *modules))}"], check=False)
    if found.returncode:
        raise Missing(f"requirements/{environment}.txt is installed, but not all of it")
    return str(python)


def _behind_fastapi(module: str, work: str, places: Places, *more: str) -> Started:
    @contextmanager
    def start() -> Iterator[Running]:
        python, folder, port = python_of(SERVING, places), ready_work(work, places), free_port()
        command = [python, "-m", f"loadtests.serving.peers.{module}", "--work", str(folder)]
        command += ["--port", str(port), "--threads", str(places.threads), *more]
        log = places.works / "logs" / f"{module}.txt"
        with running(command, port=port, ready="/readyz", log=log, variables={}) as server:
            yield server

    return start


def ctranslate2(places: Places) -> Started:
    return _behind_fastapi("translation", TRANSLATION, places, "--tokenizer", str(TOKENIZER))


def faster_whisper(places: Places) -> Started:
    return _behind_fastapi("speech", SPEECH, places)


def vllm(places: Places) -> Started:
    """vLLM's own server, with the settings that its engine is raced with."""

    @contextmanager
    def start() -> Iterator[Running]:
        folder, port = ready_work(SPEECH, places), free_port()
        # Its command `vllm serve` asks for the version of a package of another name.
        command = [python_of(VLLM, places, *VLLM_READS), "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(folder / HUGGING_FACE), "--port", str(port)]
        command += ["--host", "127.0.0.1", "--served-model-name", "whisper"]
        command += ["--dtype", "bfloat16", "--max-model-len", "448", "--max-num-seqs", "8"]
        command += ["--enforce-eager", "--no-enable-prefix-caching"]
        command += ["--mm-processor-cache-gb", "0"]
        variables = {
            "VLLM_CPU_KVCACHE_SPACE": "2",
            "VLLM_CPU_OMP_THREADS_BIND": f"0-{places.threads - 1}",
            "VLLM_NO_USAGE_STATS": "1",
        }
        log = places.works / "logs" / "vllm.txt"
        try:
            with running(command, port=port, ready="/health", log=log, variables=variables) as one:
                yield one
        except NotStarted as error:
            raise Missing(str(error)) from error

    return start
