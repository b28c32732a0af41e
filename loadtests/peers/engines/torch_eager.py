"""PyTorch as it is, without compilation: Hugging Face's `generate`, or our own module."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtests.peers import m2m100
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
    import torch
    from transformers import M2M100ForConditionalGeneration

    m2m100.count_from_zero()
    dtype = getattr(torch, job.variant)
    model = M2M100ForConditionalGeneration.from_pretrained(m2m100.checkpoint(job), dtype=dtype)
    return m2m100.generate(model.eval(), job)


def transcriber(job: Job) -> Run:
    import torch
    from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration
    from transformers import WhisperTokenizerFast as WhisperTokenizer

    folder = job.folder / HUGGING_FACE
    dtype = getattr(torch, job.variant)
    model = WhisperForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    tokenizer = WhisperTokenizer.from_pretrained(folder)
    spoken = {"language": "en", "task": "transcribe"} if job.facts["multilingual"] else {}

    def run(inputs: Inputs) -> NDArray[Any]:
        rate_hz = job.facts["rate_hz"]
        clips = list(inputs["samples"])
        features = extractor(clips, sampling_rate=rate_hz, return_tensors="pt").input_features
        with torch.inference_mode():
            tokens = model.generate(
                features.to(dtype),
                num_beams=1,
                do_sample=False,
                max_new_tokens=job.facts["max_new_tokens"],
                **spoken,
            )
        texts = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return np.array([text.strip() for text in texts])

    return run


def classifier(job: Job) -> Run:
    import torch

    from models import checkpoint

    dtype = getattr(torch, job.variant)
    model = checkpoint.load_model(job.folder)[1].to(dtype)

    def run(inputs: Inputs) -> NDArray[Any]:
        with torch.inference_mode():
            logits: NDArray[Any] = (
                model(torch.from_numpy(inputs["pixels"]).to(dtype)).float().numpy()
            )
        return logits

    return run


def load(job: Job) -> Loaded:
    import torch

    torch.set_num_threads(job.threads)
    settings = {"dtype": job.variant, "torch.set_num_threads": str(job.threads)}
    kinds = {TRANSLATION: translator, SPEECH: transcriber, IMAGE: classifier}
    return Loaded(kinds[job.kind](job), settings)
