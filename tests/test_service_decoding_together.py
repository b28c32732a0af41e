"""Items join and leave a decoding batch at any step, and each gets what it gets alone.

What a row keeps between steps is a cache that grows, a state of fixed size, or both.
"""

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.catalogue import architecture
from models.reference import Reference
from service.contract import Arrays, Tensor
from service.decoder import Decoder, Encoded, decode
from service.search import Beam, Hypothesis, Logits, Search
from service.session import Runner

VOCAB, END, START = 7, 1, 2
ROWS = 12
RECURRENT = "seq2seq_attention"


@pytest.fixture(scope="module", params=["transformer", "seq2seq_attention", "linear_attention"])
def model(request: pytest.FixtureRequest) -> Runner:
    torch.manual_seed(63)
    of = architecture(request.param)
    layers = {"encoder_layers": 1, "decoder_layers": 1} if request.param != RECURRENT else {}
    made = of.build(replace(of.presets["testing"], vocab=VOCAB, **layers)).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(1.6)  # less certain models end late or never
    return Reference(of.graphs(made))


def searches(count: int, seed: int) -> list[Search]:
    """Prompts, widths, bounds and sources of many lengths."""
    rng = random.Random(seed)
    return [
        Search(
            [START, *(rng.randrange(3, VOCAB) for _ in range(rng.randrange(3)))],
            END,
            rng.randint(1, 12),
            rng.choice([1, 1, 2, 4]),
            rng.choice([0.0, 1.0, 1.5]),
            inputs={
                "source": np.array([rng.randrange(3, VOCAB) for _ in range(rng.randint(1, 9))])
            },
        )
        for _ in range(count)
    ]


def encoded(model: Runner, batch: list[Search]) -> Encoded:
    sources = [search.inputs["source"] for search in batch]
    lengths = np.array([len(source) for source in sources])
    padded = np.zeros((len(sources), lengths.max()), np.int64)
    for row, source in zip(padded, sources, strict=True):
        row[: len(source)] = source
    given = {"source": padded, "source_lengths": lengths}
    return model.run("encoder", given) | {"source_lengths": lengths}


def alone(model: Runner, search: Search) -> list[Hypothesis]:
    (found,) = decode(model, encoded(model, [search]), [search])
    return found


def same(one: list[Hypothesis], other: list[Hypothesis]) -> None:
    assert [each.tokens for each in one] == [each.tokens for each in other]
    assert [each.log_probability for each in one] == pytest.approx(
        [each.log_probability for each in other], abs=1e-4
    )


@pytest.mark.parametrize("seed", range(4))
def test_items_that_join_and_leave_at_any_step_get_what_they_get_alone(
    model: Runner, seed: int
) -> None:
    rng = random.Random(seed)
    wanted = searches(25, seed)
    waiting = list(wanted)
    decoder = Decoder(model, rows=ROWS, max_len=15)
    found: dict[Search, list[Hypothesis]] = {}
    dropped: list[Search] = []
    while waiting or decoder.live:
        batch: list[Search] = []
        while waiting and rng.random() < 0.7:
            if waiting[0].beam_size + sum(each.beam_size for each in batch) > decoder.room:
                break
            batch.append(waiting.pop(0))
        if batch:
            decoder.admit(batch, encoded(model, batch))
        if not decoder.live:
            continue
        if rng.random() < 0.1:
            leaving = rng.choice(decoder.live)
            decoder.drop([leaving])
            dropped.append(leaving.search)
        if decoder.live:
            found |= {beam.search: beam.result() for beam in decoder.step()}
    assert set(found) | set(dropped) == set(wanted)
    assert len(found) > 15
    for search, hypotheses in found.items():
        same(hypotheses, alone(model, search))


def test_rows_are_given_back(model: Runner) -> None:
    decoder = Decoder(model, rows=ROWS, max_len=15)
    widths = zip(searches(3, 5), (4, 1, 2), strict=True)
    batch = [replace(search, beam_size=width) for search, width in widths]
    first, second, third = decoder.admit(batch, encoded(model, batch))
    assert decoder.room == ROWS - 7
    decoder.drop([second])
    assert (decoder.room, decoder.live) == (ROWS - 6, [first, third])
    decoder.drop([first, third])
    assert (decoder.room, decoder.live) == (ROWS, [])


def test_the_logits_behind_the_first_token_are_shown_once_and_only_its_own(model: Runner) -> None:
    seen: list[tuple[int, Logits]] = []
    batch = [
        replace(search, first=lambda logits, index=index: seen.append((index, logits.copy())))
        for index, search in enumerate(searches(4, 9))
    ]
    decode(model, encoded(model, batch), batch)
    assert sorted(index for index, _ in seen) == [0, 1, 2, 3]
    for index, logits in seen:
        shown: list[Logits] = []
        one = replace(batch[index], first=lambda logits: shown.append(logits.copy()))  # noqa: B023
        alone(model, one)
        assert logits == pytest.approx(shown[0], abs=1e-4)
        assert logits.shape == (VOCAB,)


def test_a_beam_is_fed_its_prompt_and_then_what_it_chose() -> None:
    beam = Beam(Search([START, 4], END, 3, beam_size=2))
    assert (beam.feed(), beam.choosing) == ([START, START], False)
    assert (beam.feed(), beam.choosing) == ([4, 4], True)
    beam.advance([[3, 5, 6, 0]] * 2, [[-0.5, -1, -2, -3]] * 2)
    assert beam.feed() == [3, 5]


class WritesFirst:
    """A runner whose graph has written over its states before it has read them."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def tensors(self, graph: str) -> dict[str, Tensor]:
        return self.runner.tensors(graph)

    def run(self, graph: str, inputs: Arrays) -> dict[str, np.ndarray]:
        return self.runner.run(graph, inputs)

    def bind(self, graph: str, inputs: Arrays, outputs: Arrays) -> Callable[[], None]:
        run = self.runner.bind(graph, inputs, outputs)

        def written_and_run() -> None:
            for name, array in outputs.items():
                if name.startswith("next_state_"):
                    array.fill(np.nan)
            run()

        return written_and_run


def test_a_step_may_write_a_state_before_it_has_read_the_last(model: Runner) -> None:
    batch = searches(6, 3)
    found = decode(WritesFirst(model), encoded(model, batch), batch)
    for search, hypotheses in zip(batch, found, strict=True):
        same(hypotheses, alone(model, search))
