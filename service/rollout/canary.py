"""a route, its candidate in memory → which requests the candidate answers, and which it shadows."""

from random import Random

from service.rollout.routes import Route
from service.served import Served


class Canary:
    """Draws by lot, and the same lots for the same candidate every time."""

    def __init__(self, served: Served, route: Route) -> None:
        self.served, self.route = served, route
        self._answers, self._shadows = Random(served.tag), Random(f"shadow {served.tag}")

    def answers(self) -> bool:
        """The next request is the candidate's."""
        drawn = self._answers.random() < self.route.weight
        return drawn and not self.served.fault

    def shadows(self) -> bool:
        """The next request that was not is computed by the candidate too."""
        return self._shadows.random() < self.route.shadow
