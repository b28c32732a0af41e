"""our Transformer's checkpoint → Hugging Face's M2M100, its positions counted as we count them.

An M2M100 starts behind the padding id, where sine and cosine have moved on already. The table is
no part of a checkpoint but made anew with each model, so how it is made is replaced.
"""

from typing import Any


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
