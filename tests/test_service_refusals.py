"""Refusals: at once where there are few, one after another where there are many."""

import asyncio
from time import monotonic

from service.refusals import LONGEST_S, PER_S, Refusals


def together_s(many: int) -> float:
    """How long it takes to refuse so many who come at once."""

    async def refuse() -> None:
        refusals = Refusals()
        await asyncio.gather(*(refusals.turn() for _ in range(many)))

    began_s = monotonic()
    asyncio.run(refuse())
    return monotonic() - began_s


def test_the_first_does_not_wait() -> None:
    turn = Refusals().turn()
    try:
        turn.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")


def test_those_who_come_together_are_refused_one_after_another() -> None:
    assert together_s(100) >= 99 / PER_S


def test_nobody_waits_longer_than_the_bound_however_many_come() -> None:
    assert LONGEST_S <= together_s(5 * PER_S) < 5
