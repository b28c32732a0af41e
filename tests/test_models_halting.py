"""Adaptive computation time: each position takes the steps it needs, and all end with the last."""

import pytest
import torch
from torch import Tensor

from models.halting import Halting, Thought

WIDTH, STEPS = 4, 5


def halting(probabilities: Tensor, *, threshold: float = 0.99) -> tuple[Thought, list[int]]:
    """Positions whose every step has the probability given, and the steps in which any was refined.

    Each step adds one to a state.
    """
    unit = Halting(WIDTH, max_steps=STEPS, threshold=threshold)
    with torch.no_grad():
        unit.weight.copy_(torch.eye(WIDTH)[0])
        unit.bias.zero_()
    x = torch.zeros(*probabilities.shape, WIDTH)
    x[..., 0] = torch.logit(probabilities, eps=1e-6)
    refined: list[int] = []
    added = torch.eye(WIDTH)[1]

    def refine(step: Tensor, state: Tensor) -> tuple[Tensor]:
        refined.append(int(step))
        return (state + added,)

    thought = unit(
        x,
        counts=probabilities > 0,
        coordinates=lambda step: torch.zeros(1, WIDTH),
        refine=refine,
    )
    return thought, refined


def test_a_position_halts_where_its_probabilities_add_up() -> None:
    thought, refined = halting(torch.tensor([[0.995, 0.6, 0.3]]))
    assert thought.steps.tolist() == [[1, 2, 4]]
    assert refined == [0, 1, 2, 3]
    assert int(thought.longest) == 4


def test_the_output_is_the_mean_of_the_states_and_the_last_has_what_is_left() -> None:
    thought, _ = halting(torch.tensor([[0.6, 0.3]]))
    torch.testing.assert_close(thought.remainder, torch.tensor([[0.4, 0.1]]))
    counts = thought.output[..., 1]
    torch.testing.assert_close(counts, torch.tensor([[0.6 + 2 * 0.4, 0.3 * (1 + 2 + 3) + 0.1 * 4]]))


def test_a_state_that_has_halted_stays_as_it_is() -> None:
    thought, _ = halting(torch.tensor([[0.6, 0.1]]))
    assert thought.last[..., 1].tolist() == [[2, STEPS]]


def test_whoever_does_not_halt_ends_with_the_last_step() -> None:
    thought, refined = halting(torch.tensor([[0.01]]))
    assert thought.steps.tolist() == [[STEPS]]
    assert refined == list(range(STEPS))
    torch.testing.assert_close(thought.remainder, torch.tensor([[1 - 0.01 * (STEPS - 1)]]))


def test_padding_keeps_nobody_waiting() -> None:
    thought, refined = halting(torch.tensor([[0.995, 0.0], [0.995, 0.995]]))
    assert refined == [0]
    assert thought.steps.tolist() == [[1, 0], [1, 1]]
    assert thought.output[0, 1].tolist() == [0] * WIDTH


def test_a_lower_threshold_halts_sooner() -> None:
    steps = [halting(torch.tensor([[0.3]]), threshold=t)[0].steps.item() for t in (0.99, 0.5)]
    assert steps == [4, 2]


def test_what_is_left_of_the_last_step_has_the_gradient_of_the_cost() -> None:
    unit = Halting(WIDTH, max_steps=STEPS, threshold=0.99)
    thought = unit(
        torch.randn(1, 3, WIDTH),
        counts=torch.ones(1, 3, dtype=torch.bool),
        coordinates=lambda step: torch.zeros(1, WIDTH),
        refine=lambda step, state: (state + 1,),
    )
    (thought.steps + thought.remainder).sum().backward()
    gradient = unit.bias.grad
    assert gradient is not None
    # More halting leaves less, which costs less.
    assert float(gradient) < 0


@pytest.mark.parametrize("carried", [0, 2])
def test_what_is_carried_goes_through_every_step(carried: int) -> None:
    unit = Halting(WIDTH, max_steps=STEPS, threshold=0.99)

    def refine(step: Tensor, state: Tensor, *more: Tensor) -> tuple[Tensor, ...]:
        return state, *(each + 1 for each in more)

    thought = unit(
        torch.randn(1, 3, WIDTH),
        counts=torch.ones(1, 3, dtype=torch.bool),
        coordinates=lambda step: torch.zeros(1, WIDTH),
        refine=refine,
        carried=(torch.zeros(()),) * carried,
    )
    assert [int(each) for each in thought.carried] == [int(thought.longest)] * carried
