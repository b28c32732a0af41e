"""states → states refined until each position has had enough: adaptive computation time.

Source: Graves 2016, "Adaptive Computation Time for Recurrent Neural Networks", as Dehghani et al.
2018 ("Universal Transformers", 2.2 and appendix C) have it for every position of a sequence: what
has halted is copied to the steps that follow as it is.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

Refine = Callable[..., tuple[Tensor, ...]]
"""Step, states, and what else is carried from step to step → the next of all but the step."""


class Thought(NamedTuple):
    """What became of a sequence."""

    output: Float[Tensor, "batch len width"]
    """Of each position its states, each by its share of a probability of one."""
    last: Float[Tensor, "batch len width"]
    """The state in which each position halted."""
    steps: Int[Tensor, "batch len"]
    """How many each position has taken."""
    remainder: Float[Tensor, "batch len"]
    """The share of the last of them."""
    longest: Int[Tensor, ""]
    """Steps until all had halted."""
    carried: tuple[Tensor, ...]

    @property
    def cost(self) -> Float[Tensor, "batch len"]:
        """Steps, which have no gradient, and what is left of the last, which has (Graves, 2.2)."""
        return self.steps + self.remainder


def repeat(
    going: Callable[..., Tensor],
    body: Callable[..., tuple[Tensor, ...]],
    carried: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """While `going`, the next of what is carried; an exported graph loops just as often."""
    if torch.compiler.is_exporting():
        looped: tuple[Tensor, ...] = torch.while_loop(  # type: ignore[no-untyped-call]
            going, body, carried
        )
        return looped
    while going(*carried):
        carried = body(*carried)
    return carried


class Halting(nn.Module):
    """A probability of halting for each state; a position halts where they add up to one."""

    def __init__(self, width: int, *, max_steps: int, threshold: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width) * width**-0.5)
        # As in the authors' code: a new model takes two steps.
        self.bias = nn.Parameter(torch.ones(()))
        self.max_steps = max_steps
        self.threshold = threshold

    def forward(
        self,
        x: Float[Tensor, "batch len width"],
        *,
        counts: Bool[Tensor, "batch len"],
        coordinates: Callable[[Int[Tensor, ""]], Float[Tensor, "#batch len width"]],
        refine: Refine,
        carried: tuple[Tensor, ...] = (),
    ) -> Thought:
        """Refine until every position that `counts` has halted.

        `coordinates` say where a state is and at which step; only states that still run are told.
        """

        def going(*carried: Tensor) -> Tensor:
            return (carried[2] < 1).any()

        def body(
            step: Tensor,
            state: Tensor,
            halted: Tensor,
            steps: Tensor,
            remainder: Tensor,
            output: Tensor,
            *rest: Tensor,
        ) -> tuple[Tensor, ...]:
            running = halted < 1
            placed = torch.where(running[:, :, None], state + coordinates(step), state)
            halts = torch.sigmoid((placed * self.weight).sum(-1) + self.bias)
            enough = (halted + halts > self.threshold) | (step + 1 >= self.max_steps)
            stops = running & enough
            share = torch.where(running, torch.where(stops, 1 - halted, halts), 0)
            refined, *rest_after = refine(step, placed, *rest)
            state = torch.where(running[:, :, None], refined, state)
            return (
                step + 1,
                state,
                torch.where(stops, 1, halted + share),
                steps + running.long(),
                torch.where(stops, share, remainder),
                output + share[:, :, None] * state,
                *rest_after,
            )

        zero = torch.zeros_like(x[:, :, 0])
        longest, last, _, steps, remainder, output, *rest = repeat(
            going,
            body,
            (
                torch.zeros((), dtype=torch.int64, device=x.device),
                x,
                torch.where(counts, zero, 1),
                torch.zeros_like(zero, dtype=torch.int64),
                zero.clone(),
                torch.zeros_like(x),
                *carried,
            ),
        )
        return Thought(output, last, steps, remainder, longest, tuple(rest))
