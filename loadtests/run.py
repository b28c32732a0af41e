"""scenarios, a door, callers and seconds → what was measured."""

from collections.abc import Mapping, Sequence

from locust.env import Environment

from loadtests.arrivals import Arrivals
from loadtests.budgets import Door
from loadtests.grpc_user import GrpcUser
from loadtests.http_user import RestUser
from loadtests.report import Recorder
from loadtests.scenarios import Scenario
from loadtests.user import DoorUser

CALLERS: Mapping[Door, type[DoorUser]] = {Door.REST: RestUser, Door.GRPC: GrpcUser}


def run(
    chosen: Sequence[Scenario],
    door: Door,
    address: str,
    *,
    users: int,
    duration_s: float,
    rate_per_s: float | None = None,
) -> Recorder:
    """Put load on one door: in one process, callers of two would slow each other.

    Requests that are under way at the end are waited for, so that slow ones count.
    """
    members = {
        "scenarios": chosen,
        "host": address,
        "arrivals": Arrivals(rate_per_s=rate_per_s, duration_s=duration_s),
    }
    recorder = Recorder()
    environment = Environment(user_classes=[type("Caller", (CALLERS[door],), members)])
    environment.events.request.add_listener(recorder.record)  # type: ignore[no-untyped-call]
    runner = environment.create_local_runner()
    runner.start(users, spawn_rate=users)
    if runner.spawning_greenlet:
        runner.spawning_greenlet.join()
    runner.user_greenlets.join()
    runner.quit()
    return recorder
