"""Attention is the softmax of its definition, and a cache changes nothing but the order of work."""

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.attention import attend, attend_cached, attend_memory, join_heads
from models.layers import EncoderLayer, SelfAttention, sinusoidal_positions


def by_definition(query: Tensor, key: Tensor, value: Tensor, keep: Tensor) -> Tensor:
    """softmax(Q K^T / sqrt(head_dim)) V, one query at a time, over the kept keys only."""
    out = torch.empty_like(query)
    batch, heads, tgt_len, head_dim = query.shape
    keep = keep.expand(batch, heads, tgt_len, key.shape[2])
    for b in range(batch):
        for h in range(heads):
            for t in range(tgt_len):
                kept = keep[b, h, t]
                scores = key[b, h, kept] @ query[b, h, t] / math.sqrt(head_dim)
                weights = scores.exp() / scores.exp().sum()
                out[b, h, t] = weights @ value[b, h, kept]
    return out


def random_heads(batch: int, heads: int, tgt_len: int, src_len: int, head_dim: int) -> list[Tensor]:
    lengths = (tgt_len, src_len, src_len)
    return [torch.randn(batch, heads, length, head_dim) for length in lengths]


few = st.integers(1, 4)
shapes = st.tuples(few, few, st.integers(1, 7), st.integers(1, 9), st.integers(1, 16))
"""batch, heads, tgt_len, src_len, head_dim"""
seeds = st.integers(0, 2**32)


@given(shape=shapes, seed=seeds)
@settings(deadline=None)
def test_attend_is_its_definition(shape: tuple[int, ...], seed: int) -> None:
    torch.manual_seed(seed)
    query, key, value = random_heads(*shape)
    everything = torch.ones(1, 1, 1, shape[3], dtype=torch.bool)
    torch.testing.assert_close(
        attend(query, key, value), by_definition(query, key, value, everything)
    )


@given(shape=shapes, seed=seeds, shared=st.tuples(*[st.booleans()] * 3))
@settings(deadline=None)
def test_attend_sees_the_kept_keys_only(
    shape: tuple[int, ...], seed: int, shared: tuple[bool, ...]
) -> None:
    """A mask may be the same for all rows, all heads, all queries."""
    torch.manual_seed(seed)
    query, key, value = random_heads(*shape)
    sizes = [1 if same else size for same, size in zip(shared, shape, strict=False)]
    keep = torch.rand(*sizes, shape[3]) < 0.5
    keep[..., torch.randint(shape[3], ())] = True  # a query that sees nothing has no answer
    expected = by_definition(query, key, value, keep)
    torch.testing.assert_close(attend(query, key, value, mask=keep), expected)
    added = torch.zeros(keep.shape).masked_fill(~keep, -torch.inf).expand(*sizes[:2], shape[2], -1)
    torch.testing.assert_close(attend(query, key, value, mask=added), expected)


