"""The Transformer: it learns, padding is nothing to it, and steps are its training forward."""

from pathlib import Path

import numpy as np
import torch

from models.architectures import transformer
from models.architectures.transformer import PRESETS, RECIPES, Transformer
from models.catalogue import architecture
from models.checkpoint import load_model
from models.datasets import reversal
from models.reference import Reference
from models.train import train
from service.decoder import decode
from service.search import Search

TESTING = PRESETS["testing"]


def random_model() -> Transformer:
    torch.manual_seed(3)
    return transformer.build(TESTING).eval()


def random_tokens(*shape: int) -> torch.Tensor:
    return torch.randint(TESTING.vocab, shape)


@torch.inference_mode()
def test_steps_give_the_logits_of_the_teacher_forced_forward() -> None:
    model = random_model()
    source, target = random_tokens(3, 9), random_tokens(3, 6)
    source_lengths = torch.tensor([9, 1, 5])
    expected = model(source, source_lengths, target)
    memories = model.encode(source, source_lengths)
    shape = (3, TESTING.heads, 8, TESTING.width // TESTING.heads)
    caches = [(torch.randn(shape), torch.randn(shape)) for _ in model.decoder]
    for t in range(6):
        logits, kept, caches = model.step(
            target[:, t : t + 1], torch.tensor([t] * 3), source_lengths, memories, caches
        )
        torch.testing.assert_close(kept, memories)
        torch.testing.assert_close(logits, expected[:, t])


@torch.inference_mode()
def test_rows_of_one_step_may_be_at_different_positions() -> None:
    model = random_model()
    source, target = random_tokens(3, 9), random_tokens(3, 7)
    source_lengths, past_lengths = torch.tensor([4, 9, 2]), torch.tensor([0, 6, 3])
    expected = model(source, source_lengths, target)
    memories = model.encode(source, source_lengths)
    shape = (3, TESTING.heads, 8, TESTING.width // TESTING.heads)
    caches = [(torch.zeros(shape), torch.zeros(shape)) for _ in model.decoder]
    for t in range(7):
        # A row that has reached its position repeats it, which writes what is there already.
        at = torch.minimum(past_lengths, torch.tensor(t))
        tokens = target.gather(1, at[:, None])
        logits, _, caches = model.step(tokens, at, source_lengths, memories, caches)
    torch.testing.assert_close(logits, expected[torch.arange(3), past_lengths])


@torch.inference_mode()
def test_padding_of_the_source_changes_nothing() -> None:
    model = random_model()
    source, target = random_tokens(2, 5), random_tokens(2, 4)
    lengths = torch.tensor([5, 3])
    padded = torch.cat([source, random_tokens(2, 6)], dim=1)
    torch.testing.assert_close(model(padded, lengths, target), model(source, lengths, target))
    alone = model(source[1:, :3], lengths[1:], target[1:])
    torch.testing.assert_close(model(source, lengths, target)[1:], alone)


@torch.inference_mode()
def test_a_logit_does_not_see_the_tokens_after_it() -> None:
    model = random_model()
    source, target = random_tokens(1, 5), random_tokens(1, 6)
    changed = target.clone()
    changed[:, 3:] = (changed[:, 3:] + 1) % TESTING.vocab
    lengths = torch.tensor([5])
    before, after = model(source, lengths, target), model(source, lengths, changed)
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert (before[:, 3:] - after[:, 3:]).abs().max() > 1e-3


@torch.inference_mode()
def test_score_counts_target_tokens_and_no_padding() -> None:
    batch = reversal.Reversal(batches=1, batch_size=4, seed=(0,)).batch(0)
    sums = transformer.score(random_model(), batch)
    assert sums["count"] == int(batch["source_lengths"].sum())
    assert 0 <= sums["correct"] <= sums["count"]


def test_it_learns_to_reverse_digits_and_decodes_what_it_learnt(tmp_path: Path) -> None:
    train(architecture("transformer"), RECIPES["smoke"], data_dir=tmp_path, run_dir=tmp_path)
    _, model = load_model(tmp_path)
    batch = reversal.load(tmp_path, "test", run_dir=tmp_path, seed=1, options={}).batch(0)
    runner = Reference(transformer.graphs(model))
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
