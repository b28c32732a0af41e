"""our Transformer's checkpoint → Hugging Face's M2M100, its positions counted as we count them.

An M2M100 starts behind the padding id, where sine and cosine have moved on already. The table is
no part of a checkpoint but made anew with each model, so how it is made is replaced.
"""

from pathlib import Path
from typing import Any

from loadtests.peers.peer import HUGGING_FACE, Inputs, Job, Run, attention_mask


def count_from_zero() -> None:
    """Have every M2M100 of this process begin with the position 0."""
    import torch
    from transformers.models.m2m_100 import modeling_m2m_100

    embedding: Any = modeling_m2m_100.M2M100SinusoidalPositionalEmbedding
    made = embedding.get_embedding

    def shifted(num_embeddings: int, embedding_dim: int, padding_idx: int) -> torch.Tensor:
        table = made(num_embeddings, embedding_dim, None)
        table = torch.roll(table, padding_idx + 1, dims=0)
        table[: padding_idx + 1] = 0
        return table

    embedding.get_embedding = staticmethod(shifted)


def checkpoint(job: Job) -> Path:
    return job.folder / HUGGING_FACE


def generate(model: Any, job: Job) -> Run:
    """Anything with Hugging Face's `generate` → exactly the number of tokens asked for."""
    import torch

    wanted = job.facts["new_tokens"]
    exactly = {"min_new_tokens": wanted, "max_new_tokens": wanted}

    def run(inputs: Inputs) -> Any:
        with torch.inference_mode():
            out = model.generate(
                input_ids=torch.from_numpy(inputs["source"]),
                attention_mask=torch.from_numpy(attention_mask(inputs)),
                num_beams=1,
                do_sample=False,
                **exactly,
            )
        return out[:, 1:].numpy()

    return run
