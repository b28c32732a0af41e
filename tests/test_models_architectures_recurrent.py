"""Translation models with states of fixed size: what is served in steps is what was learnt."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from models.architectures.seq2seq_attention import AdditiveAttention, reversed_rows
from models.catalogue import architecture
from models.checkpoint import load_model
from models.datasets import reversal
from models.recipe import Recipe
from models.reference import Reference
from models.train import train
from service.decoder import decode
from service.search import Search

LEARNING_RATES = {"linear_attention": 1e-2, "seq2seq_attention": 1e-2}
every = pytest.mark.parametrize("name", sorted(LEARNING_RATES))


def random_model(name: str, **changes: Any) -> nn.Module:
    torch.manual_seed(3)
    of = architecture(name)
    return of.build(replace(of.presets["testing"], **changes)).eval()


def graphs(name: str, model: nn.Module) -> Reference:
    return Reference(architecture(name).graphs(model))


def tokens(*shape: int) -> torch.Tensor:
    return torch.randint(64, shape)


@every
@torch.inference_mode()
def test_steps_give_the_logits_of_the_teacher_forced_forward(name: str) -> None:
    model = random_model(name)
    runner = graphs(name, model)
    source, target, lengths = tokens(3, 9), tokens(3, 100), torch.tensor([9, 1, 5])
    expected = model(source, lengths, target)
    known = {"source_lengths": lengths.numpy()}
    known |= runner.run("encoder", {"source": source.numpy()} | known)
    sizes = {key: array.shape for key, array in known.items() if key.startswith("state_")}
    assert sizes
    for t in range(target.shape[1]):
        fed = {"tokens": target[:, t : t + 1].numpy(), "past_lengths": np.full(3, t)}
        after = runner.run("decoder", known | fed)
        torch.testing.assert_close(torch.from_numpy(after["logits"]), expected[:, t])
        known |= {key: after[f"next_{key}"] for key in sizes}
        assert {key: known[key].shape for key in sizes} == sizes


@every
@torch.inference_mode()
def test_padding_of_the_source_changes_nothing(name: str) -> None:
    model = random_model(name)
    source, target, lengths = tokens(2, 5), tokens(2, 4), torch.tensor([5, 3])
    padded = torch.cat([source, tokens(2, 6)], dim=1)
    torch.testing.assert_close(model(padded, lengths, target), model(source, lengths, target))
    alone = model(source[1:, :3], lengths[1:], target[1:])
    torch.testing.assert_close(model(source, lengths, target)[1:], alone)


@every
@torch.inference_mode()
def test_a_logit_does_not_see_the_tokens_after_it(name: str) -> None:
    model = random_model(name)
    source, target, lengths = tokens(1, 5), tokens(1, 6), torch.tensor([5])
    changed = target.clone()
    changed[:, 3:] = (changed[:, 3:] + 1) % 64
    before, after = model(source, lengths, target), model(source, lengths, changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert (before[:, 3:] - after[:, 3:]).abs().max() > 1e-3


@every
def test_it_learns_to_reverse_digits_and_decodes_what_it_learnt(name: str, tmp_path: Path) -> None:
    recipe = Recipe(
        preset="testing",
        dataset="reversal",
        data={"batch_size": 64},
        steps=300,
        learning_rate=LEARNING_RATES[name],
        warmup_steps=20,
        bf16=False,
        evaluate_every_steps=150,
    )
    train(architecture(name), recipe, data_dir=tmp_path, run_dir=tmp_path)
    _, model = load_model(tmp_path)
    batch = reversal.load(tmp_path, "test", run_dir=tmp_path, seed=1, options={}).batch(0)
    runner = graphs(name, model)
    lengths = batch["source_lengths"].numpy()
    encoded = runner.run("encoder", {"source": batch["source"].numpy(), "source_lengths": lengths})
    answers = decode(
        runner,
        encoded | {"source_lengths": lengths.copy()},  # decoding writes it over
        [Search([reversal.START], reversal.END, 12)] * len(lengths),
    )
    right = [
        hypotheses[0].tokens == source[: length - 1].tolist()[::-1]
        for hypotheses, source, length in zip(answers, batch["source"], lengths, strict=True)
    ]
    assert np.mean(right) >= 0.95


def test_rows_are_reversed_within_their_lengths() -> None:
    rows = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7], [8, 0, 0, 0]])[:, :, None].float()
    back = reversed_rows(rows, torch.tensor([3, 4, 1]))[:, :, 0]
    assert back.tolist() == [[3, 2, 1, 0], [7, 6, 5, 4], [8, 0, 0, 0]]
    torch.testing.assert_close(reversed_rows(back[:, :, None], torch.tensor([3, 4, 1])), rows)


@torch.inference_mode()
def test_additive_attention_scores_by_a_small_network() -> None:
    attention = AdditiveAttention(4, 6, 5)
    state, annotations = torch.randn(2, 4), torch.randn(2, 3, 6)
    keep = torch.tensor([[True, True, True], [True, True, False]])
    keys = attention.key(annotations)
    weights = attention.weights(state, keys, keep)[:, 0]
    for row, count in ((0, 3), (1, 2)):
        scores = [
            attention.score(torch.tanh(attention.query(state[row]) + keys[row, j]))
            for j in range(count)
        ]
        torch.testing.assert_close(weights[row, :count], torch.cat(scores).softmax(0))
    assert weights[1, 2] == 0
    context = attention(state, keys, annotations, keep)
    torch.testing.assert_close(context, torch.einsum("bj,bjd->bd", weights, annotations))
