"""PyTorch as it is, without compilation: Hugging Face's `generate`, or our own module."""

from typing import Any

from numpy.typing import NDArray

from loadtests.peers import generate, m2m100
from loadtests.peers.peer import (
    HUGGING_FACE,
    IMAGE,
    SPEECH,
    TRANSLATION,
    Inputs,
    Job,
    Loaded,
    Peer,
    Run,
)

PACKAGES = ("torch", "transformers")
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
PEERS = tuple(
    Peer(f"torch eager {short}", dtype, kinds, environment)
    for short, dtype in DTYPES.items()
    for kinds, environment in (((TRANSLATION, SPEECH), "peers"), ((IMAGE,), "develop"))
)


def translator(job: Job) -> Run:
    from transformers import AutoModelForSeq2SeqLM as Model

    m2m100.count_from_zero()
    model = Model.from_pretrained(job.folder / HUGGING_FACE, dtype=job.variant)
    return generate.translation(model.eval(), job)


def transcriber(job: Job) -> Run:
    from transformers import WhisperForConditionalGeneration as Model

    model = Model.from_pretrained(job.folder / HUGGING_FACE, dtype=job.variant)
    return generate.speech(model.eval(), job, dtype=job.variant)


def classifier(job: Job) -> Run:
    import torch

    from models import checkpoint

    dtype = getattr(torch, job.variant)
    model = checkpoint.load_model(job.folder)[1].to(dtype)

    def run(inputs: Inputs) -> NDArray[Any]:
        with torch.inference_mode():
            logits = model(torch.from_numpy(inputs["pixels"]).to(dtype))
            found: NDArray[Any] = logits.float().numpy()
        return found

    return run


KINDS = {TRANSLATION: translator, SPEECH: transcriber, IMAGE: classifier}


def load(job: Job) -> Loaded:
    import torch

    torch.set_num_threads(job.threads)
    settings = {"dtype": job.variant, "torch.set_num_threads": str(job.threads)}
    return Loaded(KINDS[job.kind](job), settings)
