"""requests → the answers each gets when it is alone, against which all later ones are held."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from loadtests.door import Door
from loadtests.scenarios import Scenario
from loadtests.serving.calls import Caller, Kind, Reply

TOLERANCE = 0.02
"""Of scores, which depend in their last digits on what else is in a batch."""
VARYING = {"timings_ms", "timingsMs", "model"}


def same(answer: Any, golden: Any) -> bool:
    """Texts are equal and numbers near; times and the model's version do not count."""
    if isinstance(golden, dict):
        return isinstance(answer, dict) and all(
            same(answer.get(name), golden.get(name)) for name in {*golden, *answer} - VARYING
        )
    if isinstance(golden, list):
        return (
            isinstance(answer, list)
            and len(answer) == len(golden)
            and all(map(same, answer, golden))
        )
    if isinstance(golden, float | int) and isinstance(answer, float | int):
        return isclose(answer, golden, abs_tol=TOLERANCE)
    return bool(answer == golden)


@dataclass(frozen=True)
class Golden:
    """A request with its answer on a door."""

    door: Door
    scenario: Scenario
    answer: Any

    def wrong(self, reply: Reply) -> str:
        """How an answer differs; empty if it does not, or if there is none."""
        if reply.kind is not Kind.ANSWERED or same(reply.answer, self.answer):
            return ""
        return f"{self.scenario.task} {self.door}: {reply.answer} is not {self.answer}"


class NoGolden(Exception):
    """A request was not answered even alone."""


async def recorded(
    caller: Caller, scenarios: Sequence[Scenario], doors: Sequence[Door] = tuple(Door)
) -> list[Golden]:
    """Ask one after the other; raises NoGolden where there is no answer."""
    found = []
    for one in scenarios:
        for door in doors:
            reply = await caller.ask(door, one)
            if reply.kind is not Kind.ANSWERED:
                raise NoGolden(f"{one.task} {door}: {reply.kind}: {reply.detail}")
            found.append(Golden(door, one, reply.answer))
    return found