def multi_head_by_definition(layer: SelfAttention, x: Tensor, keep: Tensor) -> Tensor:
    """Concat(head_1, ..., head_h) W, each head with projections of its own (3.2.2)."""
    width = layer.query_key_value.in_features
    heads = []
    for head in range(layer.heads):
        of = slice(head * width // layer.heads, (head + 1) * width // layer.heads)
        parts = [
            x @ weight[of].T + bias[of]
            for weight, bias in zip(
                layer.query_key_value.weight.chunk(3),
                layer.query_key_value.bias.chunk(3),
                strict=True,
            )
        ]
        heads.append(by_definition(*(part[:, None] for part in parts), keep)[:, 0])
    return torch.cat(heads, -1) @ layer.out.weight.T + layer.out.bias


@given(batch=few, heads=few, length=st.integers(1, 7), head_dim=few, seed=seeds)
@settings(deadline=None)
def test_multi_head_self_attention_is_its_definition(
    batch: int, heads: int, length: int, head_dim: int, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = SelfAttention(heads * head_dim, heads)
    x = torch.randn(batch, length, heads * head_dim)
    keep = torch.rand(batch, 1, length, length) < 0.5
    keep[..., 0] = True
    with torch.no_grad():
        expected = multi_head_by_definition(layer, x, keep)
        torch.testing.assert_close(layer(x, mask=keep), expected, rtol=1e-5, atol=1e-5)


@given(length=st.integers(2, 9), seed=seeds)
@settings(deadline=None)
def test_without_positions_a_layer_permutes_what_it_gives_as_what_it_takes(
    length: int, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = EncoderLayer(12, 3, 24, dropout=0.0).eval()
    x, order = torch.randn(2, length, 12), torch.randperm(length)
    with torch.no_grad():
        torch.testing.assert_close(layer(x[:, order]), layer(x)[:, order], rtol=1e-5, atol=1e-5)


def test_with_positions_a_layer_does_not() -> None:
    layer = EncoderLayer(12, 3, 24, dropout=0.0).eval()
    x, places, order = torch.randn(2, 7, 12), sinusoidal_positions(7, 12), torch.randperm(7)
    with torch.no_grad():
        there, here = layer(x[:, order] + places), layer(x + places)[:, order]
    assert (there - here).abs().max() > 1e-3


def test_causal_attend_sees_the_past_and_itself() -> None:
    query, key, value = random_heads(2, 2, 6, 6, 4)
    past = torch.ones(6, 6, dtype=torch.bool).tril()
    torch.testing.assert_close(
        attend(query, key, value, causal=True), by_definition(query, key, value, past)
    )


def test_without_positions_the_order_of_the_keys_does_not_matter() -> None:
    query, key, value = random_heads(2, 2, 3, 7, 4)
    order = torch.randperm(7)
    torch.testing.assert_close(
        attend(query, key[:, :, order], value[:, :, order]), attend(query, key, value)
    )
    turned = torch.randperm(3)
    torch.testing.assert_close(
        attend(query[:, :, turned], key, value), attend(query, key, value)[:, :, turned]
    )


def side_by_side(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.cat([join_heads(part) for part in (query, key, value)], -1)


def test_steps_over_a_cache_are_causal_attention() -> None:
    query, key, value = random_heads(2, 3, 5, 5, 4)
    past_key = past_value = torch.zeros(2, 3, 8, 4)
    steps = []
    for t in range(5):
        here = slice(t, t + 1)
        out, past_key, past_value = attend_cached(
            side_by_side(query[:, :, here], key[:, :, here], value[:, :, here]),
            past_key=past_key,
            past_value=past_value,
            past_lengths=torch.tensor([t, t]),
        )
        steps.append(out)
    whole = join_heads(attend(query, key, value, causal=True))
    torch.testing.assert_close(torch.cat(steps, 1), whole)
    torch.testing.assert_close(past_key[:, :, :5], key)
    torch.testing.assert_close(past_value[:, :, :5], value)


def test_each_row_of_a_cached_step_has_its_own_past() -> None:
    lengths = [0, 3, 6]
    query, key, value = random_heads(3, 2, 1, 1, 4)
    # What lies beyond a row's length is left over from other rows and must not be seen.
    past_key, past_value = torch.randn(3, 2, 7, 4), torch.randn(3, 2, 7, 4)
    before = past_key.clone()
    out, present_key, present_value = attend_cached(
        side_by_side(query, key, value),
        past_key=past_key,
        past_value=past_value,
        past_lengths=torch.tensor(lengths),
    )
    for row, length in enumerate(lengths):
        keys = torch.cat([past_key[row, :, :length], key[row]], 1)[None]
        values = torch.cat([past_value[row, :, :length], value[row]], 1)[None]
        expected = join_heads(attend(query[row : row + 1], keys, values))
        torch.testing.assert_close(out[row : row + 1], expected)
        torch.testing.assert_close(present_key[row, :, length], key[row, :, 0])
        torch.testing.assert_close(present_value[row, :, length], value[row, :, 0])
        others = [position for position in range(7) if position != length]
        torch.testing.assert_close(present_key[row][:, others], past_key[row][:, others])
    assert torch.equal(past_key, before)


def test_a_step_sees_of_each_source_what_it_has() -> None:
    query, key, value = random_heads(3, 2, 1, 7, 4)
    lengths = [7, 1, 4]
    out, same_key, same_value = attend_memory(
        join_heads(query), key=key, value=value, lengths=torch.tensor(lengths)
    )
    for row, length in enumerate(lengths):
        here = slice(row, row + 1)
        seen = attend(query[here], key[here, :, :length], value[here, :, :length])
        torch.testing.assert_close(out[here], join_heads(seen))
    assert torch.equal(same_key, key)
    assert torch.equal(same_value, value)
