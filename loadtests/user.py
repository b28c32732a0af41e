"""a door → a locust user who asks every task in turn and times the answers."""

from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from itertools import cycle
from random import randrange
from time import perf_counter
from typing import Any

import gevent
from locust import User, task
from locust.user.users import UserMeta

from loadtests.arrivals import Arrivals
from loadtests.budgets import Door
from loadtests.scenarios import Scenario

TIMEOUT_S = 60.0
"""No answer after this is a failure."""
FAULT_PAUSE_S = 0.1
"""What a caller waits after a failure, so that a dead door does not spin the others to a halt."""


class _Meta(ABCMeta, UserMeta):
    """A locust user class that may have abstract methods."""


class DoorUser(User, metaclass=_Meta):
    """Base of the callers; each door defines `send`."""

    abstract = True
    door: Door
    host: str
    scenarios: Sequence[Scenario]
    arrivals = Arrivals()

    def on_start(self) -> None:
        first = randrange(len(self.scenarios))
        self.rotation = cycle([*self.scenarios[first:], *self.scenarios[:first]])

    @abstractmethod
    def send(self, scenario: Scenario) -> Any:
        """Send a request; returns the answer as JSON has it, or raises."""

    @task
    def ask(self) -> None:
        scenario = next(self.rotation)
        due_s = self.arrivals.wait()
        fault: Exception | None = None
        try:
            answer = self.send(scenario)
            took_ms = (perf_counter() - due_s) * 1e3
            scenario.check(answer)
        except Exception as error:
            fault = error
            took_ms = (perf_counter() - due_s) * 1e3
            gevent.sleep(FAULT_PAUSE_S)
        self.environment.events.request.fire(
            request_type=self.door,
            name=scenario.task,
            response_time=took_ms,
            response_length=0,
            exception=fault,
            context={},
        )
