"""OpenVINO GenAI's WhisperPipeline: the checkpoint exported by Optimum Intel's own command."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers.peer import HUGGING_FACE, SPEECH, Inputs, Job, Loaded, Peer

PACKAGES = ("openvino-genai", "openvino", "optimum-intel", "nncf")
PEERS = (Peer("openvino-genai int8", "int8", (SPEECH,)),)


def exported(job: Job) -> Path:
    folder = job.folder / f"openvino-genai-{job.variant}"
    if not folder.exists():
        source, partial = job.folder / HUGGING_FACE, folder.with_suffix(".partial")
        command = [str(Path(sys.executable).with_name("optimum-cli")), "export", "openvino"]
        command += ["--model", str(source), "--task", "automatic-speech-recognition-with-past"]
        command += ["--weight-format", job.variant, str(partial)]
        subprocess.run(command, check=True)
        # The export keeps only what its transformers knows of.
        shutil.copy(source / "generation_config.json", partial)
        partial.rename(folder)
    return folder


def load(job: Job) -> Loaded:
    from openvino_genai import WhisperPipeline

    threads = {"INFERENCE_NUM_THREADS": job.threads}
    pipeline = WhisperPipeline(exported(job), "CPU", **threads)
    options: dict[str, Any] = {"max_new_tokens": job.facts["max_new_tokens"]}
    if job.facts["multilingual"]:
        options |= {"language": "<|en|>", "task": "transcribe"}

    def run(inputs: Inputs) -> NDArray[Any]:
        # The pipeline takes one recording at a time.
        found = (pipeline.generate(samples, **options) for samples in inputs["samples"])
        return np.array([str(each.texts[0]).strip() for each in found])

    return Loaded(run, {"weights": job.variant, **{k: str(v) for k, v in threads.items()}})
