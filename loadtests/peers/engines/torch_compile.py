"""torch.compile: inductor with frozen weights under autocast to bfloat16, a graph for each shape.

Decoders have a cache of fixed size, without which every step would be a shape of its own.
"""

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
PEERS = tuple(
    Peer("torch.compile bf16", "bfloat16", kinds, environment)
    for kinds, environment in (((TRANSLATION, SPEECH), "peers"), ((IMAGE,), "develop"))
)
SHAPES = 64
"""More than there are, so that none is refused."""


def generator(job: Job) -> Run:
    """Encoder and decoding step compiled, Hugging Face's `generate` between them."""
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoModelForSpeechSeq2Seq

    m2m100.count_from_zero()
    kind = AutoModelForSeq2SeqLM if job.kind == TRANSLATION else AutoModelForSpeechSeq2Seq
    model: Any = kind.from_pretrained(job.folder / HUGGING_FACE).eval()
    model.generation_config.cache_implementation = "static"
    encoder = model.get_encoder()
    for each in (model, encoder):
        each.forward = torch.compile(each.forward, dynamic=False)
    made = generate.translation if job.kind == TRANSLATION else generate.speech
    return made(model, job)


def classifier(job: Job) -> Run:
    import torch

    from models import checkpoint

    compiled = torch.compile(checkpoint.load_model(job.folder)[1], dynamic=False)

    def run(inputs: Inputs) -> NDArray[Any]:
        with torch.inference_mode():
            logits: NDArray[Any] = compiled(torch.from_numpy(inputs["pixels"])).float().numpy()
        return logits

    return run


def load(job: Job) -> Loaded:
    import torch
    import torch._dynamo.config
    import torch._inductor.config

    torch.set_num_threads(job.threads)
    torch._inductor.config.freezing = True
    torch._dynamo.config.cache_size_limit = SHAPES
    compiled = classifier(job) if job.kind == IMAGE else generator(job)

    def run(inputs: Inputs) -> NDArray[Any]:
        with torch.autocast("cpu", torch.bfloat16):
            return compiled(inputs)

    settings = {"freezing": "True", "dynamic": "False", "autocast": "bfloat16"}
    return Loaded(run, settings | {"torch.set_num_threads": str(job.threads)})
