"""Decoding: greedy is an argmax loop, beam search is the best of all, and neighbours are no matter.

The model is a Transformer of random weights over seven tokens, so that the end comes early here
and late there, and every sequence can be tried.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from models.architectures import transformer
from models.architectures.transformer import PRESETS, Transformer
from models.reference import Reference
from service.decoder import decode
from service.search import Hypothesis, Logits, Rule, Search

VOCAB, END, START = 7, 1, 2
SOURCES = [[3, 4, 5], [6], [5, 5, 3, 4, 6, 0, 3], [4, 3], [0, 6, 2, 5], [3], [2, 2, 6, 6, 6]]
BUDGETS = [9, 4, 12, 1, 7, 12, 5]


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(63)
    config = replace(PRESETS["testing"], vocab=VOCAB, encoder_layers=1, decoder_layers=1)
    model = transformer.build(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.6)  # less certain models end late or never
    return model


def decoded(
    model: Transformer,
    sources: Sequence[Sequence[int]],
    budgets: Sequence[int],
    *,
    prompt: Sequence[int] = (START,),
    beam_size: int = 1,
    length_penalties: Sequence[float] | None = None,
    rule: Rule | None = None,
) -> list[list[Hypothesis]]:
    runner = Reference(transformer.graphs(model))
    lengths = np.array([len(source) for source in sources])
    padded = np.zeros((len(sources), lengths.max()), np.int64)
    for row, source in zip(padded, sources, strict=True):
        row[: len(source)] = source
    encoded = runner.run("encoder", {"source": padded, "source_lengths": lengths})
    penalties = length_penalties or [1.0] * len(sources)
    searches = [
        Search(prompt, END, budget, beam_size, penalty, rule)
        for budget, penalty in zip(budgets, penalties, strict=True)
    ]
    return decode(runner, encoded | {"source_lengths": lengths}, searches)


@torch.inference_mode()
def log_probabilities(
    model: Transformer, source: Sequence[int], tokens: Sequence[Sequence[int]]
) -> np.ndarray:
    """Teacher-forced, (sequences, positions, vocab), by the training forward."""
    of = torch.tensor([source] * len(tokens))
    lengths = torch.tensor([len(source)] * len(tokens))
    logits: np.ndarray = model(of, lengths, torch.tensor(tokens)).log_softmax(-1).numpy()
    return logits


def argmax_loop(
    model: Transformer, source: Sequence[int], budget: int, prompt: Sequence[int] = (START,)
) -> tuple[list[int], float]:
    tokens: list[int] = []
    total = 0.0
    while len(tokens) < budget:
        last = log_probabilities(model, source, [[*prompt, *tokens]])[0, -1]
        total += float(last.max())
        if last.argmax() == END:
            break
        tokens.append(int(last.argmax()))
    return tokens, total


def tokens_of(results: list[list[Hypothesis]]) -> list[list[list[int]]]:
    return [[hypothesis.tokens for hypothesis in hypotheses] for hypotheses in results]


def test_greedy_is_an_argmax_loop_over_the_training_forward(model: Transformer) -> None:
    results = decoded(model, SOURCES, BUDGETS)
    for source, budget, (best, *_) in zip(SOURCES, BUDGETS, results, strict=True):
        tokens, total = argmax_loop(model, source, budget)
        assert best.tokens == tokens
        assert best.log_probability == pytest.approx(total, abs=1e-4)
    ended = [results[i][0].ended for i in range(len(SOURCES))]
    assert any(ended), "the model of this test should end some"
    assert not all(ended), "and not all"


def test_a_longer_prompt_is_fed_before_the_first_choice(model: Transformer) -> None:
    prompt = (START, 4, 0)
    ((best, *_),) = decoded(model, [SOURCES[0]], [6], prompt=prompt)
    assert best.tokens == argmax_loop(model, SOURCES[0], 6, prompt)[0]


@pytest.mark.parametrize("beam_size", [1, 4])
def test_an_item_gets_the_same_alone_and_in_a_mixed_batch(
    model: Transformer, beam_size: int
) -> None:
    """Items of the batch end at different steps and others take their rows."""
    together = decoded(model, SOURCES, BUDGETS, beam_size=beam_size)
    alone = [
        decoded(model, [source], [budget], beam_size=beam_size)[0]
        for source, budget in zip(SOURCES, BUDGETS, strict=True)
    ]
    assert tokens_of(together) == tokens_of(alone)
    backwards = decoded(model, SOURCES[::-1], BUDGETS[::-1], beam_size=beam_size)
    assert tokens_of(backwards[::-1]) == tokens_of(alone)
    for one, other in zip(together, alone, strict=True):
        assert [h.log_probability for h in one] == pytest.approx(
            [h.log_probability for h in other], abs=1e-4
        )


def best_of_all(
    model: Transformer, source: Sequence[int], budget: int, length_penalty: float
) -> tuple[list[int], float]:
    """Every sequence that ends within the budget, scored as the search should score it."""
    found: list[tuple[float, list[int]]] = []
    open_tokens = [token for token in range(VOCAB) if token != END]
    for length in range(budget):
        tried = [list(tokens) for tokens in product(open_tokens, repeat=length)]
        of = log_probabilities(model, source, [[START, *tokens] for tokens in tried])
        for tokens, table in zip(tried, of, strict=True):
            total = sum(table[i, token] for i, token in enumerate([*tokens, END]))
            found.append((float(total) / (length + 1) ** length_penalty, tokens))
    score, tokens = max(found)
    return tokens, score


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 1.7])
@pytest.mark.parametrize("source", SOURCES)
def test_a_wide_beam_finds_the_best_of_all_sequences(
    model: Transformer, source: list[int], length_penalty: float
) -> None:
    budget = 3
    width = (VOCAB - 1) ** (budget - 1)
    ((best, *_),) = decoded(
        model, [source], [budget], beam_size=width, length_penalties=[length_penalty]
    )
    tokens, score = best_of_all(model, source, budget, length_penalty)
    assert best.ranked(length_penalty) == pytest.approx(score, abs=1e-4)
    assert best.tokens == tokens


def test_beam_search_is_at_least_as_sure_as_greedy(model: Transformer) -> None:
    budgets = [12] * len(SOURCES)
    greedy = decoded(model, SOURCES, budgets)
    beam = decoded(model, SOURCES, budgets, beam_size=4)
    for (one, *_), hypotheses in zip(greedy, beam, strict=True):
        if one.ended:
            assert hypotheses[0].score >= one.score - 1e-4
        scores = [hypothesis.score for hypothesis in hypotheses]
        assert scores == sorted(scores, reverse=True)


def test_each_item_has_its_own_length_penalty(model: Transformer) -> None:
    penalties = [0.0, 2.0, 1.0, 0.5, 0.0, 2.0, 1.5]
    together = decoded(model, SOURCES, BUDGETS, beam_size=4, length_penalties=penalties)
    for source, budget, penalty, one in zip(SOURCES, BUDGETS, penalties, together, strict=True):
        alone = decoded(model, [source], [budget], beam_size=4, length_penalties=[penalty])
        assert tokens_of([one]) == tokens_of(alone)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_each_item_stops_at_its_own_bound(model: Transformer, beam_size: int) -> None:
    def never_end(logits: Logits, _: list[list[int]]) -> None:
        logits[:, END] = -np.inf

    results = decoded(model, SOURCES, BUDGETS, beam_size=beam_size, rule=never_end)
    assert [len(best.tokens) for best, *_ in results] == BUDGETS
    assert not any(best.ended for best, *_ in results)


def test_the_rule_sees_what_was_generated_and_decides_what_may_come(model: Transformer) -> None:
    def count_up(logits: Logits, generated: list[list[int]]) -> None:
        for row, tokens in zip(logits, generated, strict=True):
            wanted = 3 + len(tokens) if len(tokens) < 3 else END
            row[np.arange(VOCAB) != wanted] = -np.inf

    results = decoded(model, SOURCES, [9] * len(SOURCES), rule=count_up)
    assert [best.tokens for best, *_ in results] == [[3, 4, 5]] * len(SOURCES)
    assert all(best.log_probability == pytest.approx(0) for best, *_ in results)
