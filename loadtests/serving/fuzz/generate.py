"""a Hypothesis strategy, a number → that many examples, each handled by one of a few threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

THREADS = 8
ROUND = 2_000
"""Examples of one generator; a new seed begins each round, so that a small space ends none."""


def each(
    strategy: SearchStrategy[Any], number: int, handle: Callable[[Any], None], *, seeded: int
) -> None:
    """Handle so many examples; what `handle` raises ends it all."""
    with ThreadPoolExecutor(THREADS) as threads:
        free = Semaphore(2 * THREADS)
        faults: list[BaseException] = []
        left = number

        def work(example: Any) -> None:
            try:
                handle(example)
            except BaseException as error:
                faults.append(error)
            finally:
                free.release()

        while left > 0 and not faults:

            @seed(seeded + left)
            @settings(
                max_examples=min(ROUND, left),
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(strategy)
            def one(example: Any) -> None:
                nonlocal left
                if left > 0 and not faults:
                    left -= 1
                    free.acquire()
                    threads.submit(work, example)

            one()
    if faults:
        raise faults[0]
