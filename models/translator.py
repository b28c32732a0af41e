"""modules that encode and decode → the graphs of a translator, with the cases that try them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.graph import Graph, mixed_lengths, written_cache
from service.tasks.translation import CONTRACT


def encoder_graph(module: nn.Module, *, vocab: int, outputs: Sequence[str]) -> Graph:
    """`module` takes source ids [batch, src_len] and their lengths [batch]."""

    def inputs(batch: int, src_len: int) -> dict[str, Tensor]:
        source = torch.randint(vocab, (batch, src_len))
        return {"source": source, "source_lengths": mixed_lengths(batch, src_len)}

    return Graph(
        name="encoder",
        module=module,
        contract=CONTRACT["encoder"],
        outputs=outputs,
        inputs=inputs,
        cases=[
            {"batch": 3, "src_len": 11},
            {"batch": 1, "src_len": 1},
            {"batch": 2, "src_len": 29},
            {"batch": 8, "src_len": 6},
        ],
    )


def decoder_graph(
    module: nn.Module,
    *,
    vocab: int,
    kept: Callable[..., Mapping[str, Tensor]],
    outputs: Sequence[str],
) -> Graph:
    """`module` takes a token of each row, how far rows are, how long their sources, and `kept`.

    `kept` makes what rows keep between steps, at random: of a batch, with sources of `src_len`,
    before position `past_len`, in caches of `max_len`.
    """

    def inputs(batch: int, src_len: int, past_len: int, max_len: int) -> dict[str, Tensor]:
        return {
            "tokens": torch.randint(vocab, (batch, 1)),
            "past_lengths": mixed_lengths(batch, past_len) - 1,
            "source_lengths": mixed_lengths(batch, src_len),
            **kept(batch=batch, src_len=src_len, past_len=past_len, max_len=max_len),
        }

    return Graph(
        name="decoder",
        module=module,
        contract=CONTRACT["decoder"],
        outputs=outputs,
        inputs=inputs,
        cases=[
            {"batch": 3, "src_len": 11, "past_len": 7, "max_len": 16},
            {"batch": 1, "src_len": 1, "past_len": 1, "max_len": 4},
            {"batch": 5, "src_len": 23, "past_len": 30, "max_len": 31},
        ],
        defined=written_cache,
    )
