"""PyTorch as it is, without compilation: Hugging Face's `generate` over the checkpoint."""

from loadtests.peers import m2m100
from loadtests.peers.peer import TRANSLATION, Job, Loaded, Peer

PACKAGES = ("torch", "transformers")
PEERS = (
    Peer("torch eager fp32", "float32", (TRANSLATION,)),
    Peer("torch eager bf16", "bfloat16", (TRANSLATION,)),
)


def load(job: Job) -> Loaded:
    import torch
    from transformers import M2M100ForConditionalGeneration

    torch.set_num_threads(job.threads)
    m2m100.count_from_zero()
    dtype = getattr(torch, job.variant)
    model = M2M100ForConditionalGeneration.from_pretrained(m2m100.checkpoint(job), dtype=dtype)
    settings = {"dtype": job.variant, "torch.set_num_threads": str(job.threads)}
    return Loaded(m2m100.generate(model.eval(), job), settings)
