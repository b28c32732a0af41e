"""Attention is the softmax of its definition, and a cache changes nothing but the order of work."""

import math

import pytest
import torch
from torch import Tensor

from models.attention import attend, attend_cached, attend_memory, join_heads


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
    torch.manual_seed(batch * 100 + src_len)
    lengths = (tgt_len, src_len, src_len)
    return [torch.randn(batch, heads, length, head_dim) for length in lengths]


SHAPES = [(1, 1, 1, 1, 1), (2, 3, 4, 5, 8), (3, 1, 7, 2, 5), (1, 4, 2, 9, 16)]


@pytest.mark.parametrize("shape", SHAPES)
def test_attend_is_its_definition(shape: tuple[int, ...]) -> None:
    query, key, value = random_heads(*shape)
    everything = torch.ones(1, 1, 1, shape[3], dtype=torch.bool)
    torch.testing.assert_close(
        attend(query, key, value), by_definition(query, key, value, everything)
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("broadcast", ["keys", "queries and keys", "heads too"])
def test_attend_sees_the_kept_keys_only(shape: tuple[int, ...], broadcast: str) -> None:
    query, key, value = random_heads(*shape)
    batch, heads, tgt_len, src_len, _ = shape
    sizes = {
        "keys": (batch, 1, 1, src_len),
        "queries and keys": (batch, 1, tgt_len, src_len),
        "heads too": (batch, heads, tgt_len, src_len),
    }
    keep = torch.rand(sizes[broadcast]) < 0.5
    keep[..., 0] = True  # a query that sees nothing has no answer
    torch.testing.assert_close(
        attend(query, key, value, mask=keep), by_definition(query, key, value, keep)
    )


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
