"""queries, keys, values → attended values, in time linear in the length and in a fixed memory.

Source: Katharopoulos et al. 2020, "Transformers are RNNs: Fast Autoregressive Transformers with
Linear Attention". With a feature map phi in place of the exponential, equation 5:
phi(q) Σ phi(k) v^T / phi(q) Σ phi(k). The sums do not depend on the query, so a whole sequence
needs them once (`summed`), and a decoder adds one key and value to them at each step.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from models.layers import Heads

Sums = Float[Tensor, "batch heads head_dim value_dim_and_one"]
"""Over the keys: of phi(k) v^T, and in the last column of phi(k)."""
EPSILON = 1e-6
CHUNK = 64
"""Positions that `attend_causal` compares pair by pair; more make larger matrices and more work."""


def feature_map(x: Heads) -> Heads:
    """elu(x) + 1 (equation 7): positive, so that weights are."""
    return functional.elu(x) + 1


def with_one(value: Heads) -> Float[Tensor, "batch heads len value_dim_and_one"]:
    """The ones count the weights: numerator and denominator are one product."""
    return functional.pad(value, (0, 1), value=1.0)


def summed(key: Heads, value: Heads, *, keep: Bool[Tensor, "batch 1 len 1"] | None = None) -> Sums:
    """What any query needs to know of the keys and values; those not kept count nothing."""
    features = feature_map(key)
    if keep is not None:
        features = features * keep
    return features.transpose(2, 3) @ with_one(value)


def divided(weighed: Float[Tensor, "*axes value_dim_and_one"]) -> Float[Tensor, "*axes value_dim"]:
    return weighed[..., :-1] / (weighed[..., -1:] + EPSILON)


def attend(query: Heads, sums: Sums) -> Heads:
    """Each query over all keys that are summed."""
    return divided(feature_map(query) @ sums)


def attention_weights(
    query: Heads, key: Heads, *, keep: Bool[Tensor, "batch 1 len 1"] | None = None
) -> Float[Tensor, "batch heads tgt_len len"]:
    """What `attend` multiplies the values with: what comes of them where each is a unit vector."""
    unit = torch.eye(key.shape[2], dtype=key.dtype, device=key.device)
    return attend(query, summed(key, unit.expand(*key.shape[:2], -1, -1), keep=keep))


def attend_causal(query: Heads, key: Heads, value: Heads) -> Heads:
    """Each position over itself and those before it, all positions at once, as in training.

    Within a chunk it is a masked product of pairs, and what is before a chunk comes as its sums: so
    work and memory are linear in the length, and no loop runs over positions.
    """
    length = query.shape[2]
    chunk = min(length, CHUNK)

    def chunks(x: Tensor) -> Tensor:
        return functional.pad(x, (0, 0, 0, -length % chunk)).unflatten(2, (-1, chunk))  # type: ignore[no-untyped-call,no-any-return]

    queries, keys = chunks(feature_map(query)), chunks(feature_map(key))
    values = chunks(with_one(value))
    through = (keys.transpose(3, 4) @ values).cumsum(2)
    before = functional.pad(through[:, :, :-1], (0, 0, 0, 0, 1, 0))
    within = (queries @ keys.transpose(3, 4)).tril()
    weighed = queries @ before + within @ values
    return divided(weighed.flatten(2, 3)[:, :, :length])


def attend_step(query: Heads, key: Heads, value: Heads, *, sums: Sums) -> tuple[Heads, Sums]:
    """One position over itself and the sums of those before it, as in decoding; and the new sums.

    That is equations 18 to 20: a recurrent network whose state are the sums.
    """
    after = sums + summed(key, value)
    return attend(query, after), after
