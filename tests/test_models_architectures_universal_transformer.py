"""The Universal Transformer: it learns, each row thinks for itself, steps are its forward."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.architectures import universal_transformer
from models.architectures.universal_transformer import (
    PRESETS,
    RECIPES,
    Caches,
    UniversalTransformer,
)
from models.catalogue import architecture
from models.checkpoint import load_model
from models.datasets import reversal
from models.reference import Reference
from models.train import train
from service.decoder import decode
from service.search import Search

TESTING = PRESETS["testing"]


def random_model(bias: float = -0.5, max_steps: int = TESTING.max_steps) -> UniversalTransformer:
    """Positions halt sooner, the higher the bias is."""
    torch.manual_seed(3)
    config = replace(TESTING, max_steps=max_steps, halting_threshold=0.8)
    model = universal_transformer.build(config).eval()
    with torch.no_grad():
        for halting in (model.source_halting, model.target_halting):
            halting.bias.fill_(bias)
            halting.weight.mul_(5)
    return model


def random_tokens(*shape: int) -> torch.Tensor:
    return torch.randint(TESTING.vocab, shape)


def caches(model: UniversalTransformer, batch: int) -> Caches:
    config = model.config
    shape = (batch, config.heads * config.max_steps, 8, config.width // config.heads)
    return torch.randn(shape), torch.randn(shape)


@torch.inference_mode()
def test_steps_give_the_logits_of_the_teacher_forced_forward() -> None:
    model = random_model()
    source, target = random_tokens(3, 9), random_tokens(3, 6)
    source_lengths = torch.tensor([9, 1, 5])
    of_source, of_target = model.thoughts(source, source_lengths, target)
    # Some halt early, so that others see what has halted.
    assert of_target.steps.min() < of_target.steps.max() == TESTING.max_steps
    expected = model.project(of_target.output)
    memory, cache = model.memory(of_source), caches(model, 3)
    for t in range(6):
        past = torch.tensor([t] * 3)
        logits, cache = model.step(target[:, t : t + 1], past, source_lengths, memory, cache)
        torch.testing.assert_close(logits, expected[:, t])


@torch.inference_mode()
def test_a_row_takes_no_notice_of_how_long_others_think() -> None:
    model = random_model()
    source, target = random_tokens(4, 9), random_tokens(4, 6)
    lengths = torch.tensor([9, 1, 5, 7])
    together = model(source, lengths, target)
    for row in range(4):
        alone = model(source[[row], : lengths[row]], lengths[[row]], target[[row]])
        torch.testing.assert_close(together[[row]], alone)


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


def test_a_step_more_has_no_weights_more() -> None:
    sizes = {sum(p.numel() for p in random_model(max_steps=n).parameters()) for n in (1, 6)}
    assert len(sizes) == 1


def test_pondering_costs() -> None:
    batch = reversal.Reversal(batches=1, batch_size=4, seed=(0,)).batch(0)
    long, short = random_model(bias=-9), random_model(bias=9)
    with torch.inference_mode():
        source, _ = long.thoughts(batch["source"], batch["source_lengths"], batch["target"])
    assert set(source.steps[:, 0].tolist()) == {TESTING.max_steps}
    cost = universal_transformer.PONDER_COST
    free = torch.tensor(universal_transformer.loss(long, batch).item())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(universal_transformer, "PONDER_COST", 0.0)
        difference = free - universal_transformer.loss(long, batch).item()
        short_free = universal_transformer.loss(short, batch).item()
    # A step and what is left of the last, on either side.
    torch.testing.assert_close(difference, torch.tensor(2 * cost * (TESTING.max_steps + 1)))
    paid = universal_transformer.loss(short, batch).item() - short_free
    assert 2 * cost <= paid < difference


def test_it_learns_to_reverse_digits_and_decodes_what_it_learnt(tmp_path: Path) -> None:
    of, recipe = architecture("universal_transformer"), RECIPES["smoke-universal"]
    train(of, recipe, data_dir=tmp_path, run_dir=tmp_path)
    _, model = load_model(tmp_path)
    batch = reversal.load(tmp_path, "test", run_dir=tmp_path, seed=1, options={}).batch(0)
    runner = Reference(universal_transformer.graphs(model))
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
