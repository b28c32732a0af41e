"""routes, versions in the store → stable versions first, and candidates in memory beside them."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.errors import Problem
from service.memory import Memory
from service.registry import Registry
from service.rollout import routes
from service.rollout.canary import Canary
from service.rollout.routes import Route
from service.served import Served

log = logging.getLogger("attendant")


class Rollout:
    """The routes as they were last read, and what is in memory for them."""

    def __init__(self, registry: Registry, memory: Memory) -> None:
        self._registry, self._memory = registry, memory
        self._routes: dict[str, Route] = {}
        self._stamp = (0, 0)

    @property
    def changed(self) -> bool:
        """The file is another one than was read last."""
        return routes.stamp() != self._stamp

    def read(self) -> set[str]:
        """Read the routes, and say whose have changed; those of a broken file stay as they were."""
        before, self._stamp = self._routes, routes.stamp()
        try:
            self._routes = routes.read()
        except (OSError, ValueError) as error:
            log.error("the routes stay as they were: %s: %s", routes.path(), error)
        names = {*before, *self._routes}
        return {name for name in names if before.get(name) != self._routes.get(name)}

    def ordered(self, name: str, versions: Sequence[Served]) -> list[Served]:
        """The version that the name is to mean first."""
        route = self._routes.get(name)
        stable = route.stable if route else ""
        if stable and stable not in [model.version for model in versions]:
            log.error("%s: the store has no version %s", name, stable)
        return sorted(versions, key=lambda model: model.version != stable)

    def withdraw(self) -> list[Served]:
        """Give candidates that are none any more no further requests; they are to be closed."""
        gone = []
        for name, canary in list(self._registry.canaries.items()):
            route = self._routes.get(name)
            if route is None or route.candidate != canary.served.version:
                gone.append(self._registry.canaries.pop(name).served)
        return gone

    async def enter(self, found: Mapping[str, Sequence[Served]], within_s: float) -> None:
        """Load the candidates of these names; those that do not answer get no requests."""
        for name, versions in found.items():
            route = self._routes.get(name)
            if route is None or not route.candidate:
                continue
            canary = self._registry.canaries.get(name)
            there = {model.version: model for model in versions}
            if canary is not None:
                served = canary.served
            elif route.candidate in there:
                served = replace(there[route.candidate], candidate=True)
            else:
                log.error("%s: the store has no version %s", name, route.candidate)
                continue
            try:
                async with asyncio.timeout(within_s):
                    await self._memory.open(served)
            except (Problem, TimeoutError) as problem:
                log.error("no requests for the candidate %s: %s", served.tag, problem)
                continue
            self._registry.canaries[name] = Canary(served, route)
            share = f"{route.weight:.0%} of the requests, {route.shadow:.0%} of the others shadowed"
            log.info("candidate %s: %s", served.tag, share)
